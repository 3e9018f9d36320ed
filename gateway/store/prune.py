"""Retention beside `EventLog.purge`, in the SQL that both engines speak: payloads that end before
their record does, and dedupe digests that outlive it.

Each function is one slice of a walk from old to new, or through the keys: it reads by the primary
key and writes at most `limit` rows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from gateway.store.base import Database
from gateway.store.clause import Sql
from gateway.store.scan import first_id

K = TypeVar("K", int, str, bytes)

NO_DATA = b""  # an event whose payload is no longer kept; no JSON is empty
EXPIRED = "the payload is no longer kept"
ID_LENGTH = 26
# What still may be sent needs its payload: so does a dead letter, until retention takes it whole.
EVENTS = """
SELECT e.seq, e.received_at, length(e.data) > 0 AND NOT EXISTS (SELECT 1 FROM deliveries AS d
    WHERE d.seq = e.seq AND d.state IN ('pending', 'leased', 'dead'))
FROM events AS e WHERE e.seq > $1 ORDER BY e.seq LIMIT $2"""
INBOUNDS = """
SELECT id, received_at, length(body) > 0 AND outcome IN ('accepted', 'duplicate', 'ignored')
FROM inbounds WHERE id > $1 ORDER BY id LIMIT $2"""
WHOLE = """
SELECT 1 FROM deliveries AS d JOIN events AS e ON e.seq = d.seq
WHERE d.id = $1 AND length(e.data) > 0"""
SEEN = "SELECT digest, ref FROM seen WHERE digest > $1 ORDER BY digest LIMIT $2"


async def strip_events(
    database: Database, before: int, above: int, limit: int
) -> tuple[int, int | None]:
    """Let go of the data of events received `before` that nothing will send again, of those with a
    seq `above`. Gives how many, and where to go on: None when what follows is too young.
    """
    rows = await database.fetch(EVENTS, above, limit)
    old = [(seq, may_go) for seq, received_at, may_go in rows if received_at < before]
    seqs = [seq for seq, may_go in old if may_go]
    if seqs:
        sql = Sql()
        data = sql.mark(NO_DATA)
        sql.within("seq", seqs)
        text = f"UPDATE events SET data = {data} WHERE {sql.where} RETURNING seq"
        await database.write(text, *sql.args)
    return len(seqs), _last(old, rows, limit)


async def strip_inbounds(
    database: Database, before: int, above: str, limit: int
) -> tuple[int, str | None]:
    """The same for the bodies of inbounds. One that a driver may yet read again keeps its own."""
    rows = await database.fetch(INBOUNDS, above, limit)
    old = [(ident, may_go) for ident, received_at, may_go in rows if received_at < before]
    ids = [ident for ident, may_go in old if may_go]
    if ids:
        sql = Sql()
        body, told, prefix = sql.mark(b""), sql.mark(EXPIRED), sql.mark(f"{EXPIRED}: ")
        sql.within("id", ids)
        await database.write(
            f"UPDATE inbounds SET body = {body},"
            f" reason = CASE WHEN reason IS NULL THEN {told} ELSE {prefix} || reason END"
            f" WHERE {sql.where} RETURNING id",
            *sql.args,
        )
    return len(ids), _last(old, rows, limit)


async def forget_seen(
    database: Database, before: int, above: bytes, limit: int
) -> tuple[int, bytes | None]:
    """Drop the digests of what was told `before`, of those `above` in the order of digests."""
    rows = await database.fetch(SEEN, above, limit)
    young = first_id(before)
    # A reference is an id, or an id with its seq: as old as it says.
    digests = [bytes(digest) for digest, ref in rows if ref[:ID_LENGTH] < young]
    if digests:
        sql = Sql()
        marks = ", ".join(sql.mark(digest) for digest in digests)
        text = f"DELETE FROM seen WHERE digest IN ({marks}) RETURNING 1"
        await database.write(text, *sql.args)
    return len(digests), bytes(rows[-1][0]) if len(rows) == limit else None


async def has_payload(database: Database, delivery_id: str) -> bool:
    """Whether the event of a delivery still holds what would be sent."""
    return bool(await database.fetch(WHOLE, delivery_id))


def _last(old: list[tuple[K, bool]], rows: Collection[object], limit: int) -> K | None:
    """Where a walk goes on after what was old; None when that was not all, or all there is."""
    return old[-1][0] if len(old) == len(rows) == limit else None
