"""What happened, for whoever asks later: the cold reads behind /processing, in one SQL for both
engines.

Newest first, by cursor; `instances` limits every answer to what an API key may see (None: all).
Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import orjson

from gateway.store.base import Database, NewInbound
from gateway.store.clause import Sql, between, with_state
from gateway.store.rows import (
    AttemptRow,
    DeliveryRow,
    EventRow,
    InboundRow,
    SinkTold,
    Wanted,
)
from gateway.store.stored_event import COLUMNS, stored_event_from
from schemas.events import StoredEvent

UNFINISHED = "('pending', 'leased')"


EVENT_COLUMNS = ", ".join(f"e.{name}" for name in COLUMNS)
DELIVERY_COLUMNS = (
    "d.id, d.seq, d.sink_id, d.tenant, d.instance, d.state, d.attempts, d.replay, d.next_at,"
    " d.created_at, d.updated_at, d.status, d.reason, e.id, e.name"
)
DELIVERY_FIELDS = tuple(DeliveryRow.__dataclass_fields__)
INBOUND_COLUMNS = (
    "tenant, instance, installation_id, driver, id, received_at, method, query, headers, body,"
    " outcome, delivery_key, reason, events"
)
EXISTS_UNFINISHED = (
    f"EXISTS (SELECT 1 FROM deliveries u WHERE u.seq = e.seq AND u.state IN {UNFINISHED})"
)


class History:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, wanted: Wanted, *, limit: int, below: int | None) -> list[EventRow]:
        """Events with a seq lower than `below`, newest first."""
        sql = Sql()
        sql.equal(
            e__tenant=wanted.tenant,
            e__instance=wanted.instance,
            e__name=wanted.name,
            e__installation_id=wanted.installation_id,
            e__driver=wanted.driver,
            e__key=wanted.key,
        )
        sql.within("e.instance", wanted.instances)
        between(sql, "e.received_at", wanted)
        if below is not None:
            sql.add("e.seq < {}", below)
        if wanted.status == "superseded":
            sql.add("e.superseded <> 0")
        elif wanted.status == "pending":
            sql.add("e.superseded = 0 AND " + EXISTS_UNFINISHED)
        elif wanted.status == "dispatched":
            sql.add("e.superseded = 0 AND NOT " + EXISTS_UNFINISHED)
        elif wanted.status is not None:
            return []
        rows = await self._database.fetch(
            f"SELECT {EVENT_COLUMNS} FROM events e WHERE {sql.where}"
            f" ORDER BY e.seq DESC LIMIT {sql.mark(limit)}",
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
            f"SELECT {EVENT_COLUMNS} FROM events e WHERE {sql.where}", *sql.args
        )
        found = await self._with_deliveries([stored_event_from(row) for row in rows])
        return found[0] if found else None

    async def _with_deliveries(self, events: list[StoredEvent]) -> list[EventRow]:
        by_seq = {e.seq: EventRow(event=e, deliveries=[]) for e in events}
        if by_seq:
            sql = Sql()
            marks = ", ".join(sql.mark(seq) for seq in by_seq)
            rows = await self._database.fetch(
                f"SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.seq = d.seq"
                f" WHERE d.seq IN ({marks}) ORDER BY d.id",
                *sql.args,
            )
            for row in map(_delivery, rows):
                by_seq[row.seq].deliveries.append(row)
        return list(by_seq.values())

    async def tail(
        self, tenant: str, instance: str, after: int, limit: int, below: int | None = None
    ) -> list[StoredEvent]:
        """Events of an instance with a seq above `after` (and below `below`), oldest first."""
        sql = Sql()
        sql.equal(e__tenant=tenant, e__instance=instance)
        sql.add("e.seq > {}", after)
        if below is not None:
            sql.add("e.seq < {}", below)
        rows = await self._database.fetch(
            f"SELECT {EVENT_COLUMNS} FROM events e WHERE {sql.where}"
            f" ORDER BY e.seq LIMIT {sql.mark(limit)}",
            *sql.args,
        )
        return [stored_event_from(row) for row in rows]

    async def inbounds(self, wanted: Wanted, *, limit: int, below: str | None) -> list[InboundRow]:
        """Stored deliveries of providers with an id lower than `below`, newest first."""
        sql = Sql()
        sql.equal(
            tenant=wanted.tenant,
            instance=wanted.instance,
            installation_id=wanted.installation_id,
            driver=wanted.driver,
            outcome=wanted.outcome,
            delivery_key=wanted.key,
        )
        sql.within("instance", wanted.instances)
        between(sql, "received_at", wanted)
        if below is not None:
            sql.add("id < {}", below)
        rows = await self._database.fetch(
            f"SELECT {INBOUND_COLUMNS} FROM inbounds WHERE {sql.where}"
            f" ORDER BY id DESC LIMIT {sql.mark(limit)}",
            *sql.args,
        )
        return [_inbound(row) for row in rows]

    async def inbound(
        self, tenant: str, ident: str, instances: Collection[str] | None = None
    ) -> InboundRow | None:
        """One stored delivery of a provider."""
        sql = Sql()
        sql.equal(id=ident, tenant=tenant)
        sql.within("instance", instances)
        rows = await self._database.fetch(
            f"SELECT {INBOUND_COLUMNS} FROM inbounds WHERE {sql.where}", *sql.args
        )
        return _inbound(rows[0]) if rows else None

    async def stored_inbound(self, tenant: str, ident: str) -> NewInbound | None:
        """The row of one stored delivery, to be read again."""
        found = await self.inbound(tenant, ident)
        return found.row if found else None

    async def deliveries(
        self, wanted: Wanted, *, limit: int, below: str | None
    ) -> list[DeliveryRow]:
        """Deliveries with an id lower than `below`, newest first. `status`: a stored state, or
        `retrying` (pending after a try).
        """
        sql = Sql()
        sql.equal(d__tenant=wanted.tenant, d__instance=wanted.instance, e__name=wanted.name)
        sql.within("d.instance", wanted.instances)
        sql.within("d.sink_id", wanted.sink_ids)
        between(sql, "d.created_at", wanted)
        with_state(sql, wanted.status)
        if below is not None:
            sql.add("d.id < {}", below)
        rows = await self._database.fetch(
            f"SELECT {DELIVERY_COLUMNS} FROM deliveries d JOIN events e ON e.seq = d.seq"
            f" WHERE {sql.where} ORDER BY d.id DESC LIMIT {sql.mark(limit)}",
            *sql.args,
        )
        return list(map(_delivery, rows))

    async def delivery(
        self, tenant: str, ident: str, instances: Collection[str] | None = None
    ) -> tuple[DeliveryRow, list[AttemptRow]] | None:
        """One delivery with its attempts, oldest first."""
        sql = Sql()
        sql.equal(d__id=ident, d__tenant=tenant)
        sql.within("d.instance", instances)
        rows = await self._database.fetch(
            f"SELECT {DELIVERY_COLUMNS} FROM deliveries d LEFT JOIN events e ON e.seq = d.seq"
            f" WHERE {sql.where}",
            *sql.args,
        )
        if not rows:
            return None
        tries = await self._database.fetch(
            "SELECT number, at, duration_ms, outcome, status, error, exchange, body FROM attempts"
            " WHERE delivery_id = $1 ORDER BY at, number",
            ident,
        )
        return _delivery(rows[0]), [_attempt(row) for row in tries]

    async def sink_status(self, sink_id: str) -> SinkTold:
        """What waits for a sink, and how its last tries went; counts stop at 100,000."""
        told = SinkTold()
        ((told.backlog, told.retrying, told.oldest_waiting_at),) = await self._database.fetch(
            "SELECT count(*), coalesce(sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END), 0),"
            " min(created_at) FROM (SELECT attempts, created_at FROM deliveries"
            " WHERE sink_id = $1 AND state = 'pending' LIMIT 100000) AS waiting",
            sink_id,
        )
        ((told.dead,),) = await self._database.fetch(
            "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE sink_id = $1 AND state = 'dead'"
            " LIMIT 100000) AS given_up",
            sink_id,
        )
        told.retrying = int(told.retrying)
        return told


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
    ident, received_at, method, query, headers, body, outcome, key, reason, events = row[4:]
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
            body=bytes(body),
            outcome=outcome,
            delivery_key=key,
            reason=reason,
        ),
        events=[(e[0], e[1], e[2]) for e in orjson.loads(events)],
    )
