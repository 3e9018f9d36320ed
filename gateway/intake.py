"""From what a driver made of a delivery to committed rows and deliveries on their way.

Ingress, renormalizing, enrichment, polling and the Evolution channel all come through here, so that
dedupe, routing and deferral are the same for each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from drivers.base import Receipt
from drivers.redact import REDACTED
from gateway.directory import Directory
from gateway.dispatch import Dispatcher
from gateway.drift import Drift
from gateway.hops import stored_hops
from gateway.ids import Ulids
from gateway.models import Installation
from gateway.routing import document, targets
from gateway.store.base import (
    BORN,
    Append,
    Appended,
    EventLog,
    Leased,
    NewDelivery,
    NewEvent,
    NewInbound,
    NewJob,
)
from gateway.store.keys import stored_event
from gateway.tracing import Span, stored_trace
from schemas import codec
from schemas.errors import InDoubtError
from schemas.events import WEIGHTS, Event
from schemas.request import Inbound
from schemas.sink_config import SinkConfig

DEFER = "defer"
ENRICH = "enrich"


@dataclass(slots=True, frozen=True, kw_only=True)
class Origin:
    """Where events come from: an installation's, or the gateway's own (`installation_id` None).
    `trace`: the traceparent they continue, where another is known than the request's own.
    """

    tenant: str
    instance: str
    installation_id: str | None
    driver: str
    received_at: int
    trace: str | None = None

    @classmethod
    def of(cls, installation: Installation, received_at: int, trace: str | None = None) -> Origin:
        """The origin of what an installation received."""
        return cls(
            tenant=installation.tenant,
            instance=installation.instance,
            installation_id=installation.id,
            driver=installation.driver,
            received_at=received_at,
            trace=trace,
        )


def micros(at: datetime) -> int:
    """An aware time in microseconds since 1970."""
    return round(at.timestamp() * 1_000_000)


class Intake:
    """Appends events with their deliveries, and offers those born leased to the dispatcher.

    `observe`: hears of the driver and of what became of its events.
    """

    def __init__(
        self,
        event_log: EventLog,
        directory: Directory,
        dispatcher: Dispatcher,
        drift: Drift,
        ids: Ulids,
        *,
        observe: Callable[[str, Appended], None] = lambda _driver, _told: None,
    ) -> None:
        self._log, self._directory, self._dispatcher = event_log, directory, dispatcher
        self._drift, self._ids = drift, ids
        self._observe, self.tracing = observe, dispatcher.tracing

    async def take(
        self,
        installation: Installation,
        inbound: Inbound,
        receipt: Receipt,
        trace: str | None = None,
    ) -> Appended:
        """Store a delivery that was verified just now, whatever its outcome."""
        origin = Origin.of(installation, micros(inbound.received_at), trace)
        if inbound.query:
            secrets = {s.value for s in installation.secrets}
            inbound = replace(inbound, query=_without_secrets(inbound.query, secrets))
        return await self.keep(origin, inbound, receipt)

    async def keep(self, origin: Origin, inbound: Inbound, receipt: Receipt) -> Appended:
        """Store what came to an instance itself (the Evolution channel), or to an installation."""
        row = NewInbound(
            id=self._ids(),
            received_at=origin.received_at,
            method=inbound.method,
            query=codec.dumps(inbound.query),
            headers=codec.dumps(receipt.headers),
            body=receipt.body,
            outcome=receipt.outcome,
            delivery_key=receipt.delivery_key,
            reason=receipt.reason,
        )
        return await self._append(origin, row, receipt)

    async def again(
        self,
        installation: Installation,
        row: NewInbound,
        receipt: Receipt,
        *,
        finishes: tuple[str, int] | None = None,
    ) -> Appended:
        """Bring a stored inbound up to date: renormalized, enriched, or its deferred event due."""
        row.outcome, row.reason = receipt.outcome, receipt.reason
        origin = Origin.of(installation, row.received_at)
        return await self._append(origin, row, receipt, again=True, finishes=finishes)

    async def emit(
        self,
        origin: Origin,
        events: Sequence[Event],
        *,
        finishes: tuple[str, int] | None = None,
        spares: Collection[str] = (),
    ) -> Appended:
        """Store events that no inbound tells. `spares`: ids of sinks that do not get them."""
        made = tuple(self._event(origin, event, spares) for event in events)
        item = self._item(origin, None, made, finishes=finishes)
        return await self._commit(item)

    async def _append(
        self,
        origin: Origin,
        row: NewInbound,
        receipt: Receipt,
        *,
        again: bool = False,
        finishes: tuple[str, int] | None = None,
    ) -> Appended:
        now = [e for e in receipt.events if not e.defer_seconds]
        jobs = [self._deferral(origin, row.id, e) for e in receipt.events if e.defer_seconds]
        if receipt.outcome == "enriching":
            jobs.append(self._enrichment(origin, row.id))
        words = [word for event in receipt.events for word in event.drift]
        if receipt.outcome == "quarantined":
            words.append(receipt.reason or "quarantined")
        if words:
            self._drift.note(
                origin.tenant,
                origin.driver,
                words,
                row.id,
                quarantined=receipt.outcome == "quarantined",
            )
        hop, trace = stored_hops(row.headers), origin.trace or stored_trace(row.headers)
        item = self._item(
            origin,
            row,
            tuple(self._event(origin, event, hop=hop, trace=trace) for event in now),
            again=again,
            jobs=tuple(jobs),
            cancels=tuple(deferral_name(origin, name) for name in receipt.settles),
            finishes=finishes,
        )
        return await self._commit(item, trace)

    def _item(
        self, origin: Origin, row: NewInbound | None, events: tuple[NewEvent, ...], **more: Any
    ) -> Append:
        instance = self._directory.instance(origin.tenant, origin.instance)
        return Append(
            tenant=origin.tenant,
            instance=origin.instance,
            installation_id=origin.installation_id,
            driver=origin.driver,
            received_at=origin.received_at,
            inbound=row,
            events=events,
            skip_superseded=bool(instance and instance.skip_superseded),
            **more,
        )

    async def _commit(self, item: Append, trace: str | None = None) -> Appended:
        span = self._begin(item, trace) if self.tracing is not None else None
        try:
            told = await self._stored(item)
        except BaseException as error:
            if span is not None:
                span.end(type(error).__name__)
            raise
        if span is not None:
            span.end(inbound_id=told.inbound_id, driver=item.driver, events=len(item.events))
        self._observe(item.driver, told)
        if item.events and not told.duplicate and not told.lost:
            self._send(item, told)
        return told

    def _begin(self, item: Append, trace: str | None) -> Span | None:
        """The span of a commit, which the deliveries of its events continue."""
        if self.tracing is None:
            return None
        span = self.tracing.begin("commit", "internal", trace)
        for event in item.events:
            event.trace = span.traceparent
        return span

    async def _stored(self, item: Append) -> Appended:
        try:
            return await self._log.append(item)
        except InDoubtError:
            # If they are there, this process holds their leases and nobody else would send them.
            leased = ((d.id, BORN) for e in item.events for d in e.deliveries if d.leased)
            self._dispatcher.disown(leased)
            raise

    def _send(self, item: Append, told: Appended) -> None:
        """Offer what was born leased; have the rest claimed."""
        leased: list[Leased] = []
        for event, known in zip(item.events, told.events, strict=True):
            if known.duplicate or (known.superseded and item.skip_superseded):
                continue
            stored = None
            for delivery in event.deliveries:
                if not delivery.leased:
                    self._dispatcher.waits(delivery.sink_id)
                    continue
                stored = stored or stored_event(item, event, known.seq, superseded=known.superseded)
                leased.append(
                    Leased(
                        id=delivery.id,
                        token=BORN,
                        sink_id=delivery.sink_id,
                        attempts=0,
                        replay=0,
                        event=stored,
                    )
                )
        if leased:
            self._dispatcher.offer(leased)

    def _event(
        self,
        origin: Origin,
        event: Event,
        spares: Collection[str] = (),
        *,
        hop: int = 0,
        trace: str | None = None,
    ) -> NewEvent:
        data = codec.dumps(event.data)
        occurred_at = origin.received_at if event.occurred_at is None else micros(event.occurred_at)
        sinks = self._directory.sinks_of(origin.tenant, origin.instance)
        chosen = targets(sinks, event.name, lambda: document(origin, event, data)) if sinks else ()
        return NewEvent(
            id=self._ids(),
            name=event.name,
            key=event.key,
            dedupe_key=event.dedupe_key,
            occurred_at=occurred_at,
            provider_event=event.provider_event,
            provider_event_id=event.provider_event_id,
            weight=WEIGHTS.get(event.name),
            test=event.test,
            hop=hop,
            trace=trace,
            data=data,
            deliveries=tuple(self._delivery(sink) for sink in chosen if sink.id not in spares),
        )

    def _delivery(self, sink: SinkConfig) -> NewDelivery:
        return NewDelivery(
            id=self._ids(),
            sink_id=sink.id,
            leased=self._dispatcher.takes(sink),
            ordered=sink.ordered,
        )

    def _deferral(self, origin: Origin, inbound_id: str, event: Event) -> NewJob:
        waits_as = event.defer_as or event.key
        doc = {
            "installation_id": origin.installation_id,
            "inbound_id": inbound_id,
            "name": event.name,
            "as": waits_as,
        }
        return NewJob(
            id=self._ids(),
            kind=DEFER,
            due_in=float(event.defer_seconds),
            unique=deferral_name(origin, waits_as),
            doc=codec.dumps(doc),
        )

    def _enrichment(self, origin: Origin, inbound_id: str) -> NewJob:
        doc = {"installation_id": origin.installation_id, "inbound_id": inbound_id}
        return NewJob(
            id=self._ids(), kind=ENRICH, unique=f"{ENRICH}/{inbound_id}", doc=codec.dumps(doc)
        )


def deferral_name(origin: Origin, name: str) -> str:
    """The unique name of the job that waits for `name` of this installation."""
    return f"{DEFER}/{origin.installation_id}/{name}"


def _without_secrets(
    query: Mapping[str, tuple[str, ...]], secrets: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """A query as it is kept: some providers present the secret itself in it."""
    return {
        name: tuple(REDACTED if value in secrets else value for value in values)
        for name, values in query.items()
    }
