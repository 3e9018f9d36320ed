"""Headers of every answer: what a browser must not do with it, and nothing about what we are made
of.

Pages bring their own Content-Security-Policy; whatever else is shown in a browser gets the one that
allows nothing.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.services import SERVICES
from gateway.settings import Settings

POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
YEAR = 31_536_000


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler of `on_response_prepare`. What a handler set stays."""
    headers = response.headers
    headers[hdrs.SERVER] = "Comporta"
    for name, value in protection(request.app[SERVICES].settings).items():
        headers.setdefault(name, value)


def protection(settings: Settings) -> dict[str, str]:
    """The headers of every answer that does not set them itself."""
    headers = {
        hdrs.SERVER: "Comporta",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        hdrs.CACHE_CONTROL: "no-store",
    }
    if settings.base_url.startswith("https://"):
        headers["Strict-Transport-Security"] = f"max-age={YEAR}"
    return headers
