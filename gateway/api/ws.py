"""`/ws/{instance}`: the events of an instance as text frames, live and from any event on.

What a client sends is ignored. It is closed with 1013 when it is too slow, 4401 when its key no
longer opens the instance, 4404 and 4409 when the instance or its websocket sink is gone, 1009 for
a frame over 64 KiB, 1001 when the server stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from gateway import log
from gateway.api.auth import presented_key
from gateway.api.live import Visitor, check_origin, instance_place, read_events, start_of
from gateway.api.route import PUBLIC, Call, Method, Route
from gateway.push_client import FAILED, Client, Ending, Push
from schemas.errors import BadRequestError, ConflictError

METHODS: tuple[Method, ...] = ("GET", "POST", "OPTIONS")
HEARTBEAT = 25.0
MAX_FRAME = 64 * 1024
LAST_WORDS = 5.0  # seconds in which a client may read that and why it is closed


class Frames:
    """Writes text frames; see `gateway.push_client.Transport`."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def write(self, pushes: Sequence[Push]) -> None:
        """Send them one after the other, as fast as the other side reads."""
        for push in pushes:
            await self._socket.send_frame(push.frame, WSMsgType.TEXT)


async def stream_events(call: Call) -> web.StreamResponse:
    """Serve one client until it goes or must go.

    Refuses with a status before the connection is switched over: 400 for bad parameters, 403 for a
    foreign origin, 404 for an instance there is not, 409 when no websocket sink is enabled, 429 and
    503 for too many connections.
    """
    request, hub = call.request, call.services.hub
    place = instance_place(call)
    check_origin(call.services.settings, request)
    events = read_events(request.query.getall("events", []))
    if not hub.sinks(place):
        raise ConflictError(
            f"instance {place[1]} has no enabled websocket sink: POST /websocket/set/{place[1]}",
            code="SINK_NOT_CONFIGURED",
        )
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_FRAME, compress=True)
    if not socket.can_prepare(request):
        raise BadRequestError("this is a websocket: ask for an upgrade", code="upgrade_required")
    with hub.seat(place):
        position, after = await start_of(hub, place, call.query("since"))
        client = Client(
            place,
            Frames(socket),
            after=after,
            key_id=call.principal.key_id,
            check=Visitor(call.services, place, presented_key(request, in_query=True)).check,
            events=events,
        )
        await socket.prepare(request)
        ending = await _converse(socket, hub.serve(client, position))
        if ending is not None:
            call.services.metrics.closed.labels(str(ending.code)).inc()
            await _close(socket, request, ending)
    return socket


async def _converse(
    socket: web.WebSocketResponse, serve: Coroutine[Any, Any, Ending | None]
) -> Ending | None:
    """Serve until one side has enough; gives why it must be closed, None when it is gone."""
    serving = asyncio.create_task(serve)
    listening = asyncio.create_task(_listen(socket))
    try:
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            return None
        return serving.result()
    except Exception:  # noqa: BLE001 - the answer was given long ago; the client hears it as a code
        log.get().exception("push.failed")
        return FAILED
    finally:
        for task in (serving, listening):
            task.cancel()
        await asyncio.gather(serving, listening, return_exceptions=True)


async def _listen(socket: web.WebSocketResponse) -> None:
    """Read until the client goes, so that its pings and its end are seen."""
    async for _ in socket:
        pass


async def _close(socket: web.WebSocketResponse, request: web.Request, ending: Ending) -> None:
    """Say why, and hang up if the client does not."""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(LAST_WORDS):
            await socket.close(code=ending.code, message=ending.reason.encode())
            return
    if request.transport is not None:
        request.transport.abort()


async def socket_io(call: Call) -> web.StreamResponse:
    """Serve Socket.IO, which authorises by namespace."""
    services = call.services
    if services.socket_io is None:
        from gateway.api.socket_io import SocketIo  # noqa: PLC0415 - heavy, and not always needed

        services.socket_io = SocketIo(services)
    return await services.socket_io.handle(call.request)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/ws/{instance}",
        handler=stream_events,
        permission="EVENTS_READ",
        summary="The instance's events over a websocket, live and since an event",
        tag="websocket",
        status=101,
        query=("apikey", "events", "since"),
        key_in_query=True,
        answers={
            400: "bad `events` or `since`, or no upgrade asked for",
            409: "no websocket sink is enabled",
            429: "the websocket sinks' max_connections are taken",
        },
    ),
    *(
        Route(
            method=method,
            path="/socket.io",
            handler=socket_io,
            permission=PUBLIC,
            summary="Socket.IO 4, namespace /{instance}; the key in the query, a header or `auth`",
            tag="websocket",
        )
        for method in METHODS
    ),
)
