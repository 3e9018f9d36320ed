"""What a receiver gets: the body around an event, and the names an event has on each transport.

An envelope is a function of the event and the sink's settings, not of the attempt: every retry
sends the same bytes. `data` goes through as it is stored, without being read.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache
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
    return _ENVELOPE % (
        _opening(event.name, event.instance, naming),
        event.data if data is None else data,
        b"" if destination is None else b',"destination":%b' % orjson.dumps(destination),
        _digits(event.received_at)[:23],
        orjson.dumps(_sender(event)),
        orjson.dumps(server_url),
        orjson.dumps(apikey),
        orjson.dumps(event.id),
        event.seq,
        orjson.dumps(event.driver),
        orjson.dumps(event.installation_id),
        _digits(event.occurred_at),
        event.version,
        b"true" if event.test else b"false",
        b',"gap":true' if gap else b"",
    )


# Written out, because this is done for every delivery and a dict takes thrice as long.
_ENVELOPE = (
    b'%b%b%b,"date_time":"%bZ","sender":%b,"server_url":%b,"apikey":%b,"id":%b,"seq":%d,'
    b'"driver":%b,"installation_id":%b,"occurred_at":"%bZ","version":%d,"test":%b%b}'
)


@lru_cache(maxsize=1024)
def _opening(name: str, instance: str, naming: Naming) -> bytes:
    """An envelope up to its `data`: the same for all events of a name."""
    head = orjson.dumps({"event": wire_name(name, naming), "instance": instance})
    return head[:-1] + b',"data":'


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
        "occurred_at": _digits(event.occurred_at).decode() + "Z",
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


def _digits(moment: datetime) -> bytes:
    """An aware UTC time to the microsecond, without its `Z`."""
    text = orjson.dumps(moment)  # ten times as fast as isoformat, but leaves out an even second's
    return text[1:27] if moment.microsecond else text[1:20] + b".000000"


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
