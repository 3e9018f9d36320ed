"""Retention: what is finished and old goes, in slices; what is not, never does."""

import asyncio
from typing import Any

import pytest

from gateway.store.base import NewJob, Settlement, Store
from tests.store.rigs import Rig
from tests.store.rows import Clock, Maker, attempt, claim_all, count, delivered, told

DAY = 86_400


async def purge_all(store: Store, before: int, limit: int = 500) -> list[int]:
    slices = []
    while gone := await store.log.purge(before, limit):
        slices.append(gone)
    return slices


async def finish_all(store: Store, *sinks: str) -> None:
    for one in await claim_all(store.log, *sinks):
        await store.log.settle([delivered(one, attempt=attempt())])


async def test_what_is_finished_and_old_goes(store: Store, make: Maker, clock: Clock) -> None:
    old = make.sent("sink-a")
    await store.log.append(old)
    await store.log.append(make.append(make.event()))
    await store.log.append(make.append(inbound=make.inbound(outcome="ignored")))
    await finish_all(store, "sink-a")
    clock.advance(DAY)
    await store.log.append(make.sent("sink-a"))
    await finish_all(store, "sink-a")

    assert await purge_all(store, clock.now - 3600)
    for table in ("inbounds", "events", "deliveries", "attempts"):
        assert (table, await count(store, table)) == (table, 1)
    assert await store.log.purge(clock.now - 3600) == 0
    assert (await store.log.append(make.retold(old))).duplicate


async def test_old_keys_are_known_after_their_events_went(
    store: Store, make: Maker, clock: Clock
) -> None:
    item = make.sent(dedupe_key="order 1 paid")
    first = await store.log.append(item)
    clock.advance(DAY)
    await purge_all(store, clock.now)
    assert await count(store, "inbounds") == await count(store, "events") == 0

    again = await store.log.append(make.retold(item))
    fact = await store.log.append(make.sent(dedupe_key="order 1 paid"))

    assert (again.inbound_id, again.duplicate, again.events) == (first.inbound_id, True, ())
    assert told(fact) == [(item.events[0].id, True)]
    assert await count(store, "events") == 0


@pytest.mark.parametrize("state", ["waiting", "leased", "to be tried again", "just done"])
async def test_unfinished_work_stays_however_old(
    store: Store, make: Maker, clock: Clock, state: str
) -> None:
    await store.log.append(make.sent("sink-a"))
    held = state != "waiting"
    leased = (await claim_all(store.log, "sink-a"))[0] if held else None
    if leased and state == "to be tried again":
        again = Settlement(id=leased.id, token=leased.token, state="pending", delay=99 * DAY)
        await store.log.settle([again])
    clock.advance(60 * DAY)
    if leased and state == "just done":
        await store.log.settle([delivered(leased)])

    await purge_all(store, clock.now - 30 * DAY * 1_000_000)

    assert await count(store, "events") == await count(store, "deliveries") == 1
    rows = await store.database.fetch("SELECT 1 FROM deliveries JOIN events USING (seq)")
    assert len(rows) == 1


async def test_of_two_sinks_both_must_be_done(store: Store, make: Maker, clock: Clock) -> None:
    await store.log.append(make.sent("sink-a", "sink-b"))
    await finish_all(store, "sink-a")
    clock.advance(DAY)
    await purge_all(store, clock.now)
    assert await count(store, "deliveries") == 2

    await finish_all(store, "sink-b")
    clock.advance(DAY)
    await purge_all(store, clock.now)
    assert await count(store, "deliveries") == await count(store, "events") == 0


async def test_an_inbound_that_is_asked_about_stays(
    store: Store, make: Maker, clock: Clock
) -> None:
    inbound = make.inbound(outcome="enriching")
    job = NewJob(id=make.ids(), kind="enrich", doc=b"{}")
    await store.log.append(make.append(inbound=inbound, jobs=(job,)))
    clock.advance(DAY)
    await purge_all(store, clock.now)

    assert await count(store, "inbounds") == await count(store, "jobs") == 1


@pytest.mark.parametrize("limit", [1, 7, 500])
async def test_slices_keep_to_their_limit(store: Store, make: Maker, limit: int) -> None:
    clock = make.clock
    await asyncio.gather(*(store.log.append(make.sent("sink-a")) for _ in range(30)))
    await finish_all(store, "sink-a")
    kept = make.sent("sink-b")
    await store.log.append(kept)
    clock.advance(DAY)
    rows = 0
    for table in ("inbounds", "events", "deliveries", "attempts"):
        rows += await count(store, table)

    slices = await purge_all(store, clock.now, limit)

    # An event goes with its delivery and the attempt at it, or not at all.
    assert max(slices) <= max(limit, 3)
    left = await store.database.fetch("SELECT id FROM events")
    assert left == [(kept.events[0].id,)]
    assert await count(store, "deliveries", "sink_id = 'sink-a'") == 0
    assert await count(store, "attempts") == 0


async def test_old_waiting_work_does_not_hide_what_comes_after(rig: Rig, make: Maker) -> None:
    store = await rig.open()
    waiting: dict[str, Any] = {"data": b"x"}
    await asyncio.gather(*(store.log.append(make.sent("held", **waiting)) for _ in range(600)))
    await store.log.append(make.append(make.event()))
    rig.clock.advance(DAY)

    assert await store.log.purge(rig.clock.now, 10) > 0
    assert await count(store, "events") == 600
