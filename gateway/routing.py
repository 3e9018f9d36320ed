"""Which sinks an event goes to: a pure function of the event and the sinks' configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol

import orjson
from jmespath.exceptions import JMESPathError

from schemas.events import ON_REQUEST, Event, StoredEvent, key_of
from schemas.expression import Expression
from schemas.sink_config import SinkConfig


def wants(sink: SinkConfig, name: str) -> bool:
    """Whether a sink's list of events has this one; an empty list is all but those ON_REQUEST."""
    return key_of(name) in sink.events if sink.events else name not in ON_REQUEST


def targets(
    sinks: Iterable[SinkConfig], name: str, document: Callable[[], Any]
) -> tuple[SinkConfig, ...]:
    """The sinks that get the event `name`. `document` gives the envelope as values; asked for only
    by filters.

    A disabled sink gets it too: its deliveries are held until it is enabled. One that we switched
    off likewise.
    """
    seen: list[Any] = []  # what filters are shown, once one asks

    def holds(expression: str) -> bool:
        if not seen:
            seen.append(document())
        return passes(expression, seen[0])

    return tuple(s for s in sinks if wants(s, name) and (s.filter is None or holds(s.filter)))


def passes(expression: str, document: Any) -> bool:
    """Whether a JMESPath expression is truthy for the document; an expression that fails on it
    delivers nothing.
    """
    try:
        return bool(compiled(expression).search(document))
    except JMESPathError:  # a filter must never be why an event is not accepted
        return False


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Expression:
    """A JMESPath expression, compiled once. Raises JMESPathError."""
    return Expression(expression)


class Source(Protocol):
    """Where an event comes from."""

    @property
    def instance(self) -> str: ...

    @property
    def driver(self) -> str: ...

    @property
    def installation_id(self) -> str | None: ...


def document(source: Source, event: Event | StoredEvent, data: bytes) -> dict[str, Any]:
    """What filters see of an event: the envelope as values. `data`: the event's, as JSON."""
    return {
        "event": event.name,
        "key": key_of(event.name),
        "instance": source.instance,
        "driver": source.driver,
        "installation_id": source.installation_id,
        "provider_event": event.provider_event,
        "test": event.test,
        "data": _values(data),
    }


def _values(data: bytes) -> Any:
    """JSON with ordinary numbers, which is what JMESPath calculates with."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)  # a lone surrogate
