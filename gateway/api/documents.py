"""What describes this server: to programs the documents, to people a page that needs nothing but
this server. Each is made for whoever asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from aiohttp import web

from gateway.api import asyncapi
from gateway.api.doc import Doc, Schema
from gateway.api.event_schemas import schema_of
from gateway.api.openapi import document
from gateway.api.route import PUBLIC, Call, Handler, Route
from schemas import codec
from schemas.errors import NotFoundError
from schemas.events import COMMERCE_NAMES

PAGES = files("gateway.api") / "pages"
# The files of the page, and their types.
FILES = {
    "docs.css": "text/css",
    "docs.js": "text/javascript",
    "dom.js": "text/javascript",
    "schema.js": "text/javascript",
    "trial.js": "text/javascript",
    "docs.svg": "image/svg+xml",
}
FRESH = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
# Any page may read them, so that tools in a browser can.
OPEN = FRESH | {"Access-Control-Allow-Origin": "*"}
PAGE = FRESH | {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
}


def anything() -> Schema:
    """A document of another standard."""
    return {"title": "Document", "type": "object", "description": "A document of a standard."}


def routes(others: tuple[Route, ...]) -> tuple[Route, ...]:
    """Routes that describe `others`, and themselves."""

    @cache
    def openapi_of(server_url: str) -> bytes:
        return codec.dumps(document((*others, *made), server_url))

    @cache
    def asyncapi_of(server_url: str) -> bytes:
        return codec.dumps(asyncapi.document(server_url))

    made = (
        _document("/openapi.json", _shown(openapi_of), "This document"),
        _document("/asyncapi.json", _shown(asyncapi_of), "What receivers get, as AsyncAPI 3"),
        _document(
            "/schemas/{event}.json",
            show_schema,
            "The JSON Schema of an event",
            parameters={"event": {"enum": list(COMMERCE_NAMES)}},
        ),
        _page("/docs", show_page, "The API's description for people", media=("text/html",)),
        _page(
            "/docs/{file}",
            show_file,
            "A file of that page",
            media=tuple(dict.fromkeys(FILES.values())),
            parameters={"file": {"enum": list(FILES)}},
        ),
    )
    return made


def _shown(made: Callable[[str], bytes]) -> Handler:
    async def show(call: Call) -> web.Response:
        return _json(made(call.services.settings.base_url))

    return show


async def show_schema(call: Call) -> web.Response:
    """The schema of one event. Raises NotFoundError."""
    found = schema_of(call.path("event"))
    if found is None:
        raise NotFoundError("there is no such event; messaging events have no schema of ours")
    return _json(found)


async def show_page(call: Call) -> web.Response:
    """The page; its links depend on the slash at the end of its address."""
    root = "../" if call.request.path.endswith("/") else ""
    text = (PAGES / "docs.html").read_text("utf-8").replace("{{root}}", root)
    return web.Response(text=text, content_type="text/html", headers=PAGE)


async def show_file(call: Call) -> web.Response:
    """A style, script or image of the page. Raises NotFoundError."""
    name = call.path("file")
    if name not in FILES:
        raise NotFoundError
    return web.Response(
        body=(PAGES / name).read_bytes(), content_type=FILES[name], charset="utf-8", headers=PAGE
    )


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers=OPEN, content_type="application/json", charset="utf-8")


def _document(path: str, handler: Handler, summary: str, **more: Any) -> Route:
    return _page(path, handler, summary, answer=anything, **more)


def _page(path: str, handler: Handler, summary: str, **more: Any) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        permission=PUBLIC,
        summary=summary,
        tag="operations",
        doc=Doc(**more),
    )
