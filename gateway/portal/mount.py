"""The portal as part of the application: its routes, its templates, its files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import jinja2
from aiohttp import web

from gateway.api.route import respond
from gateway.background import forever
from gateway.portal import assets, filters, texts
from gateway.portal.backlog import MINUTE, Backlog
from gateway.portal.door import HEADERS, Opening, guarded
from gateway.portal.page import PORTAL, Page, Portal
from gateway.portal.pages import NAVIGATION, PAGES
from gateway.portal.views.overview import BACKLOG
from gateway.services import SERVICES
from gateway.store.trends import Trends
from gateway.version import VERSION
from schemas import codec
from schemas.errors import NotFoundError
from schemas.events import COMMERCE_NAMES

FOREVER = "public, max-age=31536000, immutable"


def mount(app: web.Application) -> None:
    """Add the portal to an application whose services start before it."""
    add = app.router.add_route
    add("GET", "/", _front)
    add("GET", "/portal/static/{name}", _static)
    for one in PAGES:
        handler = guarded(one)
        add(one.method, "/portal" + one.path, handler)
        if one.path and not one.path.endswith("/"):
            add(
                one.method,
                f"/portal{one.path}/",
                _without_slash if one.method == "GET" else handler,
            )
    for method in ("GET", "POST"):
        missing = Opening(method=method, path="/{rest:.*}", view=_missing, is_open=True)
        add(method, "/portal/{rest:.*}", guarded(missing))
    app.cleanup_ctx.append(_open)


async def _open(app: web.Application) -> AsyncIterator[None]:
    services = app[SERVICES]
    app[PORTAL] = Portal(
        templates=_templates(),
        assets=assets.load(),
        portuguese=texts.load(),
        trends=Trends(services.store.database),
    )
    backlog = app[BACKLOG] = Backlog(
        services.store.database, services.directory, services.dispatcher, services.now
    )
    noting = asyncio.create_task(forever("portal.backlog", partial(_note, backlog)))
    try:
        yield
    finally:
        noting.cancel()
        await asyncio.gather(noting, return_exceptions=True)


async def _note(backlog: Backlog) -> None:
    while True:
        await backlog.note()
        await asyncio.sleep(MINUTE / 1_000_000)


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gateway.portal"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {
        "navigation": NAVIGATION,
        "event_names": COMMERCE_NAMES,
        "version": VERSION,
    }
    environment.filters |= {
        "tone": filters.tone,
        "state_text": _in_page(filters.state_text),
        "state_pairs": filters.state_pairs,
        "pairs": lambda names: [(name, name) for name in names],
        "utc": filters.utc,
        "iso": filters.iso,
        "number": _in_language(filters.number),
        "milliseconds": _in_language(filters.milliseconds),
        "size": filters.size,
        "parsed": filters.parsed,
        "scalar": filters.scalar,
        "short": filters.short,
        "summary": filters.summary,
        "prefixed": lambda text, prefix: prefix + text,
        "as_json": lambda value: codec.dumps(value).decode(),
    }
    return environment


def _in_page(shape: Callable[..., str]) -> Callable[..., str]:
    """A filter that speaks the page's language."""

    @jinja2.pass_context
    def said(context: jinja2.runtime.Context, value: Any) -> str:
        return shape(value, context["_"])

    return said


def _in_language(shape: Callable[..., str]) -> Callable[..., str]:
    """A filter that writes numbers as the page's language does."""

    @jinja2.pass_context
    def written(context: jinja2.runtime.Context, value: Any, *more: Any) -> str:
        page: Page = context["page"]
        return shape(value, page.language, *more)

    return written


async def _front(request: web.Request) -> web.Response:
    """People go to the portal; programs are told where things are."""
    if "text/html" in request.headers.get("Accept", ""):
        return web.Response(status=302, headers={"Location": "portal"})
    return respond(
        {
            "name": "comporta",
            "version": VERSION,
            "portal": "/portal",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "health": "/healthz",
        }
    )


async def _static(request: web.Request) -> web.Response:
    found = request.app[PORTAL].assets.get(request.match_info["name"])
    if found is None:
        raise NotFoundError("there is no such file")
    headers = HEADERS | {"ETag": f'"{found.tag}"', "Cache-Control": "no-cache"}
    if request.query.get("v") == found.tag:
        headers["Cache-Control"] = FOREVER
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    return web.Response(
        body=found.body, headers=headers, content_type=found.content_type, charset="utf-8"
    )


async def _without_slash(request: web.Request) -> web.Response:
    name = request.raw_path.partition("?")[0].rstrip("/").rpartition("/")[2]
    query = f"?{request.query_string}" if request.query_string else ""
    return web.Response(status=308, headers={"Location": f"../{name}{query}"})


async def _missing(page: Page) -> web.Response:
    raise NotFoundError(page.say("There is no such page."))
