"""COMPORTA_AUTH=off: whoever reaches the server acts as its admin, so only this machine may.

It listens on the loopback alone, but two others speak from there: a page in the user's browser,
which may post anywhere, or have its own name resolve to 127.0.0.1; and a tunnel to the outside.
Both give themselves away by Host or Origin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.api.live import check_origin
from gateway.services import SERVICES
from schemas.errors import ForbiddenError

PROVIDERS = "/hooks/"  # prove themselves, and may well come through a tunnel


@web.middleware
async def refuse_strangers(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Raises ForbiddenError for what is not from here, while keys are not asked for."""
    settings = request.app[SERVICES].settings
    if not settings.auth and not request.path.startswith(PROVIDERS):
        host = urlsplit(f"//{request.headers.get(hdrs.HOST, '')}").hostname or ""
        if not _is_here(host) and host != urlsplit(settings.base_url).hostname:
            raise ForbiddenError(
                "with COMPORTA_AUTH=off only localhost is served", code="origin_not_allowed"
            )
        if urlsplit(request.headers.get(hdrs.ORIGIN, "")).netloc != request.host:
            check_origin(settings, request)
    return await handler(request)


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
