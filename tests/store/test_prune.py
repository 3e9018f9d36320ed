"""Payloads end before their record does, digests after it; never what is still to be used."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.store import bulk, prune
from gateway.store.base import Append, Store
from gateway.store.redo import retry
from tests.store.rows import Clock, Maker, claim_all, count, delivered, failed

DAY = 86_400
Step = Callable[[Any, int, Any, int], Awaitable[tuple[int, Any]]]


async def walk(store: Store, step: Step, before: int, start: Any, limit: int = 3) -> list[int]:
    """How much each slice took."""
    taken, above = [], start
    while True:
        gone, last = await step(store.database, before, above, limit)
        taken.append(gone)
        if last is None:
            return taken
        above = last


async def data_of(store: Store, item: Append) -> bytes:
    sql = "SELECT data FROM events WHERE id = $1"
    return bytes((await store.database.fetch(sql, item.events[0].id))[0][0])


async def body_of(store: Store, item: Append) -> tuple[bytes, str | None]:
    assert item.inbound is not None
    sql = "SELECT body, reason FROM inbounds WHERE id = $1"
    ((body, reason),) = await store.database.fetch(sql, item.inbound.id)
    return bytes(body), reason


async def test_only_what_nothing_will_send_again_is_let_go(
    store: Store, make: Maker, clock: Clock
) -> None:
    done, dead, waiting, nobodys = (make.sent(*s) for s in (("a",), ("b",), ("c",), ()))
    for item in (done, dead, waiting, nobodys):
        await store.log.append(item)
    for one in await claim_all(store.log, "a"):
        await store.log.settle([delivered(one)])
    for one in await claim_all(store.log, "b"):
        await store.log.settle([failed(one, "dead")])
    clock.advance(DAY)
    young = make.sent("a")
    await store.log.append(young)

    assert sum(await walk(store, prune.strip_events, clock.now - 60, 0)) == 2
    assert sum(await walk(store, prune.strip_events, clock.now - 60, 0)) == 0

    assert [await data_of(store, item) for item in (done, nobodys)] == [prune.NO_DATA] * 2
    for item in (dead, waiting, young):
        assert await data_of(store, item) == item.events[0].data


async def test_a_walk_stops_where_what_follows_is_too_young(
    store: Store, make: Maker, clock: Clock
) -> None:
    for _ in range(7):
        await store.log.append(make.sent())
    clock.advance(DAY)
    for _ in range(5):
        await store.log.append(make.sent())

    assert await walk(store, prune.strip_events, clock.now - 60, 0) == [3, 3, 1]


async def test_what_was_let_go_is_not_sent(store: Store, make: Maker, clock: Clock) -> None:
    """However somebody asks for it."""
    await store.log.append(make.sent("a"))
    (one,) = await claim_all(store.log, "a")
    await store.log.settle([delivered(one)])
    assert await prune.has_payload(store.database, one.id)
    await walk(store, prune.strip_events, clock.now + 1, 0)

    assert not await prune.has_payload(store.database, one.id)
    assert await bulk.redo(store.database, [one.id]) == 0
    assert await retry(store.database, "default", one.id)
    assert await claim_all(store.log, "a") == []
    rows = await store.database.fetch("SELECT state, reason FROM deliveries")
    assert rows == [("canceled", "erased")]


async def test_in_order_too(store: Store, make: Maker, clock: Clock) -> None:
    await store.log.append(make.sent("a", ordered=True))
    (one,) = await claim_all(store.log, "a", ordered=True)
    await store.log.settle([delivered(one)])
    await walk(store, prune.strip_events, clock.now + 1, 0)
    await retry(store.database, "default", one.id)

    assert await claim_all(store.log, "a", ordered=True) == []


async def test_bodies_of_inbounds_go_but_what_may_be_read_again_stays(
    store: Store, make: Maker, clock: Clock
) -> None:
    def received(outcome: Any, reason: str | None = None, body: bytes = b"{}") -> Append:
        return make.append(inbound=make.inbound(outcome=outcome, reason=reason, body=body))

    plain, ignored = received("accepted"), received("ignored", "test mode")
    quarantined, enriching = received("quarantined", "no order"), received("enriching")
    empty = received("ignored", "a ping", b"")
    for item in (plain, ignored, quarantined, enriching, empty):
        await store.log.append(item)
    clock.advance(DAY)

    for expected in (2, 0):
        taken = await walk(store, prune.strip_inbounds, clock.now - 60, "")
        assert sum(taken) == expected

    assert await body_of(store, plain) == (b"", prune.EXPIRED)
    assert await body_of(store, ignored) == (b"", f"{prune.EXPIRED}: test mode")
    assert await body_of(store, quarantined) == (b"{}", "no order")
    assert await body_of(store, enriching) == (b"{}", None)
    assert await body_of(store, empty) == (b"", "a ping")


async def test_digests_are_known_for_their_time_and_then_forgotten(
    store: Store, make: Maker, clock: Clock
) -> None:
    old = make.sent()
    await store.log.append(old)
    for _ in range(6):
        await store.log.append(make.sent())
    clock.advance(31 * DAY)
    young = make.sent()
    await store.log.append(young)
    assert await count(store, "seen") == 16

    taken = await walk(store, prune.forget_seen, clock.now - 30 * DAY * 1_000_000, b"", limit=5)

    assert sum(taken) == 14
    assert len(taken) == 4  # slices of five, the last of one
    assert (await store.log.append(make.retold(young))).duplicate
    assert not (await store.log.append(make.retold(old))).duplicate


@pytest.mark.parametrize("step", [prune.strip_events, prune.strip_inbounds, prune.forget_seen])
async def test_an_empty_store_has_nothing_to_prune(store: Store, clock: Clock, step: Any) -> None:
    start = {prune.strip_events: 0, prune.strip_inbounds: "", prune.forget_seen: b""}[step]

    assert await step(store.database, clock.now, start, 5) == (0, None)
