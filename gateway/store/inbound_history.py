"""The reads of `History` that are about deliveries of providers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from gateway.store.base import Database, NewInbound
from gateway.store.clause import Sql, between
from gateway.store.rows import InboundRow, Page, Wanted
from gateway.store.scan import Scan, ids_between, narrowed

UNSETTLED = frozenset({"quarantined", "enriching"})  # outcomes that have an index
LISTED_BODY = 4096  # bytes of a body in a list
INBOUND = (
    "SELECT tenant, instance, installation_id, driver, id, received_at, method, query, headers,"
    " {body}, outcome, delivery_key, reason, events, length(body) FROM inbounds"
)


async def page(
    database: Database, wanted: Wanted, limit: int, below: str | None
) -> Page[InboundRow]:
    """See `History.inbounds`."""
    wanted = narrowed(wanted)
    by_outcome = wanted.outcome in UNSETTLED

    def indexed(sql: Sql) -> None:
        if by_outcome:
            sql.parts.append(f"outcome = '{wanted.outcome}'")  # what the index is limited to
        else:
            sql.equal(tenant=wanted.tenant)
        ids_between(sql, wanted)

    def tried(sql: Sql) -> None:
        if by_outcome:
            sql.equal(w__tenant=wanted.tenant)
        else:
            sql.equal(w__outcome=wanted.outcome)
        sql.equal(
            w__instance=wanted.instance,
            w__installation_id=wanted.installation_id,
            w__driver=wanted.driver,
            w__delivery_key=wanted.key,
        )
        sql.within("w.instance", wanted.instances)
        between(sql, "w.received_at", wanted)

    columns = tuple(
        "tenant instance installation_id driver received_at outcome delivery_key".split()
    )
    scan = Scan(table="inbounds", key="id", columns=columns, indexed=indexed, tried=tried)
    ids, more = await scan.page(database, limit, below)
    if not ids:
        return Page(below=more)
    sql = Sql()
    head = INBOUND.format(body=f"substr(body, 1, {LISTED_BODY})")
    sql.within("id", ids)
    rows = await database.fetch(f"{head} WHERE {sql.where} ORDER BY id DESC", *sql.args)
    return Page(map(_inbound, rows), more)


async def one(
    database: Database, tenant: str, ident: str, instances: Collection[str] | None
) -> InboundRow | None:
    """See `History.inbound`."""
    sql = Sql()
    sql.equal(id=ident, tenant=tenant)
    sql.within("instance", instances)
    rows = await database.fetch(f"{INBOUND.format(body='body')} WHERE {sql.where}", *sql.args)
    return _inbound(rows[0]) if rows else None


def _inbound(row: Sequence[Any]) -> InboundRow:
    tenant, instance, installation_id, driver = row[:4]
    ident, received_at, method, query, headers, body, outcome, key, reason, events, size = row[4:]
    return InboundRow(
        tenant=tenant,
        instance=instance,
        installation_id=installation_id,
        driver=driver,
        row=NewInbound(
            id=ident,
            received_at=received_at,
            method=method,
            query=bytes(query),
            headers=bytes(headers),
            body=bytes(body or b""),  # a part of nothing is NULL on SQLite
            outcome=outcome,
            delivery_key=key,
            reason=reason,
        ),
        events=[(e[0], e[1], e[2]) for e in orjson.loads(events)],
        size=size,
    )
