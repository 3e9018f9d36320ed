"""Who may send what: no delivery is ever two nodes' at a time, and none is nobody's for long."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from gateway.store.base import EventLog, Leased, Settlement, Store
from tests.store.rigs import LEASE, Rig
from tests.store.rows import Clock, Maker, attempt, claim_all, count, delivered, states


async def test_a_claim_has_everything_a_sink_needs(store: Store, make: Maker) -> None:
    item = make.sent("sink-a", weight=50, provider_event_id="p-1", test=True)
    answer = await store.log.append(item)
    [event], [delivery] = item.events, item.events[0].deliveries

    [leased] = await store.log.claim({"sink-a": 5})

    assert (leased.id, leased.sink_id, leased.token) == (delivery.id, "sink-a", 1)
    assert (leased.attempts, leased.replay, leased.gap) == (0, 0, False)
    stored = leased.event
    assert (stored.id, stored.seq, stored.name) == (event.id, answer.events[0].seq, "order.paid")
    assert (stored.tenant, stored.instance, stored.driver) == ("default", "loja-1", "shopify")
    assert (stored.installation_id, stored.inbound_id) == (item.installation_id, answer.inbound_id)
    assert (stored.key, stored.dedupe_key) == (event.key, event.dedupe_key)
    assert (stored.provider_event, stored.provider_event_id) == ("orders/paid", "p-1")
    assert (stored.test, stored.superseded, stored.version) == (True, False, 1)
    assert stored.data == event.data
    assert stored.occurred_at.isoformat() == "2026-01-01T12:00:00+00:00"
    assert stored.received_at == stored.occurred_at


async def test_claims_keep_to_their_sink_limit_and_age(
    log: EventLog, make: Maker, clock: Clock
) -> None:
    sent = []
    for _ in range(5):
        item = make.sent("sink-a", "sink-b")
        sent.append((await log.append(item)).events[0].id)
        clock.advance(1)

    first = await log.claim({"sink-a": 3, "sink-b": 1, "sink-c": 9, "sink-d": 0})
    rest = await log.claim({"sink-a": 9})

    assert [one.event.id for one in first if one.sink_id == "sink-a"] == sent[:3]
    assert [one.event.id for one in first if one.sink_id == "sink-b"] == sent[:1]
    assert [one.event.id for one in rest] == sent[3:]


@pytest.mark.parametrize("state", ["succeeded", "dead", "canceled"])
async def test_a_final_result_ends_it(store: Store, make: Maker, clock: Clock, state: Any) -> None:
    await store.log.append(make.sent("sink-a"))
    [leased] = await claim_all(store.log, "sink-a")
    clock.advance(2)
    tried = attempt(
        status=418,
        error="no coffee\0",
        request_headers={"a": "1\ud800"},
        response_headers={"b": "2"},
        response_body=b"\0" + b"x" * 5000,
    )

    final = replace(delivered(leased), state=state, reason="a\0b", attempt=tried)
    lost = await store.log.settle([final])

    assert lost == frozenset()
    assert await store.database.fetch(
        "SELECT state, attempts, owner, updated_at, status, reason FROM deliveries"
    ) == [(state, 1, None, clock.now, 418, "a\ufffdb")]
    assert await store.database.fetch(
        "SELECT delivery_id, number, at, duration_ms, outcome, status, error, body FROM attempts"
    ) == [
        (
            *(leased.id, 1, tried.at, 12.5, "delivered", 418, "no coffee\ufffd"),
            b"\0" + b"x" * 4095,
        )
    ]
    clock.advance(1e6)
    assert await claim_all(store.log, "sink-a") == []
    assert await store.log.due() == {}


async def test_a_retry_comes_back_when_it_is_due(store: Store, make: Maker, clock: Clock) -> None:
    log = store.log
    await log.append(make.sent("sink-a"))
    [leased] = await claim_all(log, "sink-a")
    again = Settlement(
        id=leased.id, token=leased.token, state="pending", delay=5, attempt=attempt()
    )
    await log.settle([again])

    clock.advance(4.9)
    assert await claim_all(log, "sink-a") == []
    clock.advance(0.1)
    [second] = await claim_all(log, "sink-a")
    assert (second.id, second.attempts) == (leased.id, 1)
    assert second.token > leased.token

    ours = Settlement(id=second.id, token=second.token, state="pending", counts=False)
    await log.settle([ours])
    [third] = await claim_all(log, "sink-a")
    assert third.attempts == 1
    await log.settle([delivered(third, attempt=attempt(2))])
    assert await count(store, "attempts") == 2


async def test_what_is_born_leased_has_token_one(store: Store, make: Maker) -> None:
    item = make.sent("sink-a", leased=True)
    await store.log.append(item)
    [delivery] = item.events[0].deliveries

    lost = await store.log.settle([Settlement(id=delivery.id, token=1, state="succeeded")])

    assert lost == frozenset()
    assert await states(store) == {delivery.id: "succeeded"}


async def test_many_results_in_one_go(store: Store, make: Maker) -> None:
    log = store.log
    await asyncio.gather(*(log.append(make.sent("sink-a")) for _ in range(300)))
    leased = await claim_all(log, "sink-a")
    assert len(leased) == 300

    results = await asyncio.gather(
        *(log.settle([delivered(one, attempt=attempt()) for one in leased[n::7]]) for n in range(7))
    )

    assert results == [frozenset()] * 7
    assert await count(store, "deliveries", "state = 'succeeded' AND attempts = 1") == 300
    assert await count(store, "attempts") == 300
    assert await log.settle([]) == frozenset()


async def test_a_lost_lease_changes_nothing(store: Store, make: Maker) -> None:
    log = store.log
    await asyncio.gather(*(log.append(make.sent("sink-a")) for _ in range(4)))
    leased = await claim_all(log, "sink-a")
    released, *others = leased
    await log.release([released.lease])
    [again] = await claim_all(log, "sink-a")
    fake = Settlement(id="01kdx0nosuchdelivery000000", token=1, state="dead", attempt=attempt())
    stale = delivered(released, attempt=attempt(response_body=b"stale"))

    lost, neighbours = await asyncio.gather(
        log.settle([delivered(others[0]), stale, fake]),
        log.settle([delivered(one) for one in others[1:]]),
    )

    assert lost == {released.id, fake.id}
    assert neighbours == frozenset()
    assert (await states(store))[released.id] == "leased"
    assert await count(store, "deliveries", "state = 'succeeded'") == 3
    assert await count(store, "attempts") == 0
    assert await log.settle([delivered(again)]) == frozenset()


async def test_of_two_results_the_first_holds(store: Store, make: Maker) -> None:
    await store.log.append(make.sent("sink-a"))
    [leased] = await claim_all(store.log, "sink-a")
    dead = Settlement(id=leased.id, token=leased.token, state="dead")

    both = await asyncio.gather(store.log.settle([delivered(leased)]), store.log.settle([dead]))

    assert list(both) == [frozenset(), {leased.id}]
    assert await states(store) == {leased.id: "succeeded"}


async def test_workers_never_share_a_delivery(rig: Rig, store: Store, make: Maker) -> None:
    items = [make.sent(f"sink-{n % 3}") for n in range(2000)]
    await asyncio.gather(*map(store.log.append, items))
    nodes = [store.log, await rig.neighbour(store)]
    taken: list[tuple[str, int]] = []

    async def work(number: int) -> None:
        log, chance = nodes[number % 2], random.Random(number)
        while True:
            wants = {f"sink-{n}": chance.randint(1, 9) for n in chance.sample(range(3), 3)}
            batch = await log.claim(wants)
            if not batch:
                return
            taken.extend((one.id, one.token) for one in batch)
            assert await log.settle([delivered(one) for one in batch]) == frozenset()

    await asyncio.gather(*map(work, range(50)))

    assert len(taken) == len(set(taken)) == 2000
    assert {delivery_id for delivery_id, _ in taken} == {
        delivery.id for item in items for delivery in item.events[0].deliveries
    }
    assert await count(store, "deliveries", "state = 'succeeded'") == 2000


async def held_by_a(store: Store, make: Maker) -> Leased:
    await store.log.append(make.sent("sink-a"))
    [leased] = await claim_all(store.log, "sink-a")
    return leased


async def test_a_silent_node_loses_its_leases(rig: Rig, store: Store, make: Maker) -> None:
    mine = await held_by_a(store, make)
    other = await rig.neighbour(store)
    rig.clock.advance(LEASE + 1)

    assert await other.heartbeat() == 1
    [theirs] = await claim_all(other, "sink-a")
    assert theirs.id == mine.id
    assert theirs.token > mine.token
    assert theirs.attempts == 0
    assert await store.log.settle([delivered(mine)]) == {mine.id}
    assert (await states(store))[mine.id] == "leased"
    assert await other.settle([delivered(theirs)]) == frozenset()
    assert await store.log.heartbeat() == 0


async def test_a_beating_node_keeps_its_leases(rig: Rig, store: Store, make: Maker) -> None:
    mine = await held_by_a(store, make)
    other = await rig.neighbour(store)
    for _ in range(5):
        rig.clock.advance(LEASE * 0.9)
        await store.log.heartbeat()
        assert await other.heartbeat() == 0

    assert await claim_all(other, "sink-a") == []
    assert await store.log.settle([delivered(mine)]) == frozenset()


async def test_the_leases_of_a_dead_process_are_found(rig: Rig, make: Maker) -> None:
    store = await rig.open("node-a")
    mine = await held_by_a(store, make)
    born = make.sent("sink-a", leased=True)
    await store.log.append(born)
    await rig.die(store)

    store = await rig.open("node-b")
    rig.clock.advance(LEASE + 1)
    await store.log.heartbeat()
    found = await claim_all(store.log, "sink-a")

    assert {one.id for one in found} == {mine.id, born.events[0].deliveries[0].id}
    assert {one.attempts for one in found} == {0}


async def test_closing_gives_leases_back(rig: Rig, make: Maker) -> None:
    store = await rig.open("node-a")
    mine = await held_by_a(store, make)
    await store.close()

    store = await rig.open("node-b")
    [again] = await claim_all(store.log, "sink-a")
    assert (again.id, again.attempts) == (mine.id, 0)


async def test_releasing_some_or_all(log: EventLog, make: Maker) -> None:
    await asyncio.gather(*(log.append(make.sent("sink-a")) for _ in range(3)))
    leased = await claim_all(log, "sink-a")
    await log.release([leased[1].lease])
    assert [one.id for one in await claim_all(log, "sink-a")] == [leased[1].id]

    await log.release([])
    assert await claim_all(log, "sink-a") == []
    await log.release()
    assert [one.id for one in await claim_all(log, "sink-a")] == [one.id for one in leased]


async def test_what_is_given_back_twice_is_not_taken_from_who_has_it_by_now(
    store: Store, make: Maker
) -> None:
    """As when the commit of a release was never answered, and it is done again."""
    log = store.log
    await log.append(make.sent("sink-a"))
    [first] = await claim_all(log, "sink-a")
    await log.release([first.lease])
    [again] = await claim_all(log, "sink-a")

    await log.release([first.lease])

    assert await claim_all(log, "sink-a") == []
    assert await log.settle([delivered(again)]) == frozenset()


async def test_nobody_releases_for_others(rig: Rig, store: Store, make: Maker) -> None:
    mine = await held_by_a(store, make)
    other = await rig.neighbour(store)

    await other.release([mine.lease])
    await other.release()

    assert await store.log.settle([delivered(mine)]) == frozenset()


async def test_an_erased_event_is_nobodys_to_send(store: Store, make: Maker) -> None:
    item = make.sent("sink-a")
    await store.log.append(item)
    await store.database.write("DELETE FROM events")

    assert await claim_all(store.log, "sink-a") == []
    assert await states(store) == {item.events[0].deliveries[0].id: "canceled"}
    assert await store.log.due() == {}
