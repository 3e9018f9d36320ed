"""What a receiver gets: the body around an event, and the names an event has on each transport.

An envelope is a function of the event and the sink's settings, not of the attempt: every retry
sends the same bytes. `data` goes through as it is stored, without being read.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import orjson

from schemas.events import StoredEvent, is_messaging, key_of
from schemas.sink_config import Naming

SENDER = "Comporta"
MESSAGING_SENDER = "Evolution API"  # what receivers of messaging events have always seen


def wire_name(name: str, naming: Naming) -> str:
    """The `event` of a body: messaging events are upper snake unless named as upstream does."""
    return key_of(name) if naming == "canonical" and is_messaging(name) else name


def path_suffix(name: str, naming: Naming) -> str:
    """What `webhook_by_events` adds to the URL's path: `messages_upsert`, as upstream
    `messages-upsert`.
    """
    if naming == "canonical":
        return key_of(name).lower()
    return name.replace(".", "-").replace("_", "-")


def envelope(
    event: StoredEvent,
    *,
    naming: Naming,
    server_url: str,
    apikey: str | None = None,
    destination: str | None = None,
    data: bytes | None = None,
    gap: bool = False,
) -> bytes:
    """The JSON body for every kind but websocket. `data`: JSON in place of the event's own (media
    put in or taken out, a claim). `destination`: webhooks only. `gap`: an earlier event of this key
    was given up.

    `date_time` is when the event was received: true UTC, milliseconds, the same at every attempt.
    """
    body: dict[str, Any] = {
        "event": wire_name(event.name, naming),
        "instance": event.instance,
        "data": orjson.Fragment(event.data if data is None else data),
    }
    if destination is not None:
        body["destination"] = destination
    body |= {
        "date_time": _utc(event.received_at, "milliseconds"),
        "sender": _sender(event),
        "server_url": server_url,
        "apikey": apikey,
        "id": event.id,
        "seq": event.seq,
        "driver": event.driver,
        "installation_id": event.installation_id,
        "occurred_at": _utc(event.occurred_at, "microseconds"),
        "version": event.version,
        "test": event.test,
    }
    if gap:
        body["gap"] = True
    return orjson.dumps(body)


def frame(event: StoredEvent, *, naming: Naming) -> bytes:
    """The JSON text of a plain websocket message. Frames have no headers, so that a trace goes on
    inside.
    """
    body: dict[str, Any] = {
        "event": wire_name(event.name, naming),
        "instance": event.instance,
        "data": orjson.Fragment(event.data),
        "id": event.id,
        "seq": event.seq,
        "occurred_at": _utc(event.occurred_at, "microseconds"),
    }
    if event.trace is not None:
        body["traceparent"] = event.trace
    return orjson.dumps(body)


def claim(url: str, size: int) -> bytes:
    """The `data` of an event too large for its transport: where to fetch all of it."""
    return orjson.dumps({"claim_url": url, "bytes": size})


def trace_parent(event_id: str, attempt_id: str) -> str:
    """A W3C traceparent for an attempt that has none: one trace per event, one span per attempt.

    https://www.w3.org/TR/trace-context/#traceparent-header
    """
    trace = hashlib.sha256(event_id.encode()).hexdigest()[:32]
    span = hashlib.sha256(attempt_id.encode()).hexdigest()[:16]
    return f"00-{trace}-{span}-00"


def _utc(moment: datetime, precision: str) -> str:
    """An aware UTC time with `Z`."""
    return moment.isoformat(timespec=precision)[:-6] + "Z"


def _sender(event: StoredEvent) -> str:
    """Who speaks: the messaging account when the event names it, else the gateway."""
    if not is_messaging(event.name):
        return SENDER
    if b'"sender"' in event.data:  # so that only the rare event that has one is read
        try:
            data = orjson.loads(event.data)
        except orjson.JSONDecodeError:  # a lone surrogate, which we write and orjson does not read
            return MESSAGING_SENDER
        if isinstance(data, dict) and isinstance(data.get("sender"), str):
            return data["sender"] or MESSAGING_SENDER
    return MESSAGING_SENDER
