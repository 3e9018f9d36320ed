"""`/claims/{event_id}`: the whole of an event that was too large for a message.

No API key: the URL carries its own signature (`gateway.claims`).
"""

from __future__ import annotations

from aiohttp import web
from pydantic import TypeAdapter

from gateway.api.doc import Doc, Schema
from gateway.api.route import PUBLIC, Call, Route
from schemas.envelope import envelope
from schemas.errors import GoneError
from schemas.published import Envelope


async def show_claim(call: Call) -> web.Response:
    """The envelope a receiver would have got, with all of its `data`."""
    services, ident = call.services, call.path("event_id")
    tenant = services.claims.check(ident, call.request.query)
    found = await services.history.event(tenant, ident)
    if found is None:  # it was there when the URL was signed
        raise GoneError("this event is not kept any more", code="event_gone")
    return web.Response(
        body=envelope(found.event, naming="canonical", server_url=services.settings.base_url),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "private, no-store"},
    )


def envelope_schema() -> Schema:
    """What a receiver gets; `/schemas/{event}.json` has the `data` of each event."""
    return {"title": "Envelope"} | TypeAdapter(Envelope).json_schema(mode="serialization")


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/claims/{event_id}",
        handler=show_claim,
        permission=PUBLIC,
        summary="The whole of an event that was too large for its transport",
        tag="processing",
        query=("tenant", "expires", "signature"),
        answers={403: "the signature does not hold", 410: "the URL has expired"},
        doc=Doc(answer=envelope_schema),
    ),
)
