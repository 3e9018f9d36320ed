"""`/processing/events`: every canonical event, what became of it, and sending it again."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel

from gateway.api.doc import Doc, words
from gateway.api.history_query import (
    CURSOR_QUERY,
    limit_of,
    matching,
    seq_cursor,
    sliced,
    wanted_of,
)
from gateway.api.history_shape import (
    DispatchData,
    EventData,
    EventDetail,
    dispatch_data,
    event_data,
    event_detail,
)
from gateway.api.paging import Data, Slice, one_of, refuse
from gateway.api.route import Call, Route, data
from gateway.api.text import Body
from gateway.routing import document, targets
from gateway.store import bulk, redo
from gateway.store.prune import EXPIRED
from gateway.store.rows import DeliveryRow, EventRow
from gateway.store.stored_event import GONE
from schemas.errors import ConflictError, NotFoundError
from schemas.events import StoredEvent
from schemas.sink_config import SinkConfig

STATUSES = ("dispatched", "pending", "enriching", "superseded")
FILTERS = ("name", "instance", "installation_id", "driver", "status", "key")


class EventReplay(Body):
    """`sinks`: to which of the instance's (`webhook`, `webhook/backup`, an id), whatever they
    filter; without it, to every one that wants the event.
    """

    sinks: list[str] | None = None


class Replayed(BaseModel):
    """The deliveries that are under way."""

    event_id: str
    dispatches: list[DispatchData]


async def list_events(call: Call) -> web.Response:
    """Events, newest first."""
    wanted, limit = wanted_of(call, FILTERS), limit_of(call)
    if wanted.status is not None:
        one_of("filter[status]", wanted.status, STATUSES)
    services = call.services
    found = await services.history.events(wanted, limit=limit + 1, below=seq_cursor(call))
    return sliced(
        found, limit, lambda e: event_data(e, services.directory), lambda e: str(e.event.seq)
    )


async def show_event(call: Call) -> web.Response:
    """One event with its data and its deliveries."""
    return data(event_detail(await _found(call), call.services.directory))


async def replay_event(call: Call) -> web.Response:
    """Send an event again under the same id: a delivery that has ended starts anew, a sink that
    never got the event gets it now.
    """
    row, wish = await _found(call), await call.model(EventReplay)
    services, event = call.services, row.event
    if event.data == GONE:
        raise ConflictError(EXPIRED)
    chosen = _chosen(call, event, wish.sinks)
    if not chosen:
        raise ConflictError(f"instance {event.instance} has no sink that wants {event.name}")
    again = _repeatable(row, chosen)
    never = [s for s in chosen if all(d.sink_id != s.id for d in again)]
    database = services.store.database
    if again:
        await bulk.redo(database, [d.id for d in again])
    new = await redo.replay(database, event, [(s.id, s.ordered) for s in never], services.ids)
    services.dispatcher.wake()
    for sink in chosen:
        await services.store.notify("deliveries", sink.id)
    ids = {*new, *(d.id for d in again)}
    now = await services.history.event(event.tenant, event.id)
    shown = [dispatch_data(d, services.directory) for d in now.deliveries] if now else []
    under_way = [d for d in shown if d.id in ids]
    return data(Replayed(event_id=event.id, dispatches=under_way), 202)


def _repeatable(row: EventRow, chosen: list[SinkConfig]) -> list[DeliveryRow]:
    """The latest delivery to each sink; one that is being sent right now is left to itself."""
    latest = {d.sink_id: d for d in row.deliveries if d.state != "leased"}
    return [latest[sink.id] for sink in chosen if sink.id in latest]


def _chosen(call: Call, event: StoredEvent, spelled: list[str] | None) -> list[SinkConfig]:
    services = call.services
    sinks = services.directory.sinks_of(event.tenant, event.instance)
    if spelled is None:
        return list(targets(sinks, event.name, lambda: document(event, event, event.data)))
    found: dict[str, SinkConfig] = {}
    for index, name in enumerate(spelled):
        meant = matching(sinks, name)
        if not meant:
            raise refuse(f"sinks.{index}", f"instance {event.instance} has no such sink")
        found |= {sink.id: sink for sink in meant}
    return list(found.values())


async def _found(call: Call) -> EventRow:
    principal = call.principal
    row = await call.services.history.event(principal.tenant, call.path("id"), principal.instances)
    if row is None:
        raise NotFoundError("there is no such event")
    return row


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/processing/events",
        handler=list_events,
        permission="EVENTS_READ",
        summary="Events, newest first",
        tag="processing",
        answer=Slice[EventData],
        query=(*CURSOR_QUERY, *(f"filter[{name}]" for name in FILTERS)),
        doc=Doc(parameters={"filter[status]": words(*STATUSES)}),
    ),
    Route(
        method="GET",
        path="/processing/events/{id}",
        handler=show_event,
        permission="EVENTS_READ",
        summary="One event with its data and deliveries",
        tag="processing",
        answer=Data[EventDetail],
    ),
    Route(
        method="POST",
        path="/processing/events/{id}/replay",
        handler=replay_event,
        permission="EVENTS_REPLAY",
        summary="Send an event again",
        tag="processing",
        body=EventReplay,
        answer=Data[Replayed],
        status=202,
        answers={409: "no sink wants the event"},
        doc=Doc(
            examples={
                "To every sink that wants it": {},
                "To some, whatever they filter": {"sinks": ["webhook"]},
            }
        ),
    ),
)
