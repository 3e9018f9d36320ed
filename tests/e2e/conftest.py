"""The real program on both engines, and receivers for it to deliver to."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.program import Program, program


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store; for SQLite the default, in the program's own folder."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("postgres_db")
    return url


@pytest.fixture
async def comporta(tmp_path: Path, store: str) -> AsyncIterator[Program]:
    """The program, running, on each engine."""
    async with program(tmp_path, **({"STORE": store} if store else {})) as running:
        await running.start()
        yield running


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Program]:
    """The program on SQLite, not started yet."""
    async with program(tmp_path) as running:
        yield running
