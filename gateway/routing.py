"""Which sinks an event goes to: a pure function of the event and the sinks' configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from schemas.events import key_of
from schemas.sink_config import SinkConfig


def wants(sink: SinkConfig, name: str) -> bool:
    """Whether a sink's list of events has this one; an empty list is all."""
    return not sink.events or key_of(name) in sink.events


def targets(
    sinks: Iterable[SinkConfig], name: str, document: Callable[[], Any]
) -> tuple[SinkConfig, ...]:
    """The sinks that get the event `name`. `document` gives the envelope as values; asked for only
    by filters.

    A disabled sink gets it too: its deliveries are held until it is enabled. One that we switched
    off likewise.
    """
    return tuple(
        s for s in sinks if wants(s, name) and (s.filter is None or passes(s.filter, document()))
    )


def passes(expression: str, document: Any) -> bool:
    """Whether a JMESPath expression is truthy for the document; an expression that fails on it
    delivers nothing.
    """
    try:
        return bool(compiled(expression).search(document))
    except JMESPathError:
        return False


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Any:
    """A JMESPath expression, compiled once. Raises JMESPathError."""
    return jmespath.compile(expression)
