"""`/hooks/{driver}/{token}`: where providers deliver. `gateway.ingress` does the work."""

from __future__ import annotations

from typing import NotRequired

from aiohttp import web
from typing_extensions import TypedDict

from gateway.api.doc import JSON, Doc, Schema
from gateway.api.route import PUBLIC, Call, Method, Route
from gateway.arrival import WebArrival

FORM = "application/x-www-form-urlencoded"
METHODS: tuple[Method, ...] = ("POST", "GET", "HEAD", "PUT")
ABOUT = """\
The path is the `ingest_url` of an installation; whoever posts there proves itself as its provider
does, by a signature or a token. 200 means that the delivery, its events and what is to be sent are
in one committed transaction, whatever the sinks are doing. The same delivery again is answered with
the first `inbound_id` and its events, each `duplicate`; nothing is stored or sent twice.

A provider's handshake is answered as that provider needs it, also to GET, HEAD and PUT.
"""


class ToldEvent(TypedDict):
    """An event that came of a delivery. `duplicate`: it was known already."""

    id: str
    event: str
    duplicate: bool


class HookAnswer(TypedDict):
    """`events` is empty for what is of no interest, is kept in quarantine, or is being enriched."""

    received: bool
    inbound_id: str | None
    events: list[ToldEvent]
    quarantined: NotRequired[bool]
    enriching: NotRequired[bool]


def delivery() -> Schema:
    """Whatever the provider sends."""
    return {"title": "Delivery", "description": "Whatever the provider sends."}


async def receive(call: Call) -> web.StreamResponse:
    """One delivery or handshake of a provider."""
    return (await call.services.ingress.handle(WebArrival(call.request))).response()


def _route(method: Method) -> Route:
    is_post = method == "POST"
    handshake = Doc(about="The handshake of providers that have one.", media=("text/plain",))
    refused = {
        400: "not what its content type says, and so not to be verified",
        401: "signature wrong, missing or stale",
        404: "unknown token, wrong driver for it, or the installation is disabled",
        408: "the body did not arrive in time",
        413: "larger than COMPORTA_MAX_BODY, also after decompression",
        415: "unknown Content-Type or Content-Encoding",
        429: "more than COMPORTA_INGEST_RATE",
        503: "the store cannot commit, or the backlog is full",
        508: "the event has gone round in a loop of gateways",
    }
    return Route(
        method=method,
        path="/hooks/{driver}/{token}",
        handler=receive,
        permission=PUBLIC,
        summary="Deliver as a provider" if is_post else "A provider's handshake",
        tag="ingress",
        answer=HookAnswer if is_post else None,
        answers=refused if is_post else refused | {405: "this provider has no handshake"},
        doc=Doc(about=ABOUT, body=delivery, takes=(JSON, FORM)) if is_post else handshake,
    )


ROUTES: tuple[Route, ...] = tuple(_route(method) for method in METHODS)
