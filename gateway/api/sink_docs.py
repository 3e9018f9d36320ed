"""What the sink endpoints take and answer, as JSON Schema, from the models behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

from gateway.api.doc import Doc, Schema
from gateway.api.sink_row import HIDDEN
from gateway.api.sink_shape import settable
from schemas.sink_config import MODELS, Kind

Mode = Literal["validation", "serialization"]
EVENTS = (
    "Names of events in any spelling (`order.paid`, `ORDER_PAID`), or groups (`order.*`); empty or"
    " left out: all. Unknown ones are dropped with a warning, 400 when none is left."
)
SECRET = "A signing secret, `whsec_…`; made when there is none. Only set and rotate show it."  # noqa: S105 - a description
SAID: Mapping[str, str] = {
    "enabled": "Events of a disabled sink are held and go out when it is enabled.",
    "events": EVENTS,
    "naming": "How messaging events are called: `MESSAGES_UPSERT` or `messages.upsert`.",
    "ordered": "The events of one key one after the other, also across retries.",
    "filter": "A JMESPath expression over the envelope: deliver when it is truthy.",
    "retry": "Seconds between tries.",
    "rate_limit": "Deliveries a second at most.",
    "include_apikey": "Put the API key that configured the sink into the envelope.",
    "webhook_by_events": "Add the event's name to the URL's path.",
    "webhook_base64": "Media of messaging events as base64 in the payload.",
    "gzip": "Compress the body.",
    "template": "A JMESPath expression that gives the body.",
    "headers": "Further headers; `jwt_key` makes a signed `Authorization`. Shown masked.",
    "query": "Further query parameters.",
    "secret": SECRET,
    "uri": "Empty: the server-wide broker.",
}
EXAMPLES: Mapping[Kind, Mapping[str, Any]] = {
    "webhook": {
        "Every event to a URL": {"url": "https://example.com/hooks", "enabled": True},
        "Paid and refunded orders, as Evolution API v2's clients send it": {
            "webhook": {
                "enabled": True,
                "url": "https://example.com/hooks",
                "byEvents": True,
                "base64": False,
                "headers": {"Authorization": "Bearer of-the-receiver"},
                "events": ["ORDER_PAID", "ORDER_REFUNDED"],
            }
        },
        "Another API, by a template": {
            "url": "https://example.com/api/orders/1",
            "method": "PUT",
            "events": ["order.*"],
            "filter": "data.order.total > `10000`",
            "template": "{reference: data.order.number, cents: data.order.total}",
            "retry": [10, 60, 600],
        },
    },
    "websocket": {"Whoever connects": {"enabled": True, "events": []}},
    "rabbitmq": {
        "A broker of your own": {
            "uri": "amqps://user:password@rabbit.example.com/shop",
            "exchange": "loja-1",
            "events": ["ORDER_PAID"],
        }
    },
    "sqs": {
        "A queue per event": {
            "region": "sa-east-1",
            "access_key_id": "AKIAEXAMPLE",
            "secret_access_key": "the-secret-of-that-key",
        }
    },
    "nats": {"JetStream": {"url": "nats://nats.example.com:4222", "subject_prefix": "shop"}},
    "pusher": {
        "An app": {"app_id": "1234567", "key": "app-key", "secret": "s3cr3t", "cluster": "sa1"}
    },
}


def set_body(kind: Kind) -> Schema:
    """What set takes: the fields, flat or under the kind's name."""
    fields = _fields(kind)
    inner: Schema = {
        "description": "The same fields, as Evolution API v2's clients send them.",
        "type": "object",
        "properties": fields,
    }
    return {
        "title": f"{kind.capitalize()}Set",
        "type": "object",
        "description": "What is left out stays as it is. Fields may also be in camelCase; unknown"
        " ones are ignored with a warning.",
        "properties": {**fields, kind: inner},
    }


def sink_row(kind: Kind) -> Schema:
    """What set and find answer."""
    made = _properties(kind, "serialization")
    shown: Schema = {}
    for name, schema in made.items():
        if name not in HIDDEN | {"id"}:
            optional = schema.get("default", "") is None
            shown[name] = _not_null(_without_default(schema)) | ({"-": 1} if optional else {})
    required = [name for name, schema in shown.items() if not schema.pop("-", 0)]
    text: Schema = {"type": "string"}
    known: Schema = {"id": text, "instanceId": text, "instance": text, "kind": {"const": kind}}
    times: Schema = {"createdAt": text, "updatedAt": text}
    echo = {"type": "object", "description": "The main fields once more, as v1 answered."}
    if kind == "webhook":
        shown["secret"] = {"type": "string", "description": SECRET}
    return {
        "title": f"{kind.capitalize()}Sink",
        "type": "object",
        "description": "The stored configuration; secrets are masked, and masked values may be"
        " sent back. What was never configured is the same, disabled and empty.",
        "properties": {
            **known,
            **shown,
            **times,
            kind: echo,
            "warnings": {"type": "array", "items": text},
        },
        "required": [*known, *required, *times, kind],
    }


def sink_list(kind: Kind) -> Schema:
    """What list answers."""
    title = f"{kind.capitalize()}Sink"
    items = {"$ref": f"#/components/schemas/{title}"}
    return {"title": f"{title}s", "type": "array", "items": items}


def doc_of(kind: Kind, action: str, method: str) -> Doc:
    """The documentation of one sink endpoint."""
    makes: dict[str, Callable[[Kind], Schema]] = {
        "set": sink_row,
        "find": sink_row,
        "list": sink_list,
    }
    answer = partial(makes[action], kind) if action in makes and method != "DELETE" else None
    if action != "set" or method == "DELETE":
        return Doc(answer=answer)
    return Doc(answer=answer, body=partial(set_body, kind), examples=EXAMPLES[kind])


def _fields(kind: Kind) -> Schema:
    made = _properties(kind, "validation")
    made["secret"] = {"type": "string"} if kind == "webhook" else made.get("secret", {})
    return {name: _described(name, _without_default(made[name])) for name in settable(kind)}


def _described(name: str, schema: Schema) -> Schema:
    return schema | ({"description": SAID[name]} if name in SAID else {})


def _properties(kind: Kind, mode: Mode) -> dict[str, Schema]:
    made: dict[str, Schema] = MODELS[kind].model_json_schema(mode=mode)["properties"]
    return {
        name: {key: value for key, value in schema.items() if key != "title"}
        for name, schema in made.items()
    }


def _without_default(schema: Schema) -> Schema:
    """Set keeps what is left out, whatever the default is."""
    return {key: value for key, value in schema.items() if key != "default"}


def _not_null(schema: Schema) -> Schema:
    """The schema where a value that is None is left out."""
    given = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(given) != 1:
        return schema
    rest: Schema = {key: value for key, value in schema.items() if key != "anyOf"}
    rest.update(given[0])
    return rest
