"""The live tail: an instance's events as they are stored, whatever its sinks.

`/ws/{instance}` serves programs: it wants a key in its URL and an enabled websocket sink. This one
is for the person who is signed in: the session's cookie, which no other site's page can send, and
the page's own origin.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from gateway.api.auth import principal_with
from gateway.api.history_shape import event_data
from gateway.api.live import check_origin
from gateway.portal.door import Opening
from gateway.portal.page import Page
from gateway.portal.views.history import instance_names
from gateway.security import Principal
from gateway.store.rows import EventRow
from schemas import codec
from schemas.errors import BadRequestError, ForbiddenError, NotFoundError, StoreUnavailableError

READ = "EVENTS_READ"
LOOK_EVERY = 0.5  # seconds
CHECK_EVERY = 30  # looks until the key is judged again
AT_ONCE = 100
HEARTBEAT = 25.0
REVOKED, GONE, FAILED = 4401, 1001, 1011


async def show_tail(page: Page) -> web.Response:
    """The page that listens."""
    names = instance_names(page)
    chosen = page.query("instance") or (names[0] if names else "")
    if names and chosen not in names:
        raise NotFoundError(page.say("There is no such instance."))
    return page.show("tail.html", instances=names, chosen=chosen)


async def stream(page: Page) -> web.StreamResponse:
    """Events of an instance as JSON text frames, until either side ends it."""
    request, name = page.request, page.path("instance")
    _check_origin(page)
    if name not in instance_names(page):
        raise NotFoundError(page.say("There is no such instance."))
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT, compress=True)
    if not socket.can_prepare(request):
        raise BadRequestError("this is a websocket: ask for an upgrade", code="upgrade_required")
    await socket.prepare(request)
    listening = asyncio.create_task(_listen(socket))
    try:
        await _feed(page, socket, name, listening)
    except StoreUnavailableError:
        await socket.close(code=FAILED)  # the page comes again
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    return socket


def _check_origin(page: Page) -> None:
    """The page's own origin, however the server is reached; else one of those configured."""
    origin = page.request.headers.get("Origin", "")
    if origin.partition("://")[2] == page.request.host:
        return
    check_origin(page.services.settings, page.request)
    if not origin:
        raise ForbiddenError("a browser names its origin")


async def _feed(
    page: Page, socket: web.WebSocketResponse, name: str, listening: asyncio.Task[None]
) -> None:
    services, tenant, looks = page.services, page.who.tenant, 0
    position = await services.hub.position()
    while not listening.done():
        looks += 1
        if looks % CHECK_EVERY == 0 and not _still(page, name):
            await socket.close(code=REVOKED)
            return
        if services.pressure.draining:
            await socket.close(code=GONE)
            return
        events = await services.history.tail(tenant, name, position, AT_ONCE)
        for event in events:
            shown = event_data(EventRow(event=event, deliveries=[]), services.directory)
            with suppress(ConnectionError):
                await socket.send_str(codec.dumps(shown.model_dump()).decode())
        position = max([position, *(event.seq for event in events)])
        if len(events) < AT_ONCE:
            await asyncio.wait({listening}, timeout=LOOK_EVERY)


def _still(page: Page, name: str) -> bool:
    """Whether the visitor may go on listening."""
    digest = page.session.digest
    principal: Principal | None = page.services.admin
    if digest is not None:
        principal = principal_with(page.services, digest)
    return principal is not None and principal.may(READ) and principal.sees(name)


async def _listen(socket: web.WebSocketResponse) -> None:
    """Read until the browser goes, so that its pings and its end are seen."""
    async for _ in socket:
        pass


PAGES: tuple[Opening, ...] = (
    Opening("GET", "/tail", show_tail, READ),
    Opening("GET", "/tail/{instance}", stream, READ),
)
