"""A collector of traces: takes OTLP over HTTP as any other does, and keeps the spans."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Proto

from tests.sinks.receiver import Got, Receiver, receiving


@dataclass
class Told:
    """One span as it arrived; ids in hex."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    failed: bool
    links: list[str]
    attributes: dict[str, str | int]


@dataclass
class Collector:
    """What it has; `raw`: every byte it got."""

    receiver: Receiver
    spans: list[Told] = field(default_factory=list)
    raw: bytes = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}"

    def take(self, got: Got) -> web.StreamResponse:
        assert got.target == "/v1/traces"
        self.raw += got.body
        asked = ExportTraceServiceRequest.FromString(got.body)
        for resource in asked.resource_spans:
            for scope in resource.scope_spans:
                self.spans += map(_told, scope.spans)
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")

    def named(self, name: str) -> list[Told]:
        return [span for span in self.spans if span.name == name]


def _told(span: Proto) -> Told:
    return Told(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        failed=span.status.code == 2,
        links=[link.span_id.hex() for link in span.links],
        attributes={
            a.key.removeprefix("comporta."): a.value.string_value or a.value.int_value
            for a in span.attributes
        },
    )


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    async with receiving() as receiver:
        collector = Collector(receiver)
        receiver.answer = collector.take
        yield collector
