"""Whether the process is up, and whether it can do its work; and its metrics."""

from __future__ import annotations

from aiohttp import web

from gateway.api.auth import authorise
from gateway.api.route import ANY_KEY, PUBLIC, Call, Route, respond


async def healthz(_call: Call) -> web.Response:
    """The event loop runs; nothing else is asked."""
    return respond({"status": "ok"})


async def readyz(call: Call) -> web.Response:
    """The store takes writes, migrations are current, nothing is shutting down."""
    trouble = await call.services.pressure.find_unready()
    if trouble is not None:
        body = {"status": "unavailable", "error": "Unavailable", "message": trouble}
        return respond(body, 503, {"Retry-After": "5"})
    return respond({"status": "ready"})


async def metrics(call: Call) -> web.Response:
    """Prometheus text; behind a key unless only this machine can ask."""
    settings = call.services.settings
    if not (settings.is_loopback or settings.metrics_public):
        authorise(call.services, call.request, ANY_KEY)
    await call.services.gauges.refresh()
    return web.Response(
        body=call.services.metrics.render(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


ROUTES: tuple[Route, ...] = tuple(
    Route(
        method="GET",
        path=path,
        handler=handler,
        permission=PUBLIC,
        summary=summary,
        tag="operations",
    )
    for path, handler, summary in (
        ("/healthz", healthz, "The process is up"),
        ("/livez", healthz, "The process is up"),
        ("/readyz", readyz, "The store takes writes"),
        ("/metrics", metrics, "Prometheus metrics"),
    )
)
