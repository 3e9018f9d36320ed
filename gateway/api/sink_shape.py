"""Reading the many shapes of a set body: flat as v1 and the seed, nested as v2, or both at once.

Each field has several spellings. In a flat body the snake one counts most, because v1's own page
edits it and echoes stale camel ones; in a nested body it is v2's short one (`byEvents`), because v2
clients spread a fetched row and edit that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import BadRequestError, Detail
from schemas.sink_config import KINDS, MODELS, Kind

# What find returned and clients post back: ours to know, not theirs to set.
_ECHOED = frozenset(
    "id instanceId instance_id instanceName instance name kind createdAt updatedAt created_at"
    " updated_at disabled_reason disabledReason warnings apikey".split()
)
_FOREIGN = frozenset({*KINDS, "kafka"})
_NOT_SETTABLE = frozenset(
    "id tenant instance name kind apikey disabled_reason created_at updated_at secrets".split()
)
_MORE_SPELLINGS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("webhook", "webhook_by_events"): ("byEvents", "by_events"),
    ("webhook", "webhook_base64"): ("base64",),
    ("rabbitmq", "uri"): ("url",),
    ("rabbitmq", "exchange"): ("exchangeName", "exchange_name"),
    ("rabbitmq", "message_ttl"): ("messageTTL",),
    ("nats", "url"): ("uri",),
    ("nats", "subject_prefix"): ("prefix",),
    ("pusher", "use_tls"): ("useTLS",),
}
# Upstream ignores these two inside `webhook`; a client that sends them there counts on it.
_IGNORED_NESTED = frozenset({"webhookByEvents", "webhook_by_events"})


@dataclass(slots=True)
class Reading:
    """A set body as fields of the model. `paths`: where each stood, for error messages; `prefix`:
    where the absent would have stood.

    `nested`: it came as v2 clients send it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    errors: list[Detail] = field(default_factory=list)
    nested: bool = False
    prefix: str = ""

    def fail(self, name: str, message: str) -> None:
        """Note what is wrong with a field (`headers.X-A` and the like, too)."""
        head, dot, rest = name.partition(".")
        where = self.paths.get(head, self.prefix + head)
        self.errors.append(Detail(where + dot + rest, message))


def read(kind: Kind, body: Any) -> Reading:
    """The fields a body sets. Raises BadRequestError when it is no object."""
    if not isinstance(body, dict):
        raise BadRequestError(
            "the body is not a JSON object", details=(Detail("", "not an object"),)
        )
    reading = Reading()
    foreign = _lone_foreign(kind, body)
    if foreign:
        reading.nested, reading.prefix = True, f"{foreign}."
        reading.warnings.append(f'"{foreign}" was read as "{kind}": enabled and events were taken')
        _take(reading, kind, body[foreign], reading.prefix, only=("enabled", "events"))
        return reading
    inner, flat = _parts(kind, body)
    if inner is not None:
        reading.nested, reading.prefix = True, f"{kind}."
        _take(reading, kind, inner, reading.prefix)
    _take(reading, kind, flat, "")
    return reading


def settable(kind: Kind) -> Iterator[str]:
    """The fields a body may set."""
    yield from (name for name in MODELS[kind].model_fields if name not in _NOT_SETTABLE)
    if kind == "webhook":
        yield "secret"


def _spellings(kind: Kind, name: str, *, nested: bool) -> tuple[str, ...]:
    """Every spelling of a field, the one that counts most first."""
    camel = re.sub(r"_(\w)", lambda m: m[1].upper(), name)
    more = _MORE_SPELLINGS.get((kind, name), ())
    if not nested:
        return (name, camel, *more)
    plain = () if name == "webhook_by_events" else (camel, name)
    return (*more, *plain)


def _lone_foreign(kind: Kind, body: Mapping[str, Any]) -> str | None:
    """The name of another sink, when its object is all there is."""
    keys = [key for key in body if key not in _ECHOED]
    if len(keys) == 1 and keys[0] in _FOREIGN - {kind} and isinstance(body[keys[0]], dict):
        return keys[0]
    return None


def _parts(kind: Kind, body: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The nested and the flat fields. What find echoes under the sink's name is neither, unless it
    is all there is: `{"webhook":{"instanceName":…,"webhook":{…}}}`.
    """
    flat = {key: value for key, value in body.items() if key != kind}
    inner = body.get(kind)
    if not isinstance(inner, dict):
        return None, body
    echo = inner.get(kind)
    if isinstance(echo, dict):
        inner = {key: value for key, value in inner.items() if key != kind}
        if not _sets_anything(kind, inner, nested=True):
            return None, flat if _sets_anything(kind, flat, nested=False) else echo
    return inner, flat


def _sets_anything(kind: Kind, fields: Mapping[str, Any], *, nested: bool) -> bool:
    return any(
        spelling in fields
        for name in settable(kind)
        for spelling in (*_spellings(kind, name, nested=nested), name)
    )


def _take(
    reading: Reading, kind: Kind, fields: Mapping[str, Any], prefix: str, only: tuple[str, ...] = ()
) -> None:
    """Add these fields to a reading, without replacing what it has; warn of the unknown."""
    nested = bool(prefix)
    known: set[str] = set()
    for name in only or tuple(settable(kind)):
        spellings = _spellings(kind, name, nested=nested)
        known.update(spellings)
        found = next((s for s in spellings if s in fields), None)
        if found is not None and name not in reading.values:
            reading.values[name] = fields[found]
            reading.paths[name] = prefix + found
    for key in fields:
        if key in known or key in _ECHOED:
            continue
        if nested and kind == "webhook" and key in _IGNORED_NESTED:
            if "webhook_by_events" not in reading.values:
                reading.warnings.append(f"{prefix}{key} is ignored here: use byEvents")
        else:
            reading.warnings.append(f"unknown field {prefix}{key[:64]} is ignored")
