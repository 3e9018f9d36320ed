"""`/processing/dispatches`: every delivery to a sink with its tries, once more or never."""

from __future__ import annotations

from aiohttp import web

from gateway.api.doc import Doc, words
from gateway.api.history_query import (
    CURSOR_QUERY,
    id_cursor,
    limit_of,
    sliced,
    wanted_of,
)
from gateway.api.history_shape import (
    DispatchData,
    DispatchDetail,
    dispatch_data,
    dispatch_detail,
    dispatch_status,
)
from gateway.api.paging import Data, Slice, one_of
from gateway.api.route import Call, Route, data
from gateway.store import bulk, prune, redo
from gateway.store.rows import AttemptRow, DeliveryRow
from schemas.errors import ConflictError, NotFoundError

STATUSES = ("pending", "delivering", "succeeded", "retrying", "dead", "canceled")
FILTERS = ("instance", "name", "sink", "status")


async def list_dispatches(call: Call) -> web.Response:
    """Deliveries to sinks, newest first, without their tries."""
    wanted, limit = wanted_of(call, FILTERS), limit_of(call)
    if wanted.status is not None:
        one_of("filter[status]", wanted.status, STATUSES)
    services = call.services
    found = await services.history.deliveries(wanted, limit=limit + 1, below=id_cursor(call))
    return sliced(found, limit, lambda d: dispatch_data(d, services.directory), lambda d: d.id)


async def show_dispatch(call: Call) -> web.Response:
    """One delivery with every try."""
    return _shown(call, *await _found(call))


async def retry_dispatch(call: Call) -> web.Response:
    """Try a delivery again now, with all its tries before it, whatever became of it."""
    row, _ = await _found(call)
    services = call.services
    if services.directory.sink(row.sink_id) is None:
        raise ConflictError("the sink of this delivery is gone")
    if not await prune.has_payload(services.store.database, row.id):
        raise ConflictError(prune.EXPIRED)
    if not await redo.retry(services.store.database, row.tenant, row.id):
        raise ConflictError("this delivery is being sent right now")
    services.dispatcher.wake()
    await services.store.notify("deliveries", row.sink_id)
    return _shown(call, *await _found(call), status=202)


async def cancel_dispatch(call: Call) -> web.Response:
    """End a delivery that waits."""
    row, _ = await _found(call)
    services = call.services
    if not await redo.cancel(services.store.database, row.tenant, row.id):
        now, _ = await _found(call)
        raise ConflictError(f"this delivery does not wait: it is {dispatch_status(now)}")
    services.dispatcher.wake()
    return _shown(call, *await _found(call))


async def purge_dispatch(call: Call) -> web.Response:
    """Forget a dead letter and its tries."""
    row, _ = await _found(call)
    if not await bulk.purge(call.services.store.database, [row.id]):
        now, _ = await _found(call)
        raise ConflictError(f"only what was given up can be purged: this is {dispatch_status(now)}")
    return web.Response(status=204)


async def _found(call: Call) -> tuple[DeliveryRow, list[AttemptRow]]:
    principal = call.principal
    found = await call.services.history.delivery(
        principal.tenant, call.path("id"), principal.instances
    )
    if found is None:
        raise NotFoundError("there is no such delivery")
    return found


def _shown(
    call: Call, row: DeliveryRow, attempts: list[AttemptRow], status: int = 200
) -> web.Response:
    return data(dispatch_detail(row, attempts, call.services.directory), status)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/processing/dispatches",
        handler=list_dispatches,
        permission="EVENTS_READ",
        summary="Deliveries to sinks, newest first",
        tag="processing",
        answer=Slice[DispatchData],
        query=(*CURSOR_QUERY, *(f"filter[{name}]" for name in FILTERS)),
        doc=Doc(parameters={"filter[status]": words(*STATUSES)}),
    ),
    Route(
        method="GET",
        path="/processing/dispatches/{id}",
        handler=show_dispatch,
        permission="EVENTS_READ",
        summary="One delivery with every try",
        tag="processing",
        answer=Data[DispatchDetail],
    ),
    Route(
        method="POST",
        path="/processing/dispatches/{id}/retry",
        handler=retry_dispatch,
        permission="EVENTS_REPLAY",
        summary="Try a delivery again now",
        tag="processing",
        answer=Data[DispatchDetail],
        status=202,
        answers={409: "its sink is gone, or it is being sent"},
    ),
    Route(
        method="POST",
        path="/processing/dispatches/{id}/cancel",
        handler=cancel_dispatch,
        permission="EVENTS_REPLAY",
        summary="End a delivery that waits",
        tag="processing",
        answer=Data[DispatchDetail],
        answers={409: "it does not wait"},
    ),
    Route(
        method="DELETE",
        path="/processing/dispatches/{id}",
        handler=purge_dispatch,
        permission="EVENTS_REPLAY",
        summary="Forget a dead letter",
        tag="processing",
        status=204,
        answers={409: "it was not given up"},
    ),
)
