"""Every test that asks for `rig`, `store` or `log` runs on both engines."""

from collections.abc import AsyncIterator

import pytest

from gateway.store.base import EventLog, Store
from tests.store.rigs import PostgresRig, Rig, SqliteRig
from tests.store.rows import Clock, Maker


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Rig:
    if request.param == "sqlite":
        return SqliteRig(request.getfixturevalue("tmp_path"))
    return PostgresRig(request.getfixturevalue("postgres_db"))


@pytest.fixture
async def rig(engine: Rig) -> AsyncIterator[Rig]:
    yield engine
    await engine.close()


@pytest.fixture
async def store(rig: Rig) -> Store:
    return await rig.open()


@pytest.fixture
def log(store: Store) -> EventLog:
    return store.log


@pytest.fixture
def clock(rig: Rig) -> Clock:
    return rig.clock


@pytest.fixture
def make(clock: Clock) -> Maker:
    return Maker(clock)
