"""Results go to the store in batches: what gathers after one goes with the next."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import settling
from gateway.settling import Settler
from gateway.store.base import Leased, Store
from tests.store.rigs import SqliteRig
from tests.store.rows import Maker, attempt, claim_all, delivered, states
from tests.store.waiting import until


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    rig = SqliteRig(tmp_path)
    yield await rig.open()
    await rig.close()


@pytest.fixture
async def leased(store: Store) -> list[Leased]:
    make = Maker(SqliteRig(Path()).clock)
    for _ in range(4):
        await store.log.append(make.sent("a"))
    return await claim_all(store.log, "a")


async def succeeded(store: Store, count: int) -> None:
    async def all_are() -> bool:
        return list((await states(store)).values()).count("succeeded") == count

    await until(all_are)


async def test_results_gather_until_somebody_waits_for_one(
    store: Store, leased: list[Leased], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "GATHER", 3600.0)
    points: list[str] = []
    settler = Settler(store.log, lambda: None, lambda _: None, points.append)
    running = asyncio.create_task(settler.run())
    first, second, third, last = (delivered(one, attempt=attempt()) for one in leased)

    settler.put(first, ordered=False)
    await succeeded(store, 1)
    settler.put(second, ordered=False)
    await succeeded(store, 1)  # it would have been begun by now
    assert points.count("before_settle") == 1
    settler.put(third, ordered=True)
    await succeeded(store, 3)
    assert points.count("before_settle") == 2

    settler.put(last, ordered=False)
    settler.end()
    await asyncio.wait_for(running, 10)
    await succeeded(store, 4)
