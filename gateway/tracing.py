"""Traces: from a provider's request over the commit to each try at each sink.

Whatever is traced here or not, a `traceparent` that came with a request goes on with its events, in
the store as well, and out with every try. With COMPORTA_OTLP_ENDPOINT the spans between are told to
a collector; `gateway.otel` does that, and is imported only then.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import orjson

from gateway.settings import Settings, SettingsError

HEADER = "traceparent"
_IN_JSON = b'"traceparent"'
_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
SpanKind = Literal["server", "internal", "producer"]


class Span(Protocol):
    """Something that takes time. `traceparent`: what continues it."""

    traceparent: str

    def end(self, error: str | None = None, **attributes: str | int | None) -> None:
        """It is over; `error` says how it failed. Attributes that are None are left out."""


class Tracing(Protocol):
    """Begins spans."""

    def begin(self, name: str, kind: SpanKind, parent: str | None, *, link: bool = False) -> Span:
        """A span under `parent` (a traceparent), or the first of a trace. `link`: it was caused by
        its parent, which is over.
        """

    def close(self) -> None:
        """Tell what is left; may take seconds, so not in the event loop."""


def open_tracing(settings: Settings) -> Tracing | None:
    """What tells a collector, None where the settings name none. Raises SettingsError."""
    if not settings.otlp_endpoint:
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        raise SettingsError("COMPORTA_OTLP_ENDPOINT needs more: pip install 'comporta[otel]'")
    opened: Tracing = import_module("gateway.otel").open_otel(settings.otlp_endpoint)
    return opened


def valid(traceparent: str | None) -> str | None:
    """The traceparent if it is one."""
    return traceparent if traceparent and _FORM.fullmatch(traceparent) else None


def stored_trace(headers: bytes) -> str | None:
    """The traceparent among headers as they are stored (JSON, a list of values each)."""
    if _IN_JSON not in headers:
        return None
    values: Any = orjson.loads(headers).get(HEADER)
    return valid(values[0]) if values else None


def continued(trace: str, attempt_id: str) -> str:
    """A try's own traceparent in the trace of its event."""
    trace_id, flags = trace[3:35], trace[53:]
    return f"00-{trace_id}-{hashlib.sha256(attempt_id.encode()).hexdigest()[:16]}-{flags}"
