"""A hundred thousand deliveries that wait cost nobody anything."""

from time import perf_counter

import pytest

from gateway.store.base import Store
from tests.store.rows import SECOND, Maker, claim_all

WAITING = 100_000
FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
INSERT INTO deliveries (id, seq, sink_id, tenant, instance, state, next_at, created_at, updated_at)
SELECT 'd' || CAST(i AS TEXT), $2, $3, 'default', 'loja-1', 'pending', $4, $5, $5 FROM n"""


async def fill(store: Store, seq: int, sink: str, number: int, next_at: int) -> None:
    now = await store.database.now()
    sql = FILL.replace("'d'", f"'{sink}'")
    await store.database.write(sql, number, seq, sink, next_at, now)


@pytest.fixture
async def full(store: Store, make: Maker) -> Store:
    """One sink with 100,000 due, one with 20,000 due later, and ten with one each."""
    seq = (await store.log.append(make.sent())).events[0].seq
    now = make.clock.now
    await fill(store, seq, "dead", WAITING, now - 60 * SECOND)
    await fill(store, seq, "parked", WAITING // 5, now + 60 * SECOND)
    for number in range(10):
        await fill(store, seq, f"live-{number}", 1, now)
    return store


async def test_due_and_claims_cost_the_same_at_any_backlog(full: Store) -> None:
    started = perf_counter()
    answers = [await full.log.due() for _ in range(20)]
    each = (perf_counter() - started) / 20

    assert answers[-1] == {"dead": 0.0, "parked": 60.0} | {f"live-{n}": 0.0 for n in range(10)}
    assert each < 0.05  # reading every row would take longer on any machine

    started = perf_counter()
    claimed = await claim_all(full.log, *(f"live-{n}" for n in range(10)))
    assert len(claimed) == 10
    assert perf_counter() - started < 0.25
    assert len(await full.log.claim({"dead": 50, "parked": 50})) == 50


async def test_the_backlog_is_what_is_due(full: Store) -> None:
    held = frozenset({"dead"})
    assert await full.log.backlog(held, 1_000_000) == 10
    assert await full.log.backlog(frozenset({"unknown"}), 1_000_000) == WAITING + 10
    started = perf_counter()
    assert await full.log.backlog(frozenset(), 1000) == 1000
    assert perf_counter() - started < 0.25
