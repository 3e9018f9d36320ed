"""Counts for charts: right where there are few, near where there are many, on both engines."""

import pytest

from gateway.store.base import Store
from gateway.store.trends import WINDOWS, Slice, Trends
from tests.store.rows import NOON, SECOND, Clock, Maker, claim_all, delivered, failed

TENANT, MINUTE = "default", 60 * SECOND


@pytest.fixture
def trends(store: Store) -> Trends:
    return Trends(store.database)


async def minutes(trends: Trends, clock: Clock, **where: str | None) -> dict[int, Slice]:
    """Slices of the last hour in which something happened, by the minute after noon."""
    found = await trends.slices(TENANT, where.get("instance"), "1h", clock.now)
    assert [s.at for s in found] == sorted(s.at for s in found)
    assert len(found) == WINDOWS["1h"].slices
    told = [s for s in found if s.accepted or s.delivered or s.dead]
    return {(s.at - NOON) // MINUTE: s for s in told}


async def test_events_and_deliveries_are_counted_in_their_minute(
    store: Store, trends: Trends, make: Maker, clock: Clock
) -> None:
    await store.log.append(make.sent("a"))
    clock.advance(60)
    await store.log.append(make.sent("a"))
    await store.log.append(make.sent("b"))
    one, two, three = await claim_all(store.log, "a", "b")
    clock.advance(2)
    await store.log.settle([delivered(one), delivered(two), failed(three, "dead")])

    found = await minutes(trends, clock)

    assert {minute: s.accepted for minute, s in found.items()} == {0: 1, 1: 2}
    assert {m: (s.delivered, s.dead) for m, s in found.items()} == {0: (1, 0), 1: (1, 1)}
    assert (found[0].p50, found[0].p95) == (62_000, 62_000)
    assert (found[1].p50, found[1].p95) == (2_000, 2_000)


async def test_what_others_have_is_not_counted(
    store: Store, trends: Trends, make: Maker, clock: Clock
) -> None:
    for tenant, instance in ((TENANT, "loja-1"), (TENANT, "loja-2"), ("other", "loja-1")):
        await store.log.append(make.append(make.event(), tenant=tenant, instance=instance))

    assert (await minutes(trends, clock))[0].accepted == 2
    assert (await minutes(trends, clock, instance="loja-2"))[0].accepted == 1


async def test_a_busy_minute_is_told_from_its_beginning(
    store: Store, trends: Trends, make: Maker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.trends.MOST_EVENTS", 10)
    monkeypatch.setattr(
        "gateway.store.trends.EVENTS",
        "SELECT tenant, instance, count(*), max(received_at) FROM (SELECT tenant, instance,"
        " received_at FROM events WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 10) AS e"
        " GROUP BY tenant, instance",
    )
    for _ in range(60):
        await store.log.append(make.append(make.event()))
        clock.advance(1)

    found = await minutes(trends, clock)

    assert 50 <= found[0].accepted <= 70


async def test_an_answer_is_remembered_for_a_moment(
    store: Store, trends: Trends, make: Maker, clock: Clock
) -> None:
    assert await minutes(trends, clock) == {}
    await store.log.append(make.append(make.event()))
    assert await minutes(trends, clock) == {}
    clock.advance(6)
    assert len(await minutes(trends, clock)) == 1
