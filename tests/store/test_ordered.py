"""Sinks that want order: of each key one event at a time, in order, through every delay."""

import asyncio

from gateway.store.base import EventLog, Leased, Settlement, Store
from tests.store.rigs import LEASE, Rig
from tests.store.rows import Clock, Maker, attempt, claim_all, delivered

SINK = "sink-a"


async def queue(log: EventLog, make: Maker, *keys: str) -> list[str]:
    """Events for these keys, one after the other; their names for the test are `key + number`."""
    for number, key in enumerate(keys):
        await log.append(make.sent(SINK, ordered=True, key=key, data=f"{key}{number}".encode()))
    return [f"{key}{number}" for number, key in enumerate(keys)]


async def heads(log: EventLog) -> list[Leased]:
    return await claim_all(log, SINK, ordered=True)


def names(leased: list[Leased]) -> list[str]:
    return [one.event.data.decode() for one in leased]


def result(leased: Leased, state: str, delay: float = 0) -> Settlement:
    return Settlement(id=leased.id, token=leased.token, state=state, delay=delay)  # type: ignore[arg-type]  # callers give its values


async def test_only_the_first_of_each_key_goes(log: EventLog, make: Maker) -> None:
    await queue(log, make, "a", "a", "b", "a", "b", "c")

    first = await heads(log)
    assert names(first) == ["a0", "b2", "c5"]
    assert await heads(log) == []
    await log.settle([delivered(one) for one in first[:2]])
    second = await heads(log)
    assert names(second) == ["a1", "b4"]
    await log.settle([delivered(one) for one in second])
    assert names(await heads(log)) == ["a3"]


async def test_never_born_leased(log: EventLog, make: Maker) -> None:
    item = make.append(make.event(make.delivery(SINK, leased=True, ordered=True)))
    await log.append(item)

    assert [one.id for one in await heads(log)] == [item.events[0].deliveries[0].id]


async def test_a_retry_holds_its_key_and_no_other(log: EventLog, make: Maker, clock: Clock) -> None:
    await queue(log, make, "a", "a", "b", "b")
    a, b = await heads(log)
    await log.settle([result(a, "pending", delay=30), delivered(b)])

    assert names(await heads(log)) == ["b3"]
    clock.advance(29)
    assert await heads(log) == []
    clock.advance(1)
    [again] = await heads(log)
    assert (names([again]), again.attempts) == (["a0"], 1)
    await log.settle([delivered(again)])
    assert names(await heads(log)) == ["a1"]


async def test_who_waits_in_line_is_not_due(log: EventLog, make: Maker, clock: Clock) -> None:
    await queue(log, make, "a", *"a" * 20)
    [a] = await heads(log)
    await log.settle([result(a, "pending", delay=30)])

    assert await heads(log) == []
    assert await log.due() == {SINK: 30.0}
    assert await log.backlog(frozenset(), 100) == 0
    clock.advance(30)
    assert await log.due() == {SINK: 0.0}


async def test_behind_one_that_is_out_nothing_is_due(log: EventLog, make: Maker) -> None:
    await queue(log, make, "a", "a", "a")
    await heads(log)
    assert await heads(log) == []

    assert await log.due() == {}


async def test_a_dead_head_makes_way_with_a_gap(log: EventLog, make: Maker) -> None:
    await queue(log, make, "a", "a", "b")
    a, b = await heads(log)
    assert not a.gap
    await log.settle([result(a, "dead"), delivered(b)])

    [after] = await heads(log)
    assert (names([after]), after.gap) == (["a1"], True)
    await log.settle([delivered(after)])
    await queue(log, make, "b")
    assert [one.gap for one in await heads(log)] == [False]


async def test_a_gap_is_remembered_for_what_comes_later(log: EventLog, make: Maker) -> None:
    await queue(log, make, "a")
    [a] = await heads(log)
    await log.settle([result(a, "dead")])
    await queue(log, make, "a")

    assert [one.gap for one in await heads(log)] == [True]


async def test_a_canceled_head_makes_way(log: EventLog, make: Maker) -> None:
    await queue(log, make, "a", "a")
    [a] = await heads(log)
    await log.settle([result(a, "canceled")])

    [after] = await heads(log)
    assert (names([after]), after.gap) == (["a1"], False)


async def test_canceling_in_the_registry_makes_way(store: Store, make: Maker) -> None:
    """The API cancels a waiting delivery with a statement of its own."""
    await queue(store.log, make, "a", "a", "a")
    [a] = await heads(store.log)
    await store.log.settle([result(a, "pending", delay=1000)])
    assert await heads(store.log) == []
    now = await store.database.now()

    await store.database.write(
        "UPDATE deliveries SET state = 'canceled', updated_at = $1 WHERE id = $2", now, a.id
    )

    assert names(await heads(store.log)) == ["a1"]


async def test_a_replayed_one_goes_first_again(store: Store, make: Maker) -> None:
    log = store.log
    await queue(log, make, "a", "a", "a")
    [dead] = await heads(log)
    await log.settle([result(dead, "dead")])
    [out] = await heads(log)
    now = await store.database.now()
    await store.database.write(
        "UPDATE deliveries SET state = 'pending', replay = replay + 1, next_at = $1,"
        " updated_at = $1 WHERE id = $2",
        now,
        dead.id,
    )

    assert await heads(log) == []  # one of its key is out
    await log.settle([result(out, "pending", delay=5)])
    [replayed] = await heads(log)
    assert (names([replayed]), replayed.replay) == (["a0"], 1)
    await log.settle([delivered(replayed)])
    make.clock.advance(5)
    [after] = await heads(log)
    assert (names([after]), after.gap) == (["a1"], False)
    await log.settle([delivered(after)])
    assert names(await heads(log)) == ["a2"]


async def test_a_head_of_a_silent_node_moves(rig: Rig, store: Store, make: Maker) -> None:
    await queue(store.log, make, "a", "a")
    [mine] = await heads(store.log)
    other = await rig.neighbour(store)
    assert await heads(other) == []
    rig.clock.advance(LEASE + 1)
    await other.heartbeat()

    [theirs] = await heads(other)
    assert theirs.id == mine.id
    assert await store.log.settle([delivered(mine)]) == {mine.id}
    assert await heads(other) == []
    await other.settle([delivered(theirs)])
    assert names(await heads(store.log)) == ["a1"]


async def test_a_restart_keeps_the_order(rig: Rig, make: Maker) -> None:
    store = await rig.open("node-a")
    await queue(store.log, make, "a", "a", "a")
    [first] = await heads(store.log)
    await store.log.settle([delivered(first)])
    await heads(store.log)
    await store.close()

    store = await rig.open("node-b")
    assert names(await heads(store.log)) == ["a1"]


async def test_keys_of_installations_are_apart(log: EventLog, make: Maker) -> None:
    for installation in ("a", "b", None):
        event = make.event(make.delivery(SINK, ordered=True), key="1")
        await log.append(make.append(event, installation_id=installation))

    assert len(await heads(log)) == 3


async def test_racing_workers_keep_every_key_in_order(rig: Rig, store: Store, make: Maker) -> None:
    keys = [f"key-{n % 20}" for n in range(400)]
    await queue(store.log, make, *keys)
    nodes = [store.log, await rig.neighbour(store)]
    seen: dict[str, list[int]] = {}
    out: set[str] = set()

    async def work(number: int) -> None:
        log = nodes[number % 2]
        while sum(map(len, seen.values())) < len(keys):
            batch = await log.claim({SINK: 3}, ordered=frozenset({SINK}))
            for one in batch:
                assert one.event.key not in out
                out.add(one.event.key)
                seen.setdefault(one.event.key, []).append(one.event.seq)
            await asyncio.sleep(0)
            out.difference_update(one.event.key for one in batch)
            await log.settle([delivered(one, attempt=attempt()) for one in batch])

    await asyncio.gather(*map(work, range(10)))

    assert sorted(seen) == sorted(set(keys))
    assert all(seqs == sorted(seqs) and len(seqs) == 20 for seqs in seen.values())
