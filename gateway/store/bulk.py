"""Choosing, redoing and purging many deliveries or inbounds, a slice at a time, oldest first.

Choosing only reads; what is written is at most a slice per statement, by primary key.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.base import Database
from gateway.store.clause import Sql, between, with_state
from gateway.store.rows import Wanted

MOST_COUNTED = 1_000_000
ENDED = "d.state IN ('dead', 'canceled')"
WHOLE = "EXISTS (SELECT 1 FROM events e WHERE e.seq = deliveries.seq AND length(e.data) > 0)"
DUE = """
SELECT count(*) FROM (SELECT 1 FROM deliveries
    WHERE state = 'pending' AND sink_id = $1 AND next_at <= $2 LIMIT $3) AS due"""


def _deliveries(wanted: Wanted) -> tuple[Sql, str]:
    """Conditions on `d`, and what to select from."""
    sql = Sql()
    sql.equal(d__tenant=wanted.tenant, d__instance=wanted.instance, e__name=wanted.name)
    sql.within("d.instance", wanted.instances)
    sql.within("d.sink_id", wanted.sink_ids)
    sql.within("d.id", wanted.ids)
    between(sql, "d.created_at", wanted)
    with_state(sql, wanted.status)
    tables = "deliveries d JOIN events e ON e.seq = d.seq" if wanted.name else "deliveries d"
    return sql, tables


def _inbounds(wanted: Wanted) -> Sql:
    sql = Sql()
    sql.equal(
        tenant=wanted.tenant,
        instance=wanted.instance,
        installation_id=wanted.installation_id,
        driver=wanted.driver,
        outcome=wanted.outcome,
    )
    sql.within("instance", wanted.instances)
    between(sql, "received_at", wanted)
    sql.parts.append("installation_id IS NOT NULL")
    return sql


async def count_deliveries(database: Database, wanted: Wanted) -> int:
    """How many deliveries are wanted; stops counting at MOST_COUNTED."""
    sql, tables = _deliveries(wanted)
    return await _count(database, sql, f"SELECT 1 FROM {tables}")


async def count_inbounds(database: Database, wanted: Wanted) -> int:
    """How many inbounds are wanted; stops counting at MOST_COUNTED."""
    return await _count(database, _inbounds(wanted), "SELECT 1 FROM inbounds")


async def _count(database: Database, sql: Sql, select: str) -> int:
    limit = sql.mark(MOST_COUNTED)
    ((count,),) = await database.fetch(
        f"SELECT count(*) FROM ({select} WHERE {sql.where} LIMIT {limit}) AS wanted", *sql.args
    )
    return int(count)


async def next_deliveries(
    database: Database, wanted: Wanted, *, above: str, limit: int
) -> list[str]:
    """The ids of the first wanted deliveries above an id, oldest first."""
    sql, tables = _deliveries(wanted)
    sql.add("d.id > {}", above)
    return await _ids(database, sql, f"SELECT d.id FROM {tables}", "d.id", limit)


async def next_inbounds(database: Database, wanted: Wanted, *, above: str, limit: int) -> list[str]:
    """The ids of the first wanted inbounds above an id, oldest first."""
    sql = _inbounds(wanted)
    sql.add("id > {}", above)
    return await _ids(database, sql, "SELECT id FROM inbounds", "id", limit)


async def _ids(database: Database, sql: Sql, select: str, order: str, limit: int) -> list[str]:
    mark = sql.mark(limit)
    rows = await database.fetch(
        f"{select} WHERE {sql.where} ORDER BY {order} LIMIT {mark}", *sql.args
    )
    return [ident for (ident,) in rows]


async def redo(database: Database, ids: Sequence[str]) -> int:
    """Make these deliveries due now, with all their tries before them; gives how many.

    `replay` grows, which changes the brokers' deduplication id; `token` grows, which fences a late
    settle. One that is being sent is left alone, and one whose payload is no longer kept.
    """
    sql = Sql()
    now = await database.now()
    due, at = sql.mark(now), sql.mark(now)
    sql.within("id", ids)
    rows = await database.write(
        f"UPDATE deliveries SET state = 'pending', next_at = {due}, replay = replay + 1,"
        f" token = token + 1, attempts = 0, reason = NULL, updated_at = {at}"
        f" WHERE {sql.where} AND state <> 'leased' AND {WHOLE} RETURNING id",
        *sql.args,
    )
    return len(rows)


async def purge(database: Database, ids: Sequence[str]) -> int:
    """Delete those of these deliveries that were given up or canceled, with their tries; gives how
    many. What was sent, or still may be, is left alone.
    """
    sql = Sql()
    sql.within("d.id", ids)
    chosen = f"SELECT d.id FROM deliveries AS d WHERE {sql.where} AND {ENDED}"
    await database.write(
        f"DELETE FROM attempts WHERE delivery_id IN ({chosen}) RETURNING number",
        *sql.args,
    )
    rows = await database.write(
        f"DELETE FROM deliveries WHERE id IN ({chosen}) RETURNING id",
        *sql.args,
    )
    return len(rows)


async def sinks_of(database: Database, ids: Sequence[str]) -> set[str]:
    """The sinks of these deliveries."""
    sql = Sql()
    sql.within("id", ids)
    text = f"SELECT DISTINCT sink_id FROM deliveries WHERE {sql.where}"
    return {row[0] for row in await database.fetch(text, *sql.args)}


async def has_due(database: Database, sink_id: str, count: int) -> bool:
    """Whether so many deliveries are due for a sink, and not being sent."""
    ((due,),) = await database.fetch(DUE, sink_id, await database.now(), count)
    return bool(due >= count)
