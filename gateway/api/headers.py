"""Headers of every answer: what a browser must not do with it, and nothing about what we are made
of.

Pages bring their own Content-Security-Policy; whatever else is shown in a browser gets the one that
allows nothing.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.services import SERVICES

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
YEAR = 31_536_000


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler of `on_response_prepare`. What a handler set stays."""
    headers = response.headers
    headers[hdrs.SERVER] = "Comporta"
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Content-Security-Policy", POLICY)
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    if request.app[SERVICES].settings.base_url.startswith("https://"):
        headers.setdefault("Strict-Transport-Security", f"max-age={YEAR}")
