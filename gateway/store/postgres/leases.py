"""Leases: claims, heartbeats, and giving back.

Whoever waits for a row here skips it, so that nothing here can be part of a deadlock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import asyncpg

from gateway.store.base import Lease, Leased
from gateway.store.postgres.connections import Connection, Connections
from gateway.store.stored_event import COLUMNS, stored_event_from

SLICE = 500
CANDIDATES = 64  # of an ordered sink, looked at in one statement
ROUNDS = 20  # of them in one claim
RELEASES = 5  # tries to give something back
PAUSE = 0.02  # seconds between them
_EVENT = ", ".join("e." + name for name in COLUMNS)
_TAKEN = """
taken AS (
    UPDATE deliveries AS d SET state = 'leased', owner = $3, token = token + 1,
        updated_at = (SELECT now FROM clock)
    FROM picked WHERE d.id = picked.id
    RETURNING d.id, d.token, d.sink_id, d.attempts, d.replay, d.next_at, d.seq, picked.gap)"""
# Without an event, or without its data (which is empty then), there is nothing to send.
_WHOLE = "coalesce(length(e.data) > 0, false)"
_GIVEN = f"t.id, t.token, t.sink_id, t.attempts, t.replay, t.gap, {_WHOLE}, {_EVENT}"
CLAIM = f"""
WITH clock AS MATERIALIZED (SELECT comporta_now($4) AS now),
picked AS MATERIALIZED (
    SELECT p.id, false AS gap
    FROM unnest($1::text[], $2::bigint[]) AS w (sink_id, wanted) CROSS JOIN LATERAL (
        SELECT d.id FROM deliveries AS d
        WHERE d.state = 'pending' AND d.sink_id = w.sink_id
        AND d.next_at <= (SELECT now FROM clock)
        ORDER BY d.next_at, d.seq LIMIT w.wanted FOR UPDATE SKIP LOCKED) AS p),
{_TAKEN}
SELECT {_GIVEN} FROM taken AS t LEFT JOIN events AS e ON e.seq = t.seq
ORDER BY t.next_at, t.seq"""
# One process at a time claims from an ordered sink, and it sees what the one before it leased.
LOCK_SINK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 20543))"
# In one queue (sink and okey) a delivery may go when none is out and none waits before it; `leased`
# sorts before `pending`. Another is parked at the end of time, so that it costs nothing until the
# schema's trigger wakes it. That needs the one in front to stay until we are done, hence the share
# lock; when it is just being settled there is nothing to park for.
CLAIM_HEADS = f"""
WITH clock AS MATERIALIZED (SELECT comporta_now($4) AS now),
due AS MATERIALIZED (
    SELECT d.id, d.seq, d.sink_id, d.okey, d.next_at FROM deliveries AS d
    WHERE d.state = 'pending' AND d.sink_id = $1 AND d.next_at <= (SELECT now FROM clock)
    ORDER BY d.next_at, d.seq LIMIT $5 FOR UPDATE SKIP LOCKED),
judged AS MATERIALIZED (
    SELECT due.*, nullif((
        SELECT o.id FROM deliveries AS o WHERE o.sink_id = due.sink_id AND o.okey = due.okey
            AND o.state IN ('pending', 'leased')
        ORDER BY o.state, o.seq, o.id LIMIT 1), due.id) AS blocker
    FROM due),
parked AS (
    UPDATE deliveries AS d SET next_at = 9223372036854775807
    FROM (
        SELECT j.id FROM judged AS j CROSS JOIN LATERAL (
            SELECT 1 FROM deliveries AS o
            WHERE o.id = j.blocker AND o.state IN ('pending', 'leased') FOR SHARE SKIP LOCKED) AS o
    ) AS p WHERE d.id = p.id RETURNING d.id),
picked AS MATERIALIZED (
    SELECT j.id, EXISTS (
        SELECT 1 FROM deliveries AS o WHERE o.okey = j.okey AND o.state = 'dead'
        AND o.sink_id IS NOT DISTINCT FROM j.sink_id AND o.seq < j.seq) AS gap
    FROM judged AS j WHERE j.blocker IS NULL ORDER BY j.next_at, j.seq LIMIT $2),
{_TAKEN}
SELECT {_GIVEN}, c.n FROM (SELECT count(*) AS n FROM due) AS c
LEFT JOIN taken AS t ON true LEFT JOIN events AS e ON e.seq = t.seq
ORDER BY t.next_at, t.seq"""
_SINKS = """
WITH RECURSIVE sinks (sink_id) AS (
    (SELECT d.sink_id FROM deliveries AS d WHERE d.state = 'pending'
        ORDER BY d.sink_id LIMIT 1)
    UNION ALL
    SELECT n.sink_id FROM sinks CROSS JOIN LATERAL (
        SELECT d.sink_id FROM deliveries AS d
        WHERE d.state = 'pending' AND d.sink_id > sinks.sink_id
        ORDER BY d.sink_id LIMIT 1) AS n)"""
# One step per sink, however much waits for it.
DUE = f"""
{_SINKS}
SELECT sinks.sink_id, greatest(n.next_at - (SELECT comporta_now($1)), 0)
FROM sinks CROSS JOIN LATERAL (
    SELECT d.next_at FROM deliveries AS d WHERE d.state = 'pending' AND d.sink_id = sinks.sink_id
    ORDER BY d.next_at LIMIT 1) AS n
WHERE n.next_at < 9223372036854775807"""
BACKLOG = f"""
{_SINKS}
SELECT count(*) FROM (
    SELECT 1 FROM sinks CROSS JOIN LATERAL (
        SELECT 1 FROM deliveries AS d WHERE d.state = 'pending' AND d.sink_id = sinks.sink_id
        AND d.next_at <= (SELECT comporta_now($1)) LIMIT $3) AS n
    WHERE sinks.sink_id <> ALL($2::text[]) LIMIT $3) AS counted"""
BEAT = """
INSERT INTO nodes (id, seen_at, lease_seconds) VALUES ($1, comporta_now($2), $3)
ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, lease_seconds = excluded.lease_seconds"""
BURY = """
DELETE FROM nodes USING (
    SELECT id FROM nodes WHERE id <> $1
    AND seen_at + lease_seconds * 1000000 < (SELECT comporta_now($2))
    ORDER BY id FOR UPDATE SKIP LOCKED) AS gone
WHERE nodes.id = gone.id"""
# One step per owner, however much it holds.
ORPHANED = """
WITH RECURSIVE owners (owner) AS (
    (SELECT d.owner FROM deliveries AS d WHERE d.state = 'leased' ORDER BY d.owner LIMIT 1)
    UNION ALL
    SELECT n.owner FROM owners CROSS JOIN LATERAL (
        SELECT d.owner FROM deliveries AS d WHERE d.state = 'leased' AND d.owner > owners.owner
        ORDER BY d.owner LIMIT 1) AS n)
SELECT owner FROM owners WHERE NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = owners.owner)"""
FREE = """
WITH freed AS MATERIALIZED (
    SELECT id FROM deliveries WHERE state = 'leased' AND owner = ANY($1::text[])
    AND ($3::text[] IS NULL
        OR (id, token) IN (SELECT * FROM unnest($3::text[], $5::bigint[])))
    LIMIT $4 FOR UPDATE SKIP LOCKED)
UPDATE deliveries AS d SET state = 'pending', owner = NULL, updated_at = comporta_now($2)
FROM freed WHERE d.id = freed.id RETURNING d.id"""
FREE_JOBS = """
WITH freed AS MATERIALIZED (
    SELECT id FROM jobs WHERE owner IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = jobs.owner) FOR UPDATE SKIP LOCKED)
UPDATE jobs SET owner = NULL FROM freed WHERE jobs.id = freed.id"""
RELEASE_JOBS = "UPDATE jobs SET owner = NULL, attempts = attempts - 1 WHERE owner = $1"


async def claim(
    connections: Connections,
    wants: Mapping[str, int],
    ordered: frozenset[str],
    node: str,
    now: int | None,
) -> tuple[list[Leased], list[tuple[str, int]]]:
    """Lease what is due, and (id, token) of what is leased but has no event any more."""
    plain = {sink: n for sink, n in wants.items() if n > 0 and sink not in ordered}
    heads = {sink: n for sink, n in wants.items() if n > 0 and sink in ordered}
    rows: list[asyncpg.Record] = []
    if plain:
        rows += await connections.write(CLAIM, list(plain), list(plain.values()), node, now)
    for sink_id, wanted in sorted(heads.items()):
        async with connections.transaction() as connection:
            rows += await _claim_heads(connection, sink_id, wanted, node, now)
    leased = [_leased(row) for row in rows if row[6]]
    return leased, [(row[0], row[1]) for row in rows if not row[6]]


async def _claim_heads(
    connection: Connection, sink_id: str, wanted: int, node: str, now: int | None
) -> list[asyncpg.Record]:
    if not await connection.fetchval(LOCK_SINK, sink_id):
        return []
    heads: list[asyncpg.Record] = []
    for _ in range(ROUNDS):
        rows = await connection.fetch(
            CLAIM_HEADS, sink_id, wanted - len(heads), node, now, CANDIDATES
        )
        heads += [row for row in rows if row[0]]
        if rows[0]["n"] < CANDIDATES or len(heads) >= wanted:
            break
    return heads


def _leased(row: asyncpg.Record) -> Leased:
    delivery_id, token, sink_id, attempts, replay, gap = row[:6]
    return Leased(
        id=delivery_id,
        token=token,
        sink_id=sink_id,
        attempts=attempts,
        replay=replay,
        event=stored_event_from(row[7:]),
        gap=gap,
    )


async def release(
    connections: Connections, node: str, leases: Sequence[Lease] | None, now: int | None
) -> None:
    """Give back some of a node's deliveries, or all it holds, jobs included."""
    if leases is None:
        await _free(connections, [node], None, now)
        await connections.write(RELEASE_JOBS, node)
        return
    left = dict(leases)
    for _ in range(RELEASES):
        for ident in await _free(connections, [node], left, now):
            del left[ident]
        if not left:
            return
        await asyncio.sleep(PAUSE)  # who claims just now may hold their rows, and then lets go


async def beat(connections: Connections, node: str, lease_seconds: float, now: int | None) -> int:
    """Renew a node's lease and free what nodes hold that are gone; gives how many deliveries."""
    await connections.write(BEAT, node, now, lease_seconds)
    await connections.write(BURY, node, now)
    orphaned = [row[0] for row in await connections.fetch(ORPHANED)]
    await connections.write(FREE_JOBS)
    return len(await _free(connections, orphaned, None, now)) if orphaned else 0


async def _free(
    connections: Connections, owners: Sequence[str], some: Mapping[str, int] | None, now: int | None
) -> set[str]:
    """Slice by slice, so that no transaction is long; gives those that are free now. `some`: their
    tokens by their ids.
    """
    free: set[str] = set()
    ids, tokens = (None, None) if some is None else (list(some), list(some.values()))
    while True:
        freed = await connections.write(FREE, owners, now, ids, SLICE, tokens)
        free.update(row[0] for row in freed)
        if len(freed) < SLICE:
            return free
