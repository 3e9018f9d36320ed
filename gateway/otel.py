"""Spans for a collector, by OTLP over HTTP. Needs the extra `otel`; imported only where a collector
is named.

OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, …) are read, too:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from gateway.tracing import Span, SpanKind
from gateway.version import VERSION

PATH = "/v1/traces"
SECONDS = 3  # for the collector to take some spans; a stop may have to wait for that once
KINDS = {
    "server": trace.SpanKind.SERVER,
    "internal": trace.SpanKind.INTERNAL,
    "producer": trace.SpanKind.PRODUCER,
}


class OtelSpan:
    """See `gateway.tracing.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        told = span.get_span_context()
        self.traceparent = f"00-{told.trace_id:032x}-{told.span_id:016x}-{told.trace_flags:02x}"

    def end(self, error: str | None = None, **attributes: str | int | None) -> None:
        """See `gateway.tracing.Span.end`."""
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(f"comporta.{name}", value)
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class Otel:
    """See `gateway.tracing.Tracing`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("comporta", VERSION)

    def begin(self, name: str, kind: SpanKind, parent: str | None, *, link: bool = False) -> Span:
        """See `gateway.tracing.Tracing.begin`."""
        if parent is None:
            return OtelSpan(self._tracer.start_span(name, kind=KINDS[kind]))
        cause = SpanContext(
            trace_id=int(parent[3:35], 16),
            span_id=int(parent[36:52], 16),
            is_remote=True,
            # What a provider would rather not have recorded is ours to record.
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        context = trace.set_span_in_context(NonRecordingSpan(cause))
        links = [Link(cause)] if link else None
        return OtelSpan(self._tracer.start_span(name, context, kind=KINDS[kind], links=links))

    def close(self) -> None:
        """See `gateway.tracing.Tracing.close`."""
        self._provider.shutdown()


def open_otel(endpoint: str) -> Otel:
    """What tells the collector at `endpoint` (with or without /v1/traces)."""
    url = endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH
    resource = Resource.create({"service.name": "comporta", "service.version": VERSION})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=url, timeout=SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Otel(provider)
