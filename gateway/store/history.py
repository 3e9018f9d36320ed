"""What happened, for whoever asks later: the cold reads behind /processing, in one SQL for both
engines.

Newest first, by cursor; `instances` limits every answer to what an API key may see (None: all).
Times are microseconds. No request looks at more rows than it may cost, however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.store import delivery_history, inbound_history, sink_history
from gateway.store.base import Database, NewInbound
from gateway.store.clause import Sql, between
from gateway.store.delivery_history import UNFINISHED
from gateway.store.rows import (
    AttemptRow,
    DeliveryRow,
    EventRow,
    InboundRow,
    Page,
    SinkTold,
    Wanted,
)
from gateway.store.scan import SKEW, Scan, first_id, narrowed
from gateway.store.stored_event import COLUMNS, stored_event_from
from schemas.events import StoredEvent

# An event may come of a delivery that was received before: deferred, enriched, read again. One that
# came later than this is not found by the time of that delivery.
LATEST = 86_400_000_000

EVENT_COLUMNS = ", ".join(f"e.{name}" for name in COLUMNS)
EXISTS_UNFINISHED = """
EXISTS (SELECT 1 FROM deliveries AS u WHERE u.seq = w.seq AND u.state IN ('pending', 'leased'))"""
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
        wanted = narrowed(wanted)
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
            for row in await delivery_history.of_events(self._database, by_seq):
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
        return await inbound_history.page(self._database, wanted, limit, below)

    async def inbound(
        self, tenant: str, ident: str, instances: Collection[str] | None = None
    ) -> InboundRow | None:
        """One stored delivery of a provider, whole."""
        return await inbound_history.one(self._database, tenant, ident, instances)

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
        return await delivery_history.page(self._database, wanted, limit, below)

    async def delivery(
        self, tenant: str, ident: str, instances: Collection[str] | None = None
    ) -> tuple[DeliveryRow, list[AttemptRow]] | None:
        """One delivery with its attempts, oldest first."""
        return await delivery_history.one(self._database, tenant, ident, instances)

    async def sink_status(self, tenant: str, instance: str, sink_id: str) -> SinkTold:
        """What waits for a sink, and how its last tries went."""
        return await sink_history.told(self._database, tenant, instance, sink_id)
