"""The reads of `History` that are about deliveries to sinks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from gateway.store.base import Database
from gateway.store.clause import Sql, between, with_state
from gateway.store.rows import AttemptRow, DeliveryRow, Page, Wanted
from gateway.store.scan import Scan, ids_between, narrowed

DELIVERIES = """
SELECT d.id, d.seq, d.sink_id, d.tenant, d.instance, d.state, d.attempts, d.replay, d.next_at,
    d.created_at, d.updated_at, d.status, d.reason, e.id, e.name,
    (SELECT max(a.at) FROM attempts AS a WHERE a.delivery_id = d.id)
FROM deliveries AS d LEFT JOIN events AS e ON e.seq = d.seq"""
DELIVERY_FIELDS = tuple(DeliveryRow.__dataclass_fields__)
# Each served by an index of its own.
PENDING, LEASED, DEAD = (
    f"SELECT {{}} FROM deliveries WHERE state = '{state}'"
    for state in ("pending", "leased", "dead")
)
UNFINISHED = (PENDING.format("seq"), LEASED.format("seq"))
STATES = {
    "pending": (PENDING.format("id"),),
    "retrying": (PENDING.format("id"),),
    "delivering": (LEASED.format("id"),),
    "dead": (DEAD.format("id"),),
}


async def page(
    database: Database, wanted: Wanted, limit: int, below: str | None
) -> Page[DeliveryRow]:
    """See `History.deliveries`."""
    wanted = narrowed(wanted)
    dead = wanted.status == "dead" and wanted.sink_ids is not None
    seq = await _seq_of(database, wanted) if wanted.event_id is not None else None
    if wanted.event_id is not None and seq is None:
        return Page()

    def indexed(sql: Sql) -> None:
        sql.equal(seq=seq)
        if dead:
            sql.parts.append("state = 'dead'")
            sql.within("sink_id", wanted.sink_ids)
        ids_between(sql, wanted)

    def tried(sql: Sql) -> None:
        sql.equal(w__tenant=wanted.tenant, w__instance=wanted.instance)
        sql.within("w.instance", wanted.instances)
        sql.within("w.sink_id", None if dead else wanted.sink_ids)
        between(sql, "w.created_at", wanted)
        with_state(sql, None if dead else wanted.status, "w")
        if wanted.name is not None:
            sql.add(
                "EXISTS (SELECT 1 FROM events AS e WHERE e.seq = w.seq AND e.name = {})",
                wanted.name,
            )

    columns = ("seq", "tenant", "instance", "sink_id", "state", "attempts", "created_at")
    few = () if dead or seq is not None else STATES.get(wanted.status or "", ())
    scan = Scan(
        table="deliveries", key="id", columns=columns, indexed=indexed, tried=tried, few=few
    )
    ids, more = await scan.page(database, limit, below)
    if not ids:
        return Page(below=more)
    sql = Sql()
    sql.within("d.id", ids)
    rows = await database.fetch(f"{DELIVERIES} WHERE {sql.where} ORDER BY d.id DESC", *sql.args)
    return Page(map(_delivery, rows), more)


async def _seq_of(database: Database, wanted: Wanted) -> int | None:
    rows = await database.fetch(
        "SELECT seq FROM events WHERE id = $1 AND tenant = $2", wanted.event_id, wanted.tenant
    )
    return rows[0][0] if rows else None


async def one(
    database: Database, tenant: str, ident: str, instances: Collection[str] | None
) -> tuple[DeliveryRow, list[AttemptRow]] | None:
    """See `History.delivery`."""
    sql = Sql()
    sql.equal(d__id=ident, d__tenant=tenant)
    sql.within("d.instance", instances)
    rows = await database.fetch(f"{DELIVERIES} WHERE {sql.where}", *sql.args)
    if not rows:
        return None
    tries = await database.fetch(
        "SELECT number, at, duration_ms, outcome, status, error, exchange, body FROM attempts"
        " WHERE delivery_id = $1 ORDER BY at, number",
        ident,
    )
    return _delivery(rows[0]), [_attempt(row) for row in tries]


async def of_events(database: Database, seqs: Collection[int]) -> list[DeliveryRow]:
    """All of these events, oldest first."""
    sql = Sql()
    sql.within("d.seq", seqs)
    rows = await database.fetch(f"{DELIVERIES} WHERE {sql.where} ORDER BY d.id", *sql.args)
    return [_delivery(row) for row in rows]


def _delivery(row: Sequence[Any]) -> DeliveryRow:
    return DeliveryRow(**dict(zip(DELIVERY_FIELDS, row, strict=True)))


def _attempt(row: Sequence[Any]) -> AttemptRow:
    number, at, duration_ms, outcome, status, error, exchange, body = row
    return AttemptRow(
        number=number,
        at=at,
        duration_ms=duration_ms,
        outcome=outcome,
        status=status,
        error=error,
        exchange=orjson.loads(exchange or b"{}"),
        body=bytes(body),
    )
