"""Durable work for later: done once, by one node at a time, and never forgotten."""

import asyncio
from typing import Any

import pytest

from gateway.store.base import NewJob, Store
from tests.store.rigs import LEASE, Rig
from tests.store.rows import Clock, Maker, count


def job(make: Maker, **fields: Any) -> NewJob:
    return NewJob(**({"id": make.ids(), "kind": "poll", "doc": b"{}"} | fields))


async def test_a_job_waits_until_it_is_due(store: Store, make: Maker, clock: Clock) -> None:
    late, soon = job(make, due_in=60.0, doc=b"\0late"), job(make, due_in=30.0, doc=b"soon")
    await store.log.put_job(late)
    await store.log.put_job(soon)
    await store.log.put_job(job(make, kind="other"))

    clock.advance(29)
    assert await store.log.claim_jobs(["poll"], 9) == []
    clock.advance(31)
    jobs = await store.log.claim_jobs(["poll", "unknown"], 9)
    assert [(one.id, one.kind, one.doc) for one in jobs] == [
        (soon.id, "poll", b"soon"),
        (late.id, "poll", b"\0late"),
    ]
    assert [(one.unique, one.attempts) for one in jobs] == [(None, 1), (None, 1)]


async def test_a_claimed_job_is_nobody_elses(rig: Rig, store: Store, make: Maker) -> None:
    for _ in range(3):
        await store.log.put_job(job(make))
    other = await rig.neighbour(store)

    mine = await store.log.claim_jobs(["poll"], 2)
    theirs = await other.claim_jobs(["poll"], 9)

    assert (len(mine), len(theirs)) == (2, 1)
    assert await store.log.claim_jobs(["poll"], 9) == []


async def test_racing_workers_never_share_a_job(rig: Rig, store: Store, make: Maker) -> None:
    for _ in range(60):
        await store.log.put_job(job(make))
    nodes = [store.log, await rig.neighbour(store)]
    batches = await asyncio.gather(*(nodes[n % 2].claim_jobs(["poll"], 7) for n in range(20)))

    ids = [one.id for batch in batches for one in batch]
    assert len(ids) == len(set(ids)) == 60


async def test_a_finished_job_is_gone(store: Store, make: Maker) -> None:
    await store.log.put_job(job(make))
    [one] = await store.log.claim_jobs(["poll"], 1)

    assert await store.log.finish_job(one)
    assert not await store.log.finish_job(one)
    assert await count(store, "jobs") == 0


async def test_a_job_can_be_put_off(store: Store, make: Maker, clock: Clock) -> None:
    await store.log.put_job(job(make, doc=b"first", unique="u"))
    [one] = await store.log.claim_jobs(["poll"], 1)

    assert await store.log.finish_job(one, again_in=30)
    assert not await store.log.finish_job(one, again_in=0)
    clock.advance(29)
    assert await store.log.claim_jobs(["poll"], 1) == []
    clock.advance(1)
    [again] = await store.log.claim_jobs(["poll"], 1)
    assert (again.id, again.doc, again.attempts, again.unique) == (one.id, b"first", 2, "u")
    await store.log.finish_job(again, again_in=0, doc=b"second")
    [third] = await store.log.claim_jobs(["poll"], 1)
    assert (third.doc, third.attempts) == (b"second", 3)


@pytest.mark.parametrize("held", [False, True])
async def test_a_newer_job_of_one_name_replaces(store: Store, make: Maker, held: bool) -> None:
    await store.log.put_job(job(make, unique="u", doc=b"old"))
    old = await store.log.claim_jobs(["poll"], 1) if held else []
    await store.log.put_job(job(make, unique="u", doc=b"new"))

    assert [await store.log.finish_job(one) for one in old] == [False] * len(old)
    [new] = await store.log.claim_jobs(["poll"], 9)
    assert (new.doc, new.attempts) == (b"new", 1)
    assert await store.log.finish_job(new)


async def test_the_last_of_many_of_one_name_stays(store: Store, make: Maker) -> None:
    jobs = [job(make, unique=f"u{n % 3}", doc=b"%d" % n) for n in range(30)]

    await asyncio.gather(*map(store.log.put_job, jobs))

    assert await count(store, "jobs") == 3
    found = await store.log.claim_jobs(["poll"], 9)
    assert sorted(one.doc for one in found) == [b"27", b"28", b"29"]


async def test_the_jobs_of_a_silent_node_are_found(rig: Rig, store: Store, make: Maker) -> None:
    await store.log.put_job(job(make))
    [mine] = await store.log.claim_jobs(["poll"], 1)
    other = await rig.neighbour(store)
    rig.clock.advance(LEASE + 1)
    await other.heartbeat()

    [theirs] = await other.claim_jobs(["poll"], 1)
    assert (theirs.id, theirs.attempts) == (mine.id, 2)
    assert not await store.log.finish_job(mine)
    assert not await store.log.finish_job(mine, again_in=1)
    assert await other.finish_job(theirs)


async def test_a_crash_counts_a_clean_end_does_not(rig: Rig, make: Maker) -> None:
    store = await rig.open("node-a")
    await store.log.put_job(job(make))
    await store.log.claim_jobs(["poll"], 1)
    await rig.die(store)

    store = await rig.open("node-b")
    rig.clock.advance(LEASE + 1)
    await store.log.heartbeat()
    [again] = await store.log.claim_jobs(["poll"], 1)
    assert again.attempts == 2
    await store.close()

    store = await rig.open("node-c")
    [third] = await store.log.claim_jobs(["poll"], 1)
    assert (third.id, third.attempts) == (again.id, 2)
