"""Each age ends what it is the age of; of many processes one does it."""

import asyncio

import pytest

from gateway import retention
from gateway.retention import Ages, Retention
from gateway.store.base import Record, Store
from gateway.store.registry import Registry
from tests.store.rows import Clock, Maker, claim_all, count, delivered

DAY = 86_400.0


def a_retention(store: Store, make: Maker, **ages: float) -> Retention:
    known = {"all": 90.0, "payloads": 7.0, "seen": 30.0} | ages
    registry = Registry(store.database, store.notify)
    return Retention(store, registry, Ages(**known), make.ids, make.clock)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE", 0.0)


async def test_each_age_ends_its_own(store: Store, make: Maker, clock: Clock) -> None:
    await store.log.append(make.sent("a"))
    for one in await claim_all(store.log, "a"):
        await store.log.settle([delivered(one)])
    sweep = a_retention(store, make).sweep

    async def left() -> tuple[int, int, int, int]:
        await sweep()
        return (
            await count(store, "events", "length(data) > 4"),
            await count(store, "inbounds", "length(body) > 0"),
            await count(store, "seen"),
            await count(store, "events") + await count(store, "deliveries"),
        )

    clock.advance(6 * DAY)
    assert await left() == (1, 1, 2, 2)
    clock.advance(2 * DAY)
    assert await left() == (0, 0, 2, 2)
    clock.advance(23 * DAY)
    assert await left() == (0, 0, 0, 2)
    clock.advance(60 * DAY)
    assert await left() == (0, 0, 0, 0)


async def test_payloads_stay_as_long_as_their_records_unless_told(
    store: Store, make: Maker, clock: Clock
) -> None:
    await store.log.append(make.sent())
    clock.advance(29 * DAY)

    await a_retention(store, make, all=30.0, payloads=30.0).sweep()

    assert await count(store, "events", "length(data) > 4") == 1


async def test_a_walk_goes_on_where_the_last_one_ended(
    store: Store, make: Maker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SLICE", 2)
    for _ in range(6):
        await store.log.append(make.sent())
    clock.advance(8 * DAY)
    registry = Registry(store.database, store.notify)
    await a_retention(store, make).sweep()

    record = await registry.find(retention.KIND, "", "events")
    assert record is not None
    assert record.doc == {"above": 6}


async def test_of_all_who_may_walk_one_does(store: Store, make: Maker, clock: Clock) -> None:
    one, two = a_retention(store, make), a_retention(store, make)

    turns = [await r._turn("seen", retention.DAY) for r in (one, two)]
    assert [turn is not None for turn in turns] == [True, False]

    clock.advance(DAY + 1)
    turns = list(
        await asyncio.gather(*(r._turn("seen", retention.DAY) for r in (one, two, one, two)))
    )
    assert sum(turn is not None for turn in turns) == 1


async def test_records_of_bulk_jobs_that_ended_go(store: Store, make: Maker, clock: Clock) -> None:
    registry = Registry(store.database, store.notify)
    for status in ("done", "canceled", "running", "paused"):
        record = Record(
            kind="replay", id=make.ids(), tenant="default", name=status, doc={"status": status}
        )
        await registry.put(record)
    clock.advance(91 * DAY)
    late = Record(
        kind="replay", id=make.ids(), tenant="default", name="late", doc={"status": "done"}
    )
    await registry.put(late)

    await a_retention(store, make).sweep()

    assert {r.name for r in await registry.list("replay")} == {"running", "paused", "late"}
