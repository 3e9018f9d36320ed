"""Forms as the API takes them: which fields a sink has, and how what was typed becomes JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from multidict import MultiDict

from gateway.portal.texts import later
from schemas.errors import Detail, InvalidError, RequestError
from schemas.sink_config import Kind

FieldType = Literal["text", "url", "switch", "number", "select", "area", "pairs", "numbers"]
MINUS_HELP = later("Shown masked. Leave it as it is to keep it.")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form, named as the API names it. `label`, `help`: said later. `options`: of
    a select, value and label. `is_rare`: for few, folded away.
    """

    name: str
    label: str
    type: FieldType = "text"
    help: str = ""
    placeholder: str = ""
    options: tuple[tuple[str, str], ...] = ()
    is_required: bool = False
    is_rare: bool = False


_SERVER_WIDE = later("Empty: the server's own connection, where it has one.")
FIELDS: Mapping[Kind, tuple[Field, ...]] = {
    "webhook": (
        Field(
            "url",
            later("URL"),
            "url",
            help=later("Where each event is posted to, signed by Standard Webhooks."),
            placeholder="https://example.com/webhooks",
            is_required=True,
        ),
        Field(
            "webhook_by_events",
            later("A URL for each event"),
            "switch",
            help=later("The event's name is added to the path."),
        ),
        Field(
            "webhook_base64",
            later("Media of messages as base64"),
            "switch",
            help=later("Off: media stays a URL."),
        ),
        Field("gzip", later("Compress with gzip"), "switch"),
        Field("secret", later("Signing secret"), help=MINUS_HELP, placeholder="whsec_…"),
        Field(
            "headers",
            later("Headers"),
            "pairs",
            help=later("One per line, as Name: value."),
            placeholder="Authorization: Bearer …",
        ),
        Field(
            "method",
            later("Method"),
            "select",
            options=tuple((m, m) for m in ("POST", "PUT", "PATCH", "DELETE")),
            is_rare=True,
        ),
        Field(
            "query",
            later("Query parameters"),
            "pairs",
            help=later("One per line, as Name: value."),
            is_rare=True,
        ),
        Field(
            "template",
            later("Body template"),
            "area",
            help=later("A JMESPath expression that makes the body. Empty: the whole envelope."),
            placeholder="{id: data.order.id, total: data.order.total}",
            is_rare=True,
        ),
    ),
    "websocket": (
        Field(
            "max_connections",
            later("Connections at most"),
            "number",
            help=later("Empty: as many as the server allows."),
        ),
    ),
    "rabbitmq": (
        Field(
            "uri", later("Broker"), help=_SERVER_WIDE, placeholder="amqps://user:pass@host/vhost"
        ),
        Field("exchange", later("Exchange"), help=later("Empty: named as the instance.")),
        Field(
            "exchange_type",
            later("Type of exchange"),
            "select",
            options=tuple((t, t) for t in ("topic", "direct", "fanout", "headers")),
        ),
        Field(
            "queue_type",
            later("Type of queues"),
            "select",
            options=tuple((t, t) for t in ("quorum", "classic", "stream")),
        ),
        Field("message_ttl", later("Messages live (ms)"), "number", is_rare=True),
        Field("max_length", later("Messages in a queue at most"), "number", is_rare=True),
        Field("dead_letter_exchange", later("Dead letter exchange"), is_rare=True),
    ),
    "sqs": (
        Field(
            "queue_url",
            later("Queue URL"),
            help=later("Or a name; with neither, there is a queue for each event."),
        ),
        Field("queue_name", later("Queue name")),
        Field("region", later("Region"), placeholder="sa-east-1", help=_SERVER_WIDE),
        Field("access_key_id", later("Access key id")),
        Field("secret_access_key", later("Secret access key"), help=MINUS_HELP),
        Field("fifo", later("FIFO queues"), "switch"),
        Field("endpoint_url", later("Another endpoint than AWS"), is_rare=True),
    ),
    "nats": (
        Field("url", later("Server"), help=_SERVER_WIDE, placeholder="nats://host:4222"),
        Field("subject_prefix", later("Subject prefix")),
        Field("jetstream", later("Through JetStream"), "switch"),
        Field("stream", later("Stream"), help=later("Empty: named as the instance.")),
        Field("user", later("User"), is_rare=True),
        Field("password", later("Password"), help=MINUS_HELP, is_rare=True),
        Field("token", later("Token"), help=MINUS_HELP, is_rare=True),
        Field("creds", later("Credentials file"), "area", help=MINUS_HELP, is_rare=True),
        Field("nkey_seed", later("NKey seed"), help=MINUS_HELP, is_rare=True),
    ),
    "pusher": (
        Field("app_id", later("App id"), help=_SERVER_WIDE),
        Field("key", later("App key")),
        Field("secret", later("App secret"), help=MINUS_HELP),
        Field("cluster", later("Cluster"), placeholder="sa1"),
        Field("host", later("Another host than Pusher's"), is_rare=True),
        Field("use_tls", later("Use TLS"), "switch"),
        Field("channel", later("Channel"), help=later("Empty: named as the instance.")),
    ),
}
COMMON: tuple[Field, ...] = (
    Field(
        "filter",
        later("Filter"),
        "area",
        help=later("A JMESPath expression over the envelope; only what it finds true is sent."),
        placeholder="data.order.total > `10000`",
    ),
    Field(
        "ordered",
        later("In order"),
        "switch",
        help=later("The events of one order one after the other, also across retries."),
    ),
    Field(
        "retry",
        later("Seconds between attempts"),
        "numbers",
        help=later("Separated by commas. Empty: the server's schedule."),
        placeholder="5, 300, 1800, 7200",
    ),
    Field("timeout", later("Seconds for one attempt"), "number"),
    Field("rate_limit", later("Deliveries a second at most"), "number"),
    Field("concurrency", later("Attempts at once"), "number"),
    Field(
        "naming",
        later("Event names"),
        "select",
        options=(("canonical", "order.paid, MESSAGES_UPSERT"), ("evolution", "messages.upsert")),
    ),
)


def fields_of(kind: Kind) -> tuple[Field, ...]:
    """Every field of a kind's form."""
    return (*FIELDS[kind], *COMMON)


def read(form: MultiDict[str], fields: Iterable[Field]) -> dict[str, Any]:
    """What was typed, as JSON. What is no number goes on as text: the API says what it thinks of
    it. Raises InvalidError for pairs that are none.
    """
    return {one.name: _value(one, form) for one in fields}


def _value(one: Field, form: MultiDict[str]) -> Any:
    if one.type == "switch":
        return one.name in form
    text = form.get(one.name, "").strip()
    if one.type == "number":
        return number(text) if text else None
    if one.type == "numbers":
        return [number(part.strip()) for part in text.split(",")] if text else None
    if one.type == "select":
        return text or None
    return _pairs(one.name, text) if one.type == "pairs" else text


def number(text: str) -> int | float | str:
    """A number, or the text when it is none."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not isfinite(value):
        return text
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _pairs(name: str, text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        key, colon, value = line.partition(":")
        if not colon or not key.strip():
            message = f"each line is `Name: value`, not `{line.strip()[:80]}`"
            raise InvalidError(details=(Detail(name, message),))
        pairs[key.strip()] = value.strip()
    return pairs


def shown(row: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, Any]:
    """What the API told, as a form holds it."""
    return {one.name: _text(one, row.get(one.name)) for one in fields}


def _text(one: Field, value: Any) -> Any:
    if one.type == "switch":
        return bool(value)
    if one.type == "pairs":
        return "\n".join(f"{key}: {text}" for key, text in (value or {}).items())
    if one.type == "numbers":
        return ", ".join(map(_plain, value or ()))
    return "" if value is None else _plain(value)


def _plain(value: Any) -> str:
    text = str(value)
    return text.removesuffix(".0") if text.replace(".", "", 1).isdigit() else text


def typed(form: MultiDict[str], fields: Iterable[Field]) -> dict[str, Any]:
    """What was typed, to be shown again."""
    return {
        one.name: one.name in form if one.type == "switch" else form.get(one.name, "")
        for one in fields
    }


def errors_of(error: RequestError, prefix: str = "") -> dict[str, str]:
    """What is wrong, by the field it is about: `headers.X-A` is about `headers`."""
    found: dict[str, str] = {}
    for detail in error.details:
        path = detail.path.removeprefix(prefix)
        name = path.partition(".")[0]
        message = detail.message.removeprefix(f"{detail.path} ")
        told = message if path == name else f"{path.partition('.')[2]}: {message}"
        found[name] = f"{found[name]}; {told}" if name in found else told
    return found
