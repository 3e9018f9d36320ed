"""The Evolution channel: messages and events of Evolution API, posted to an instance.

Behind an API key, so that nothing else has to prove who sends. Takes the body of upstream's channel
or the envelope of its webhooks: a real Evolution API can point its webhook here (with the key in
its `headers`, or as `?apikey=` where a version has none) and have every event kept before it is
answered. It is the driver `evolution` without an installation: what is told twice is told twice to
the instance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from drivers.base import Receipt, interpret
from drivers.evolution import DRIVER
from drivers.read import dig, text
from drivers.redact import redact
from drivers.verify import restore
from gateway.api.doc import Doc, Schema
from gateway.api.hooks import ToldEvent
from gateway.api.route import Call, Route, respond
from gateway.arrival import WebArrival
from gateway.intake import Origin, micros
from gateway.models import Instance
from gateway.store.base import Appended
from schemas.errors import (
    BadRequestError,
    Detail,
    NotFoundError,
    RequestError,
    TooManyRequestsError,
    UnparsableError,
)
from schemas.request import Inbound

UNKNOWN_EVENT = "unknown_event:"
# Where our own key is: not to be kept.
CREDENTIALS = frozenset({"apikey", "authorization", "proxy-authorization", "cookie"})
SHAPES = 'send {"event", "data"} or {"numberId", "key", "message", "messageType"}'


async def receive_event(call: Call) -> web.Response:
    """Keep one message or event, and answer with the id of its (first) event."""
    ingress, metrics = call.services.ingress, call.services.metrics
    started = ingress.monotonic()
    try:
        receipt, told = await _take(call)
    except RequestError as error:
        metrics.ingested(DRIVER.slug, error.code, ingress.monotonic() - started)
        raise
    outcome = "duplicate" if told.duplicate else receipt.outcome
    metrics.ingested(DRIVER.slug, outcome, ingress.monotonic() - started)
    events = [
        {"id": e.id, "event": e.name, "duplicate": e.duplicate or told.duplicate}
        for e in told.events
    ]
    return respond(
        {
            "status": "success",
            "id": told.events[0].id if told.events else None,
            "duplicate": told.duplicate,
            "inbound_id": told.inbound_id,
            "events": events,
        }
    )


async def _take(call: Call) -> tuple[Receipt, Appended]:
    services, ingress = call.services, call.services.ingress
    services.pressure.check(ingress.random)
    inbound = await ingress.read(WebArrival(call.request))
    kept = {k: v for k, v in inbound.headers.items() if k not in CREDENTIALS}
    inbound = replace(inbound, headers=kept, query={})
    payload = _payload(inbound)
    instance = _instance(call, payload)
    wait = ingress.paces.take(f"{instance.tenant}/{instance.name}", ingress.monotonic())
    if wait:
        raise TooManyRequestsError("too many events a second", retry_after=int(wait) + 1)
    chat = None if "event" in payload else text(dig(payload, "key", "remoteJid"))
    is_known = chat is not None and await services.chats.knows(instance, chat)
    receipt = _read(inbound, payload, {"instance_id": instance.id, "chat_is_known": is_known})
    origin = Origin(
        tenant=instance.tenant,
        instance=instance.name,
        installation_id=None,
        driver=DRIVER.slug,
        received_at=micros(inbound.received_at),
    )
    told = await services.intake.keep(origin, inbound, receipt)
    if chat is not None:
        services.chats.learn(instance, chat)
    return receipt, told


def _payload(inbound: Inbound) -> dict[str, Any]:
    try:
        payload = DRIVER.parse(inbound)
    except UnparsableError as error:
        raise BadRequestError(error.message, code="invalid_json") from None
    if not isinstance(payload, dict):
        raise BadRequestError(SHAPES)
    return payload


def _instance(call: Call, payload: dict[str, Any]) -> Instance:
    """The instance of the path; else the one with the body's `numberId`; else the one an envelope
    names, as upstream's global webhook does. Only among those the key may touch.
    """
    directory, tenant = call.services.directory, call.principal.tenant
    if "instance" in call.request.match_info:
        name = call.instance()
        found = directory.instance(tenant, name)
        if found is None:
            raise NotFoundError(f"there is no instance {name}")
        return found
    number, named = text(payload.get("numberId")), text(payload.get("instance"))
    if number is not None:
        found = directory.instance_by_number(tenant, number)
    elif named is not None:
        found = directory.instance(tenant, named)
    else:
        raise BadRequestError(
            "numberId is missing, and the path names no instance",
            details=(Detail("numberId", "numberId is required: the path names no instance"),),
        )
    if found is None or not call.principal.sees(found.name):
        raise NotFoundError(f"no instance has the number or name {number or named}"[:200])
    return found


def _read(inbound: Inbound, payload: dict[str, Any], settings: dict[str, Any]) -> Receipt:
    """What the driver makes of it. What it cannot understand is the sender's to repair: whoever
    has a key gets an answer, so nothing needs a quarantine.
    """
    body, headers = redact(inbound, payload, (), DRIVER.secret_fields)
    verified = restore(inbound, settings, payload, {})
    receipt = interpret(DRIVER, verified, has_api=False, body=body, headers=headers)
    if receipt.outcome == "quarantined":
        reason = receipt.reason or ""
        what, _, path = reason.partition(":")
        if what != "missing":
            raise BadRequestError(SHAPES)
        raise BadRequestError(
            f"{path} is missing: {SHAPES}", details=(Detail(path, f"{path} is missing: {SHAPES}"),)
        )
    for event in receipt.events:
        for word in event.drift:
            if word.startswith(UNKNOWN_EVENT):
                name = word.removeprefix(UNKNOWN_EVENT)[:64]
                detail = Detail("event", f"there is no event {name}")
                raise BadRequestError(detail.message, code="unknown_event", details=(detail,))
    return receipt


class ChannelAnswer(BaseModel):
    """`id`: of the first event, None when there was none to tell."""

    status: str
    id: str | None
    duplicate: bool
    inbound_id: str
    events: list[ToldEvent]


def channel_body() -> Schema:
    """Either shape; both have more fields than these."""
    said, anything = {"type": "string"}, {"type": "object"}
    return {
        "title": "ChannelMessage",
        "type": "object",
        "description": "A message as Evolution API's own channel takes it, or the envelope that an"
        " Evolution API instance's webhook sends.",
        "properties": {
            "event": said | {"description": "of an envelope", "examples": ["messages.upsert"]},
            "data": {"description": "of an envelope"},
            "instance": said,
            "numberId": said | {"description": "finds the instance where the path names none"},
            "key": anything,
            "pushName": said,
            "message": anything,
            "messageType": said,
        },
    }


EXAMPLES = {
    "A message": {
        "numberId": "5511999990000",
        "key": {"remoteJid": "5511988887777@s.whatsapp.net", "fromMe": False, "id": "3EB0A0C1"},
        "pushName": "Ana",
        "message": {"conversation": "Oi!"},
        "messageType": "conversation",
    },
    "An Evolution API instance's own webhook": {
        "event": "connection.update",
        "instance": "loja-1",
        "data": {"instance": "loja-1", "state": "open", "statusReason": 200},
    },
}

ROUTES: tuple[Route, ...] = tuple(
    Route(
        method="POST",
        path=path,
        handler=receive_event,
        permission="EVENTS_WRITE",
        instead=("INSTALLATIONS_MANAGE",),
        key_in_query=True,
        summary=summary,
        tag="webhook",
        evolution=True,
        answer=ChannelAnswer,
        answers={
            400: "not understood",
            404: "no such instance",
            429: "more than COMPORTA_INGEST_RATE",
            503: "not kept, try again",
            508: "the event has gone round in a loop of gateways",
        },
        query=("apikey",),
        doc=Doc(body=channel_body, examples=EXAMPLES),
    )
    for path, summary in (
        ("/webhook/evolution", "The Evolution channel; the body's numberId finds the instance"),
        ("/webhook/evolution/{instance}", "The Evolution channel of an instance"),
        # What an Evolution API posts to that sends by event; the body names the event, too.
        ("/webhook/evolution/{instance}/{event}", "The same, for senders of webhook_by_events"),
    )
)
