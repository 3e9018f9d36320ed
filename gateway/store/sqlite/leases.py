"""Leases on the write connection: claims, heartbeats, and giving back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.store.base import Lease
from gateway.store.sqlite.connection import Sql

END_OF_TIME = (1 << 63) - 1  # where an ordered delivery waits; the schema's trigger knows it, too
CANDIDATES = 64
ROUNDS = 20  # of candidates looked at in one transaction, so that appends need not wait long

DUE = """
SELECT json_group_array(json_array(id, token, attempts, replay, seq, 0, 0)) FROM (
    SELECT id, token, attempts, replay, seq FROM deliveries
    WHERE state = 'pending' AND sink_id = ? AND next_at <= ? ORDER BY next_at, seq LIMIT ?)"""
# In one queue (sink and okey) a delivery may go when none is out and none waits before it.
DUE_IN_ORDER = """
SELECT json_group_array(json_array(id, token, attempts, replay, seq, blocked, gap)) FROM (
    SELECT id, token, attempts, replay, seq,
        EXISTS (SELECT 1 FROM deliveries AS o WHERE o.sink_id = d.sink_id AND o.okey = d.okey
            AND o.state = 'leased')
        OR EXISTS (SELECT 1 FROM deliveries AS o WHERE o.sink_id = d.sink_id AND o.okey = d.okey
            AND o.state = 'pending' AND (o.seq, o.id) < (d.seq, d.id)) AS blocked,
        EXISTS (SELECT 1 FROM deliveries AS o WHERE o.sink_id = d.sink_id AND o.okey = d.okey
            AND o.state = 'dead' AND o.seq < d.seq) AS gap
    FROM deliveries AS d
    WHERE d.state = 'pending' AND d.sink_id = ? AND d.next_at <= ?
    ORDER BY d.next_at, d.seq LIMIT ?)"""
LEASE = """
UPDATE deliveries SET state = 'leased', owner = ?, token = token + 1, updated_at = ?
WHERE id IN (SELECT value FROM json_each(?))"""
PARK = "UPDATE deliveries SET next_at = ? WHERE id IN (SELECT value FROM json_each(?))"
RELEASE = """
UPDATE deliveries SET state = 'pending', owner = NULL, updated_at = ?
WHERE state = 'leased' AND owner = ?"""
# By id, however many others are leased.
RELEASE_SOME = """
UPDATE deliveries SET state = 'pending', owner = NULL, updated_at = ?2
WHERE id IN (SELECT value ->> 0 FROM json_each(?1))
AND (id, token) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
AND +state = 'leased' AND +owner = ?3"""
RELEASE_JOBS = "UPDATE jobs SET owner = NULL, attempts = attempts - 1 WHERE owner = ?"
BEAT = """
INSERT INTO nodes (id, seen_at, lease_seconds) VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, lease_seconds = excluded.lease_seconds"""
BURY = "DELETE FROM nodes WHERE seen_at + lease_seconds * 1000000 < ? AND id <> ?"
FREE = """
UPDATE deliveries SET state = 'pending', owner = NULL, updated_at = ?
WHERE state = 'leased' AND owner NOT IN (SELECT id FROM nodes)"""
FREE_JOBS = """
UPDATE jobs SET owner = NULL WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes)"""


@dataclass(slots=True, frozen=True)
class Claim:
    """A delivery just leased. `token`: the new one."""

    id: str
    token: int
    sink_id: str
    attempts: int
    replay: int
    seq: int
    gap: bool


def claim(
    sql: Sql, now: int, node: str, wants: Mapping[str, int], ordered: frozenset[str]
) -> list[Claim]:
    """Lease what is due, oldest first in each sink."""
    taken: list[Claim] = []
    for sink_id, limit in wants.items():
        if limit > 0 and sink_id not in ordered:
            rows = orjson.loads(sql.value(DUE, (sink_id, now, limit)))
            taken += [_claim(sink_id, row) for row in rows]
    _lease(sql, now, node, taken)
    for sink_id in ordered:
        taken += _claim_heads(sql, now, node, sink_id, wants.get(sink_id, 0))
    return taken


def _claim_heads(sql: Sql, now: int, node: str, sink_id: str, limit: int) -> list[Claim]:
    """Lease the first of each queue; what is due behind it is parked, a trigger wakes it later."""
    heads: list[Claim] = []
    for _ in range(ROUNDS):
        rows = orjson.loads(sql.value(DUE_IN_ORDER, (sink_id, now, CANDIDATES)))
        free = [_claim(sink_id, row) for row in rows if not row[5]][: limit - len(heads)]
        _lease(sql, now, node, free)
        heads += free
        if blocked := [row[0] for row in rows if row[5]]:
            sql.run(PARK, (END_OF_TIME, orjson.dumps(blocked).decode()))
        if len(rows) < CANDIDATES or len(heads) >= limit:
            break
    return heads


def _claim(sink_id: str, row: Sequence[Any]) -> Claim:
    delivery_id, token, attempts, replay, seq, _, gap = row
    return Claim(delivery_id, token + 1, sink_id, attempts, replay, seq, bool(gap))


def _lease(sql: Sql, now: int, node: str, claims: Sequence[Claim]) -> None:
    if claims:
        ids = orjson.dumps([claim.id for claim in claims]).decode()
        sql.run(LEASE, (node, now, ids))


def release(sql: Sql, now: int, node: str, leases: Sequence[Lease] | None) -> None:
    """Give back some of a node's deliveries, or all it holds, jobs included."""
    if leases is None:
        sql.run(RELEASE, (now, node))
        sql.run(RELEASE_JOBS, (node,))
    else:
        sql.run(RELEASE_SOME, (orjson.dumps(list(leases)).decode(), now, node))


def beat(sql: Sql, now: int, node: str, lease_seconds: float) -> int:
    """Renew a node's lease and free what nodes hold that are gone; gives how many deliveries."""
    sql.run(BEAT, (node, now, lease_seconds))
    sql.run(BURY, (now, node))
    return _free(sql, now)


def void_all(sql: Sql, now: int) -> None:
    """Nobody else is alive: free everything at once."""
    sql.run("DELETE FROM nodes")
    _free(sql, now)


def _free(sql: Sql, now: int) -> int:
    sql.run(FREE_JOBS)
    return sql.run(FREE, (now,))
