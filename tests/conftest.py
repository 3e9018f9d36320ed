"""What every test can ask for."""

from collections.abc import AsyncIterator

import pytest

from tests.sinks.receiver import Receiver, receiving

# Here, before any folder's conftest may import it: its asserts are to explain themselves.
pytest.register_assert_rewrite("tests.sinks.contract")

pytest_plugins = ["tests.services.fixtures"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def other() -> AsyncIterator[Receiver]:
    """A second one."""
    async with receiving() as other:
        yield other
