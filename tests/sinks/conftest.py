"""The contract suite is no test module by its name, and explains its failures all the same."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.services import RabbitMQ
from tests.services.fixtures import Services

if TYPE_CHECKING:
    from tests.sinks.rabbit import RabbitRig


@pytest.fixture(scope="session")
def rabbit(services: Services) -> RabbitMQ:
    """A RabbitMQ to break, with the account that `RabbitRig` uses."""
    from tests.sinks.rabbit import make_account

    server = services.own(RabbitMQ)
    make_account(server)
    return server


@pytest.fixture
async def rabbit_rig(rabbit: RabbitMQ) -> AsyncIterator["RabbitRig"]:
    from tests.sinks.rabbit import RabbitRig

    rig = RabbitRig(rabbit.start())
    yield rig
    await rig.close()
