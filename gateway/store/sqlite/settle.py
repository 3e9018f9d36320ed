"""Results of tries, on the write connection."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.base import Settlement
from gateway.store.keys import storable
from gateway.store.sqlite.connection import MICROSECONDS, Sql
from schemas.codec import dumps
from schemas.delivery import AttemptRecord

MAX_BODY = 4096  # bytes of a response that are kept
RESULTS = """
UPDATE deliveries SET state = v.column3, next_at = coalesce(v.column4, next_at),
    attempts = attempts + v.column5, status = coalesce(v.column6, status), reason = v.column7,
    updated_at = v.column8, owner = NULL
FROM (VALUES {rows}) AS v
WHERE deliveries.id = v.column1 AND deliveries.token = v.column2 AND deliveries.state = 'leased'"""
ATTEMPTS = """
INSERT INTO attempts (delivery_id, number, at, duration_ms, outcome, status, error, exchange, body)
VALUES {rows} ON CONFLICT DO NOTHING"""


class LostLeaseError(Exception):
    """A lease of the batch is gone: settling one by one tells which."""


def settle(sql: Sql, now: int, items: Sequence[Settlement]) -> None:
    """Write results. Raises LostLeaseError, with some of them written, unless every lease holds."""
    if sql.run_rows(RESULTS, [_result_row(item, now) for item in items]) < len(items):
        raise LostLeaseError
    sql.run_rows(ATTEMPTS, [_attempt_row(i.id, i.attempt) for i in items if i.attempt])


def settle_singly(sql: Sql, now: int, items: Sequence[Settlement]) -> frozenset[str]:
    """Write results one by one; gives the ids whose lease was lost."""
    lost = set()
    for item in items:
        try:
            settle(sql, now, (item,))
        except LostLeaseError:
            lost.add(item.id)
    return frozenset(lost)


def _result_row(item: Settlement, now: int) -> tuple[object, ...]:
    next_at = now + round(item.delay * MICROSECONDS) if item.state == "pending" else None
    status = item.attempt.status if item.attempt else None
    reason = item.reason and storable(item.reason)
    return (item.id, item.token, item.state, next_at, int(item.counts), status, reason, now)


def _attempt_row(delivery_id: str, attempt: AttemptRecord) -> tuple[object, ...]:
    exchange = {
        "request_headers": attempt.request_headers,
        "response_headers": attempt.response_headers,
    }
    error = attempt.error and storable(attempt.error)
    row = (delivery_id, attempt.number, attempt.at, attempt.duration_ms, attempt.outcome)
    return (*row, attempt.status, error, dumps(exchange), attempt.response_body[:MAX_BODY])
