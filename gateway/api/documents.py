"""The documents that describe this server to programs, built for whoever asks first."""

from __future__ import annotations

from functools import cache

from aiohttp import web

from gateway.api.doc import Doc, Schema
from gateway.api.openapi import document
from gateway.api.route import PUBLIC, Call, Route
from schemas import codec

# May be read by any page, so that tools in a browser can load it.
OPEN = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}


def anything() -> Schema:
    """A document of another standard."""
    return {"title": "Document", "type": "object"}


def routes(others: tuple[Route, ...]) -> tuple[Route, ...]:
    """Routes that describe `others`, and themselves."""

    @cache
    def openapi(server_url: str) -> bytes:
        return codec.dumps(document((*others, *made), server_url))

    async def show_openapi(call: Call) -> web.Response:
        return _json(openapi(call.services.settings.base_url))

    made: tuple[Route, ...] = (
        Route(
            method="GET",
            path="/openapi.json",
            handler=show_openapi,
            permission=PUBLIC,
            summary="This document",
            tag="operations",
            doc=Doc(answer=anything),
        ),
    )
    return made


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers=OPEN, content_type="application/json", charset="utf-8")
