"""Whether the process is up, and whether it can do its work; and its metrics."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import BaseModel

from gateway.answers import error_response
from gateway.api.auth import authorise
from gateway.api.doc import Doc
from gateway.api.route import ANY_KEY, PUBLIC, Call, Route, respond
from schemas.errors import UnavailableError


class State(BaseModel):
    """`status`: ok, or ready."""

    status: str


READINESS: dict[str, Any] = {
    "answer": State,
    "answers": {503: "the store takes no writes, or the process is stopping"},
}
SCRAPE: dict[str, Any] = {
    "answers": {401: "not bound to loopback, and COMPORTA_METRICS_PUBLIC is not set"},
    "doc": Doc(
        about="Needs any valid API key unless the server is bound to loopback or"
        " COMPORTA_METRICS_PUBLIC is set.",
        media=("text/plain",),
    ),
}


async def healthz(_call: Call) -> web.Response:
    """The event loop runs; nothing else is asked."""
    return respond({"status": "ok"})


async def readyz(call: Call) -> web.Response:
    """The store takes writes, migrations are current, nothing is shutting down."""
    trouble = await call.services.pressure.find_unready()
    if trouble is not None:
        unready = UnavailableError(trouble, retry_after=5)
        return error_response(unready, status="unavailable")
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
        **more,
    )
    for path, handler, summary, more in (
        ("/healthz", healthz, "The process is up", {"answer": State}),
        ("/livez", healthz, "The process is up", {"answer": State}),
        ("/readyz", readyz, "The store takes writes", READINESS),
        ("/metrics", metrics, "Prometheus metrics", SCRAPE),
    )
)
