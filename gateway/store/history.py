"""What happened, for whoever asks later: the cold reads behind /processing, in one SQL for both
engines.

Newest first, by cursor; `instances` limits every answer to what an API key may see (None: all).
Times are microseconds. No request looks at more rows than it may cost, however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import orjson

from gateway.store import sink_history
from gateway.store.base import Database, NewInbound
from gateway.store.clause import Sql, between, with_state
from gateway.store.rows import (
    AttemptRow,
    DeliveryRow,
    EventRow,
    InboundRow,
    Page,
    SinkTold,
    Wanted,
)
from gateway.store.scan import SKEW, Scan, first_id
from gateway.store.stored_event import COLUMNS, stored_event_from
from schemas.events import StoredEvent

# An event may come of a delivery that was received before: deferred, enriched, read again. One that
# came later than this is not found by the time of that delivery.
LATEST = 86_400_000_000
UNSETTLED = frozenset({"quarantined", "enriching"})  # outcomes that have an index
LISTED_BODY = 4096  # bytes of a body in a list

EVENT_COLUMNS = ", ".join(f"e.{name}" for name in COLUMNS)
DELIVERIES = """
SELECT d.id, d.seq, d.sink_id, d.tenant, d.instance, d.state, d.attempts, d.replay, d.next_at,
    d.created_at, d.updated_at, d.status, d.reason, e.id, e.name,
    (SELECT max(a.at) FROM attempts AS a WHERE a.delivery_id = d.id)
FROM deliveries AS d LEFT JOIN events AS e ON e.seq = d.seq"""
DELIVERY_FIELDS = tuple(DeliveryRow.__dataclass_fields__)
INBOUND = (
    "SELECT tenant, instance, installation_id, driver, id, received_at, method, query, headers,"
    " {body}, outcome, delivery_key, reason, events, length(body) FROM inbounds"
)
EXISTS_UNFINISHED = """
EXISTS (SELECT 1 FROM deliveries AS u WHERE u.seq = w.seq AND u.state IN ('pending', 'leased'))"""
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
STATUSES = {
    "superseded": "w.superseded <> 0",
    "pending": f"w.superseded = 0 AND {EXISTS_UNFINISHED}",
    "dispatched": f"w.superseded = 0 AND NOT {EXISTS_UNFINISHED}",
}


class History:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, wanted: Wanted, *, limit: int, below: int | None) -> Page[EventRow]:
        """Events with a seq lower than `below`, newest first."""
        wanted = _narrowed(wanted)
        if wanted.status is not None and wanted.status not in STATUSES:
            return Page()
        first, end = await self._seqs(wanted)

        def indexed(sql: Sql) -> None:
            sql.equal(tenant=wanted.tenant, key=wanted.key)
            if wanted.key is None:
                sql.equal(instance=wanted.instance)
            if first is not None:
                sql.add("seq >= {}", first)
            if end is not None:
                sql.add("seq < {}", end)

        def tried(sql: Sql) -> None:
            if wanted.key is not None:
                sql.equal(w__instance=wanted.instance)
            sql.equal(
                w__name=wanted.name,
                w__installation_id=wanted.installation_id,
                w__driver=wanted.driver,
            )
            sql.within("w.instance", wanted.instances)
            between(sql, "w.received_at", wanted)
            if wanted.status is not None:
                sql.parts.append(STATUSES[wanted.status])

        columns = ("instance", "name", "installation_id", "driver", "received_at", "superseded")
        few = UNFINISHED if wanted.status == "pending" else ()
        scan = Scan(
            table="events", key="seq", columns=columns, indexed=indexed, tried=tried, few=few
        )
        seqs, more = await scan.page(self._database, limit, below)
        return Page(await self._events(seqs), more)

    async def _seqs(self, wanted: Wanted) -> tuple[int | None, int | None]:
        """Outside which seqs no event was received in the wanted time."""
        first = end = None
        if wanted.after is not None:
            first = await self._first_seq(wanted.after - SKEW)
            first = first if first is not None else 1 << 62
        if wanted.before is not None:
            end = await self._first_seq(wanted.before + SKEW + LATEST)
        return first, end

    async def _first_seq(self, microseconds: int) -> int | None:
        rows = await self._database.fetch(
            "SELECT seq FROM events WHERE id >= $1 ORDER BY id LIMIT 1", first_id(microseconds)
        )
        return rows[0][0] if rows else None

    async def _events(self, seqs: Sequence[int]) -> list[EventRow]:
        if not seqs:
            return []
        sql = Sql()
        sql.within("e.seq", seqs)
        rows = await self._database.fetch(
            f"SELECT {EVENT_COLUMNS} FROM events AS e WHERE {sql.where} ORDER BY e.seq DESC",
            *sql.args,
        )
        return await self._with_deliveries([stored_event_from(row) for row in rows])

    async def event(
        self, tenant: str, ident: str, instances: Collection[str] | None = None
    ) -> EventRow | None:
        """One event with its deliveries."""
        sql = Sql()
        sql.equal(e__id=ident, e__tenant=tenant)
        sql.within("e.instance", instances)
        rows = await self._database.fetch(
            f"SELECT {EVENT_COLUMNS} FROM events AS e WHERE {sql.where}", *sql.args
        )
        found = await self._with_deliveries([stored_event_from(row) for row in rows])
        return found[0] if found else None

    async def _with_deliveries(self, events: list[StoredEvent]) -> list[EventRow]:
        by_seq = {e.seq: EventRow(event=e, deliveries=[]) for e in events}
        if by_seq:
            sql = Sql()
            sql.within("d.seq", by_seq)
            rows = await self._database.fetch(
                f"{DELIVERIES} WHERE {sql.where} ORDER BY d.id", *sql.args
            )
            for row in map(_delivery, rows):
                by_seq[row.seq].deliveries.append(row)
        return list(by_seq.values())

    async def tail(
        self, tenant: str, instance: str, after: int, limit: int, below: int | None = None
    ) -> list[StoredEvent]:
        """Events of an instance with a seq above `after`, oldest first.

        Only those below `below`; without it, below the first that another process may not have
        committed yet, so that nothing turns up behind a reader who goes on from the last seq.
        """
        if below is None:
            below = await self._database.horizon() + 1
        rows = await self._database.fetch(
            f"SELECT {EVENT_COLUMNS} FROM events AS e WHERE e.tenant = $1 AND e.instance = $2"
            " AND e.seq > $3 AND e.seq < $4 ORDER BY e.seq LIMIT $5",
            tenant,
            instance,
            after,
            below,
            limit,
        )
        return [stored_event_from(row) for row in rows]

    async def inbounds(self, wanted: Wanted, *, limit: int, below: str | None) -> Page[InboundRow]:
        """Stored deliveries of providers with an id lower than `below`, newest first. Of a body
        only the first LISTED_BODY bytes.
        """
        wanted = _narrowed(wanted)
        by_outcome = wanted.outcome in UNSETTLED

        def indexed(sql: Sql) -> None:
            if by_outcome:
                sql.parts.append(f"outcome = '{wanted.outcome}'")  # what the index is limited to
            else:
                sql.equal(tenant=wanted.tenant)
            _ids_between(sql, wanted)

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
        ids, more = await scan.page(self._database, limit, below)
        if not ids:
            return Page(below=more)
        sql = Sql()
        head = INBOUND.format(body=f"substr(body, 1, {LISTED_BODY})")
        sql.within("id", ids)
        rows = await self._database.fetch(f"{head} WHERE {sql.where} ORDER BY id DESC", *sql.args)
        return Page(map(_inbound, rows), more)

    async def inbound(
        self, tenant: str, ident: str, instances: Collection[str] | None = None
    ) -> InboundRow | None:
        """One stored delivery of a provider, whole."""
        sql = Sql()
        sql.equal(id=ident, tenant=tenant)
        sql.within("instance", instances)
        rows = await self._database.fetch(
            f"{INBOUND.format(body='body')} WHERE {sql.where}", *sql.args
        )
        return _inbound(rows[0]) if rows else None

    async def stored_inbound(self, tenant: str, ident: str) -> NewInbound | None:
        """The row of one stored delivery, to be read again."""
        found = await self.inbound(tenant, ident)
        return found.row if found else None

    async def deliveries(
        self, wanted: Wanted, *, limit: int, below: str | None
    ) -> Page[DeliveryRow]:
        """Deliveries with an id lower than `below`, newest first. `status`: a stored state, or
        `retrying` (pending after a try) or `delivering`.
        """
        wanted = _narrowed(wanted)
        dead = wanted.status == "dead" and wanted.sink_ids is not None
        seq = await self._seq_of(wanted) if wanted.event_id is not None else None
        if wanted.event_id is not None and seq is None:
            return Page()

        def indexed(sql: Sql) -> None:
            sql.equal(seq=seq)
            if dead:
                sql.parts.append("state = 'dead'")
                sql.within("sink_id", wanted.sink_ids)
            _ids_between(sql, wanted)

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
        ids, more = await scan.page(self._database, limit, below)
        if not ids:
            return Page(below=more)
        sql = Sql()
        sql.within("d.id", ids)
        rows = await self._database.fetch(
            f"{DELIVERIES} WHERE {sql.where} ORDER BY d.id DESC", *sql.args
        )
        return Page(map(_delivery, rows), more)

    async def _seq_of(self, wanted: Wanted) -> int | None:
        rows = await self._database.fetch(
            "SELECT seq FROM events WHERE id = $1 AND tenant = $2", wanted.event_id, wanted.tenant
        )
        return rows[0][0] if rows else None

    async def delivery(
        self, tenant: str, ident: str, instances: Collection[str] | None = None
    ) -> tuple[DeliveryRow, list[AttemptRow]] | None:
        """One delivery with its attempts, oldest first."""
        sql = Sql()
        sql.equal(d__id=ident, d__tenant=tenant)
        sql.within("d.instance", instances)
        rows = await self._database.fetch(f"{DELIVERIES} WHERE {sql.where}", *sql.args)
        if not rows:
            return None
        tries = await self._database.fetch(
            "SELECT number, at, duration_ms, outcome, status, error, exchange, body FROM attempts"
            " WHERE delivery_id = $1 ORDER BY at, number",
            ident,
        )
        return _delivery(rows[0]), [_attempt(row) for row in tries]

    async def sink_status(self, tenant: str, instance: str, sink_id: str) -> SinkTold:
        """What waits for a sink, and how its last tries went."""
        return await sink_history.told(self._database, tenant, instance, sink_id)


def _narrowed(wanted: Wanted) -> Wanted:
    """With the one instance somebody may see as the one that is wanted, which has an index."""
    if wanted.instances is not None and wanted.instance is None and len(wanted.instances) == 1:
        return replace(wanted, instance=next(iter(wanted.instances)))
    return wanted


def _ids_between(sql: Sql, wanted: Wanted) -> None:
    """Ids are as old as what they name, give or take the differences of clocks."""
    if wanted.after is not None:
        sql.add("id >= {}", first_id(wanted.after - SKEW))
    if wanted.before is not None:
        sql.add("id < {}", first_id(wanted.before + SKEW))


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
