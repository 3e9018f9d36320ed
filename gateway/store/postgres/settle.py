"""Results of tries: any number of them in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.store.base import Settlement
from gateway.store.keys import storable
from gateway.store.postgres import tables
from gateway.store.postgres.connections import Connections
from gateway.store.postgres.jobs import MICROSECONDS
from schemas.codec import dumps
from schemas.delivery import AttemptRecord

MAX_BODY = 4096  # bytes of a response that are kept
_TRIED = {**tables.ATTEMPTS, "token": "bigint"}
# Spelled so that only the primary key suits it, not the index of all that is leased.
SETTLE = f"""
WITH clock AS MATERIALIZED (SELECT comporta_now($1) AS now),
settled AS (
    UPDATE deliveries AS d SET state = r.state,
        next_at = CASE WHEN r.state = 'pending' THEN clock.now + r.delay ELSE d.next_at END,
        attempts = d.attempts + r.counts, status = coalesce(r.status, d.status),
        reason = r.reason, updated_at = clock.now, owner = NULL
    FROM clock, {tables.unnest(tables.RESULTS, "r", 2)}
    WHERE d.id = r.id AND d.token = r.token AND d.state || '' = 'leased'
    RETURNING d.id, d.token),
tried AS (
    INSERT INTO attempts ({", ".join(tables.ATTEMPTS)})
    SELECT {", ".join("t." + name for name in tables.ATTEMPTS)}
    FROM {tables.unnest(_TRIED, "t", 2 + len(tables.RESULTS))}
    JOIN settled ON settled.id = t.delivery_id AND settled.token = t.token
    ON CONFLICT DO NOTHING)
SELECT id, token FROM settled"""


async def settle(
    connections: Connections, batch: Sequence[Sequence[Settlement]], now: int | None
) -> list[frozenset[str]]:
    """Write results; for each list of the batch the ids whose lease was lost.

    Of two results for one lease the first is kept. `now`: a test's clock.
    """
    firsts: dict[tuple[str, int], Settlement] = {}
    for items in batch:
        for item in items:
            firsts.setdefault((item.id, item.token), item)
    results = [_result_row(item) for item in firsts.values()]
    tried = [_attempt_row(i, i.attempt) for i in firsts.values() if i.attempt]
    # The token fences: a result that was written already is not written over.
    rows = await connections.write_again(
        SETTLE, now, *tables.columns(tables.RESULTS, results), *tables.columns(_TRIED, tried)
    )
    held = {(row[0], row[1]) for row in rows}
    return [
        frozenset(
            item.id
            for item in items
            if (item.id, item.token) not in held or firsts[item.id, item.token] is not item
        )
        for items in batch
    ]


def _result_row(item: Settlement) -> tuple[Any, ...]:
    delay = round(item.delay * MICROSECONDS)
    status = item.attempt.status if item.attempt else None
    reason = item.reason and storable(item.reason)
    return (item.id, item.token, item.state, delay, int(item.counts), status, reason)


def _attempt_row(item: Settlement, attempt: AttemptRecord) -> tuple[Any, ...]:
    exchange = {
        "request_headers": attempt.request_headers,
        "response_headers": attempt.response_headers,
    }
    error = attempt.error and storable(attempt.error)
    row = (item.id, attempt.number, attempt.at, attempt.duration_ms, attempt.outcome)
    body = attempt.response_body[:MAX_BODY]
    return (*row, attempt.status, error, dumps(exchange), body, item.token)
