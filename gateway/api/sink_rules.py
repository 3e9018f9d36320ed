"""What a sink's fields may hold where a type alone does not say it. Pure; faults are collected."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jmespath.exceptions import JMESPathError

from gateway.api.sink_row import TEXT_SECRETS, URL_SECRETS, mask_url, mask_values
from gateway.api.sink_shape import Reading
from gateway.security import MASK, is_masked, mask
from schemas.errors import ConflictError
from schemas.events import MESSAGING, expand, to_key
from schemas.expression import Expression
from schemas.sink_config import Kind, PusherConfig, SinkConfig
from schemas.target import (
    NOTHING_ALLOWED,
    AllowList,
    InvalidTargetError,
    check_broker,
    check_url,
)
from sinks.signing import secret_key

MAX_PAIRS, MAX_PAIR_BYTES, MAX_EVENTS = 64, 16_384, 500
_HEADER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What we set ourselves, and what frames the request.
_RESERVED_HEADERS = frozenset(
    "host connection keep-alive upgrade te trailer expect transfer-encoding content-length"
    " content-encoding traceparent comporta-hop x-instance-name x-event-type x-timestamp"
    " x-attempt".split()
)
_RESERVED_PREFIXES = ("webhook-", "ce-", "proxy-", "sec-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What set bodies are judged by. `server_wide`: connections of the server's own, by kind.
    `new_secret`: makes a signing secret.
    """

    new_secret: Callable[[], str]
    allow: AllowList = NOTHING_ALLOWED
    require_https: bool = True
    public_url: str = ""
    server_wide: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)


def read_events(reading: Reading, value: Any) -> tuple[str, ...] | None:
    """The keys a list of events names, () for all; None when the reading failed."""
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        reading.fail("events", "is not a list of event names")
        return None
    if len(value) > MAX_EVENTS:
        reading.fail("events", f"has more than {MAX_EVENTS} entries")
        return None
    if any(to_key(entry) in {"*", "ALL"} for entry in value):
        return ()
    keys: dict[str, None] = {}
    unknown: list[tuple[int, str]] = []
    for index, entry in enumerate(value):
        named = named_by(entry)
        keys.update(dict.fromkeys(named))
        if not named:
            unknown.append((index, entry[:64]))
    if unknown and not keys:
        for index, entry in unknown:
            reading.fail(f"events.{index}", f'names no event: "{entry}"')
        return None
    reading.warnings.extend(f'unknown event "{entry}" is ignored' for _, entry in unknown)
    return tuple(keys)


def named_by(entry: str) -> tuple[str, ...]:
    """The keys that one name selects: of an event, of a group (`order.*`, `messages.*`)."""
    key = to_key(entry)
    group = tuple(k for k in MESSAGING if k.startswith(key[:-1])) if key.endswith("_*") else ()
    return expand(entry) or group


def read_pairs(
    reading: Reading, name: str, value: Any, stored: Mapping[str, str]
) -> dict[str, str]:
    """Headers or query parameters; a masked value is the stored one of that name."""
    if not isinstance(value, dict):
        reading.fail(name, "is not an object")
        return {}
    shown = {key.lower(): text for key, text in mask_values(stored).items()}
    kept = {key.lower(): text for key, text in stored.items()}
    pairs: dict[str, str] = {}
    for key, given in value.items():
        text = _scalar(given)
        if text is None:
            if given is not None:
                reading.fail(f"{name}.{key[:64]}", "is not a text")
        elif is_masked(text) and shown.get(key.lower()) == text:
            pairs[key] = kept[key.lower()]
        elif is_masked(text):
            reading.fail(f"{name}.{key[:64]}", "is masked: send the value itself")
        elif not (storable(key) and storable(text)):
            reading.fail(name, "has a character that cannot be stored")
        else:
            pairs[key] = text
    if len(pairs) > MAX_PAIRS or sum(map(len, (*pairs, *pairs.values()))) > MAX_PAIR_BYTES:
        reading.fail(name, f"has more than {MAX_PAIRS} entries or {MAX_PAIR_BYTES} characters")
    return pairs


def check_headers(reading: Reading, headers: Mapping[str, str]) -> None:
    """Only headers that cannot reframe the request or replace ours."""
    seen: set[str] = set()
    for name, text in headers.items():
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            reading.fail(f"headers.{name[:64]!r}", "is not a header's name")
        elif lower in _RESERVED_HEADERS or lower.startswith(_RESERVED_PREFIXES):
            reading.fail(f"headers.{name}", "is set by the gateway itself")
        elif lower in seen:
            reading.fail(f"headers.{name}", "is there twice")
        elif _CONTROL.search(text):
            reading.fail(f"headers.{name}", "has a control character")
        seen.add(lower)


def storable(text: str) -> bool:
    """PostgreSQL's JSON holds neither NUL nor half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _scalar(value: Any) -> str | None:
    """A text, or a number or switch written as one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def read_secrets(reading: Reading, kind: Kind, stored: SinkConfig | None) -> None:
    """Put stored secrets back where a client returned them masked."""
    for names, shown in ((URL_SECRETS, mask_url), (TEXT_SECRETS, mask)):
        for name in names.get(kind, ()):
            given = reading.values.get(name)
            kept = getattr(stored, name, "")
            if not isinstance(given, str) or MASK not in given:
                continue
            if kept and given == shown(kept):
                reading.values[name] = kept
            else:
                reading.fail(name, "is masked: send the value itself")


def read_signing_secret(reading: Reading, stored: tuple[str, ...]) -> str | None:
    """A new signing secret, None to keep what is stored."""
    given = reading.values.pop("secret", None)
    if given in (None, "") or given in stored:
        return None
    if not isinstance(given, str):
        reading.fail("secret", "is not a text")
        return None
    if is_masked(given):
        if not stored or given != mask(stored[0]):
            reading.fail("secret", "is masked: send the value itself")
        return None
    try:
        secret_key(given)
    except ValueError as error:
        reading.fail("secret", f"is refused: {error}")
    return given


def check_expression(reading: Reading, name: str) -> None:
    """A filter or template must be JMESPath."""
    text = reading.values.get(name)
    if isinstance(text, str) and text:
        try:
            Expression(text)
        except JMESPathError as error:
            reason = str(error).partition("\n")[0][:160]
            reading.fail(name, f"is not a JMESPath expression: {reason}")


def check_addresses(reading: Reading, config: SinkConfig, rules: Rules) -> str | None:
    """Judge every address this body set; gives the code of the first refusal."""
    code = None
    for name, check in _addresses(config, rules):
        if name not in reading.values or not getattr(config, name):
            continue
        try:
            check(getattr(config, name))
        except InvalidTargetError as error:
            code = code or error.code
            reading.fail(name, f"is refused: {error.message}")
    return code


def _addresses(config: SinkConfig, rules: Rules) -> Iterator[tuple[str, Callable[[str], object]]]:
    allow = rules.allow

    def web(url: str) -> object:
        https = rules.require_https
        return check_url(url, allow, require_https=https, own=rules.public_url)

    if config.kind == "webhook":
        yield "url", web
    elif config.kind == "sqs":
        yield "queue_url", web
        yield "endpoint_url", web
    elif config.kind == "rabbitmq":
        yield "uri", lambda url: check_broker(url, ("amqp", "amqps"), allow, port=5672)
    elif config.kind == "nats":
        schemes = ("nats", "tls")
        yield (
            "url",
            lambda urls: [check_broker(url, schemes, allow, port=4222) for url in urls.split(",")],
        )
    elif isinstance(config, PusherConfig):
        scheme = "https" if config.use_tls else "http"
        yield "host", lambda host: web(host if "://" in host else f"{scheme}://{host}")


def check_connection(config: SinkConfig, server_wide: Mapping[str, Mapping[str, Any]]) -> None:
    """An enabled sink has something to connect to, its own or the server's.

    Raises ConflictError (SINK_NOT_CONFIGURED).
    """
    needed = _NEEDED.get(config.kind, ())
    wide = server_wide.get(config.kind, {})
    if needed and not any(getattr(config, name, "") or wide.get(name) for name in needed):
        raise ConflictError(_MISSING[config.kind], code="SINK_NOT_CONFIGURED")


# Any one of these, the sink's own or the server's, is enough to connect.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "rabbitmq": ("uri",),
    "nats": ("url",),
    "sqs": ("region", "queue_url", "endpoint_url"),
    "pusher": ("app_id",),
}
_MISSING: Mapping[str, str] = {
    "rabbitmq": "no RabbitMQ to publish to: set `uri` here, or RABBITMQ_URI on the server",
    "nats": "no NATS to publish to: set `url` here, or NATS_URL on the server",
    "sqs": "no SQS to send to: set `region`, `queue_url` or `endpoint_url` here, or SQS_REGION on"
    " the server",
    "pusher": "no Pusher app: set `app_id`, `key`, `secret` and `cluster` (or `host`) here, or"
    " PUSHER_GLOBAL_APP_ID, _KEY, _SECRET and _CLUSTER on the server",
}
