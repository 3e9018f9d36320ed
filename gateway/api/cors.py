"""Pages of other origins that may call the API: those of COMPORTA_CORS_ORIGINS, and no others.

Keys come in headers, never in cookies, so credentials are not allowed: a page acts with the key it
holds, not as whoever is signed in to the portal.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from gateway.idempotency import HEADER
from gateway.services import SERVICES

METHODS = "GET, POST, PUT, PATCH, DELETE"
TAKEN = f"Authorization, apikey, Content-Type, {HEADER}"
TOLD = "Retry-After, Idempotent-Replayed"
SECONDS = "600"
PORTAL = "/portal"  # is used where it stands


def _origin(request: web.Request) -> str | None:
    """The origin of the page that asks, when it may."""
    origin = request.headers.get(hdrs.ORIGIN)
    allowed = request.app[SERVICES].settings.cors_origins
    if origin is None or not {origin, "*"} & set(allowed) or request.path.startswith(PORTAL):
        return None
    return origin


@web.middleware
async def answer_preflights(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A browser's question whether a page may ask at all; every other request goes on."""
    asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if request.method != "OPTIONS" or not asked or _origin(request) is None:
        return await handler(request)
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: TAKEN,
        hdrs.ACCESS_CONTROL_MAX_AGE: SECONDS,
    }
    return web.Response(status=204, headers=headers)


async def admit(request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler of `on_response_prepare`: the page may read this answer."""
    if not request.app[SERVICES].settings.cors_origins:
        return
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    origin = _origin(request)
    if origin is not None:
        response.headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, origin)
        response.headers.setdefault(hdrs.ACCESS_CONTROL_EXPOSE_HEADERS, TOLD)
