"""The AsyncAPI 3 document: what receivers get on each kind of sink, and under which names.

The payloads are those of `/schemas/{event}.json`.
https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.api.doc import JSON, Schema
from gateway.api.event_schemas import schema_of
from gateway.version import VERSION
from schemas.events import COMMERCE_NAMES, MESSAGING

ABOUT = """\
What receivers get: one envelope around every event, whatever the transport. Every try of a delivery
has the same `id`: delivery is at least once, so keep the ids you have seen. `seq` grows within an
instance and may have gaps.

Messaging events (of Evolution API) are called `MESSAGES_UPSERT`, or `messages.upsert` where the
sink has `naming: evolution`; their `data` is what Evolution API sent. Names of channels are for the
tenant `default`; other tenants' begin with the tenant's name.
"""
TEXT: Schema = {"type": "string"}
TRACE: Schema = {
    "type": "string",
    "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
    "description": "W3C trace context.",
}
BROKER_HEADERS: Schema = {
    "event": TEXT | {"description": "The event's name, as in the body."},
    "instance": TEXT,
    "id": TEXT | {"description": "The event's id."},
    "traceparent": TRACE,
}
COUNT: Schema = {"type": "string", "pattern": "^[0-9]+$"}
WEBHOOK_HEADERS: Schema = {
    "webhook-id": TEXT | {"description": "The event's id."},
    "webhook-timestamp": COUNT | {"description": "Unix seconds of this try."},
    "webhook-signature": TEXT
    | {
        "description": "Standard Webhooks: `v1,` and base64, one per valid secret, over"
        " `{webhook-id}.{webhook-timestamp}.{body}` before gzip."
    },
    "X-Instance-Name": TEXT,
    "X-Event-Type": TEXT | {"description": "The event's name, as in the body."},
    "X-Timestamp": COUNT | {"description": "Unix milliseconds of this try."},
    "X-Attempt": COUNT | {"description": "From 1 on."},
    "User-Agent": TEXT,
    "traceparent": TRACE,
    "comporta-hop": COUNT | {"description": "How many gateways the event has passed."},
}
INSTANCE: Schema = {"description": "The instance's name."}
EVENT: Schema = {"description": "The event's name, dotted: `order.paid`."}
SNAKE: Schema = {"description": "The event's name in lower snake case: `order_paid`."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """How one kind of sink is read. `claims`: a large event comes as a claim check."""

    title: str
    about: str
    address: str | None
    headers: Schema
    parameters: Schema = field(default_factory=dict)
    bindings: Schema = field(default_factory=dict)
    claims: bool = True


CHANNELS: dict[str, Channel] = {
    "webhook": Channel(
        title="Webhook",
        about="A POST to the sink's `url` (with `webhook_by_events` to a path per event), answered"
        " by any 2xx. A `template` replaces the body.",
        address=None,
        headers=WEBHOOK_HEADERS,
        claims=False,
    ),
    "websocket": Channel(
        title="WebSocket",
        about="Text frames at `/ws/{instance}`; with `since` first what came after that event."
        " A frame has no headers: the `traceparent` of a traced request is inside.",
        address="/ws/{instance}",
        headers={},
        parameters={"instance": INSTANCE},
        bindings={
            "ws": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "properties": {"apikey": TEXT, "events": TEXT, "since": TEXT},
                },
                "bindingVersion": "0.1.0",
            }
        },
        claims=False,
    ),
    "socketio": Channel(
        title="Socket.IO",
        about="Socket.IO 4 at `/socket.io`, namespace `/{instance}`. The event is the dotted name,"
        " its argument the envelope.",
        address="/socket.io#{instance}",
        headers={},
        parameters={"instance": INSTANCE},
        claims=False,
    ),
    "rabbitmq": Channel(
        title="RabbitMQ",
        about="A durable queue per event, bound to the topic exchange of the instance with the"
        " dotted event as routing key. `message_id` is the event's id.",
        address="{instance}.{event}",
        headers=BROKER_HEADERS | {"attempt": {"type": "integer"}},
        parameters={"instance": INSTANCE, "event": EVENT},
        bindings={
            "amqp": {
                "is": "queue",
                "queue": {"name": "{instance}.{event}", "durable": True, "exclusive": False},
                "bindingVersion": "0.3.0",
            }
        },
    ),
    "sqs": Channel(
        title="SQS",
        about="A FIFO queue per event, or the one that the sink names. Message attributes carry the"
        " headers; the group is the ordering key, the deduplication id the event's id.",
        address="{instance}_{event}.fifo",
        headers=BROKER_HEADERS,
        parameters={"instance": INSTANCE, "event": SNAKE},
    ),
    "nats": Channel(
        title="NATS",
        about="The subject of an event, after the sink's `subject_prefix` and a dot when it has"
        " one; through JetStream unless the sink says otherwise.",
        address="{instance}.{event}",
        headers=BROKER_HEADERS
        | {"attempt": COUNT, "Nats-Msg-Id": TEXT | {"description": "The deduplication id."}},
        parameters={"instance": INSTANCE, "event": EVENT},
    ),
    "pusher": Channel(
        title="Pusher",
        about="The channel of the instance, or the one that the sink names. The event is the dotted"
        " name, its data the envelope. Pusher hands on no headers.",
        address="{instance}",
        headers={},
        parameters={"instance": INSTANCE},
    ),
}
CLAIM: Schema = {
    "type": "object",
    "description": "In place of a `data` too large for the transport: fetch the envelope there.",
    "properties": {
        "claim_url": {"type": "string", "format": "uri"},
        "bytes": {"type": "integer"},
    },
    "required": ["claim_url", "bytes"],
}


MILLISECONDS: Schema = {"type": "integer", "description": "Unix milliseconds."}
# What `gateway.alarms` sends.
ALERTS: Schema = {
    "type": "object",
    "description": "What went wrong since the message before. `text` is for people, a line each;"
    " `more` were left out.",
    "properties": {
        "type": {"const": "comporta.alert"},
        "id": TEXT,
        "timestamp": MILLISECONDS,
        "server_url": TEXT,
        "text": TEXT,
        "alerts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "kind": TEXT | {"examples": ["sink.circuit_opened", "installation.error"]},
                    "tenant": TEXT,
                    "instance": {"type": ["string", "null"]},
                    "subject": TEXT | {"examples": ["webhook/default"]},
                    "reason": TEXT,
                    "count": {"type": "integer", "minimum": 1},
                    "first_at": MILLISECONDS,
                    "last_at": MILLISECONDS,
                },
                "required": [
                    *("kind", "tenant", "instance", "subject"),
                    *("reason", "count", "first_at", "last_at"),
                ],
            },
        },
        "more": {"type": "integer", "minimum": 0},
    },
    "required": ["type", "id", "timestamp", "server_url", "text", "alerts", "more"],
}
SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature", "User-Agent")
OPERATOR: Schema = {
    "address": None,
    "title": "Operator's webhook",
    "description": "A POST to COMPORTA_ALERT_WEBHOOK_URL: sinks that are down or switched off,"
    " installations that fail, quarantine, drift, deliveries that wait too long. A storm is one"
    " message; each is tried again until it is answered by a 2xx.",
    "messages": {
        "alerts": {
            "name": "alerts",
            "payload": {"$ref": "#/components/schemas/Alerts"},
            "headers": {
                "type": "object",
                "properties": {name: WEBHOOK_HEADERS[name] for name in SIGNED},
            },
        }
    },
}


def document(server_url: str) -> Schema:
    """The whole document. `server_url`: where clients reach this server."""
    schemas, names = dict(_schemas()) | {"Alerts": ALERTS}, [*COMMERCE_NAMES, "messaging"]
    channels = {kind: _channel(kind, CHANNELS[kind], names) for kind in CHANNELS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Comporta: what receivers get",
            "version": VERSION,
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "servers": {"gateway": _server(server_url)},
        "channels": channels | {"operator": OPERATOR},
        "operations": {
            f"deliver-{kind}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{kind}"},
                "summary": f"What is told by {channel['title']}",
            }
            for kind, channel in (channels | {"operator": OPERATOR}).items()
        },
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _server(server_url: str) -> Schema:
    parts = urlsplit(server_url)
    protocol = "wss" if parts.scheme == "https" else "ws"
    path = {"pathname": parts.path} if parts.path else {}
    return {"host": parts.netloc, "protocol": protocol, "description": "This gateway.", **path}


def _channel(kind: str, channel: Channel, names: Iterable[str]) -> Schema:
    made: Schema = {
        "address": channel.address,
        "title": channel.title,
        "description": channel.about,
        "messages": {name: _message(name, channel) for name in names},
    }
    if kind in {"websocket", "socketio"}:
        made["servers"] = [{"$ref": "#/servers/gateway"}]
    for key, value in (("parameters", channel.parameters), ("bindings", channel.bindings)):
        made |= {key: value} if value else {}
    return made


def _message(name: str, channel: Channel) -> Schema:
    payload: Schema = {"$ref": f"#/components/schemas/{name}"}
    if channel.claims:
        payload = {"anyOf": [payload, {"$ref": "#/components/schemas/Claimed"}]}
    made: Schema = {"name": name, "payload": payload}
    if channel.headers:
        made["headers"] = {"type": "object", "properties": channel.headers}
    return made


def _schemas() -> Iterator[tuple[str, Schema]]:
    """Those of the events, each part once, and what stands for the others."""
    envelope: Schema = {}
    for name in COMMERCE_NAMES:
        text = schema_of(name) or b"{}"
        whole = json.loads(text.replace(b"#/$defs/", b"#/components/schemas/"))
        yield from whole.pop("$defs").items()
        del whole["$schema"], whole["$id"]
        yield name, whole
        envelope = whole
    anything: dict[str, Any] = {"description": "What Evolution API sent."}
    keys = [*MESSAGING, *MESSAGING.values()]
    yield "messaging", _with(envelope, event={"type": "string", "enum": keys}, data=anything)
    yield "Claimed", _with(envelope, event=TEXT, data=CLAIM)


def _with(envelope: Schema, **properties: Schema) -> Schema:
    """The envelope with other properties."""
    rest = {key: value for key, value in envelope.items() if key != "title"}
    return rest | {"properties": envelope["properties"] | properties}
