"""What Prometheus is told. One registry per process, made here and handed on; no per-instance
labels.

https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.alerts import NoticeKind
from gateway.store.base import Appended
from schemas.sink_config import KINDS

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LAG_BUCKETS = (*BUCKETS, 300, 1800, 7200, 18000, 86400)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
NAMESPACE = "comporta"
# What a gauge of several processes says: what one saw last, or all of those that live.
Mode = Literal["mostrecent", "livesum"]
BY_DRIVER = ("driver", "outcome")


class _Maker:
    """Makes metrics of one registry, each with its labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._of: dict[str, Any] = {"registry": registry, "namespace": NAMESPACE}

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(name, about, labels, **self._of)

    def gauge(self, name: str, about: str, *labels: str, mode: Mode = "mostrecent") -> Gauge:
        return Gauge(name, about, labels, multiprocess_mode=mode, **self._of)

    def histogram(
        self, name: str, about: str, *labels: str, buckets: tuple[float, ...] = BUCKETS
    ) -> Histogram:
        return Histogram(name, about, labels, buckets=buckets, **self._of)


class Metrics:
    """Every metric of one process. Children of labels are looked up once and kept. `shared`: the
    folder where processes of one port count together (`gateway.shared_metrics`).
    """

    def __init__(self, version: str, shared: str | None = None) -> None:
        self.registry, self._shared = CollectorRegistry(), shared
        make = _Maker(self.registry)
        self._ingested = make.counter("ingress_requests", "Deliveries by outcome", *BY_DRIVER)
        self._ingest_seconds = make.histogram("ingress_seconds", "From the request to its answer")
        self._events = make.counter("events", "Events by driver and outcome", *BY_DRIVER)
        self._commit_seconds = make.histogram("store_commit_seconds", "One group commit")
        self._batch = make.histogram("store_batch_size", "Items of a group commit", buckets=SIZES)
        self._deliveries = make.counter("deliveries", "Attempts by outcome", "kind", "outcome")
        self._attempt = make.histogram("delivery_attempt_seconds", "One attempt", "kind")
        self._lag = make.histogram(
            "delivery_lag_seconds", "From receipt to delivery", "kind", buckets=LAG_BUCKETS
        )
        self.lease_lost = make.counter(
            "lease_lost", "Results dropped because another process had taken over"
        )
        self._dead = make.counter("dead_letters", "Deliveries that were given up", "kind")
        self.backlog = make.gauge("backlog", "Deliveries waiting", "kind")
        self.oldest = make.gauge(
            "oldest_waiting_seconds", "Age of the oldest waiting delivery", "kind"
        )
        self.circuits = make.gauge("circuits", "Sinks by circuit state", "state")
        self._polls = make.counter("polls", "Sweeps of lists by outcome", *BY_DRIVER)
        self._polled = make.counter(
            "polled_events", "Events that a list told before any webhook", "driver"
        )
        self.poll_lag = make.gauge("poll_lag_seconds", "How late the most overdue list is")
        self._enrichments = make.counter(
            "enrichments", "Completed deliveries by outcome", *BY_DRIVER
        )
        self.installations = make.gauge(
            "installations", "Installations by how they stand", "driver", "status"
        )
        self.websockets = make.gauge("websocket_connections", "Open connections", mode="livesum")
        self.pushed = make.counter("websocket_events", "Events sent to connected clients")
        self.closed = make.counter("websocket_closed", "Connections we closed", "code")
        self.notices = make.counter("notices", "What the gateway noticed of itself", "kind")
        self.alerts = make.counter("alerts", "Messages to the operator by outcome", "outcome")
        self.drift = make.counter("drift", "Signs of changed payloads", "driver", "reason")
        make.gauge("build_info", "Version", "version").labels(version).set(1)
        self._children: dict[tuple[str, ...], Counter] = {}
        self._by_kind: dict[str, tuple[Histogram, Histogram]] = {}
        ProcessCollector(namespace=NAMESPACE, registry=self.registry)
        self._begin()

    def _begin(self) -> None:
        """What must be seen when it happens first is there before it does."""
        for kind in KINDS:
            self._dead.labels(kind)
        for outcome in ("sent", "failed"):
            self.alerts.labels(outcome)
        for notice in get_args(NoticeKind):
            self.notices.labels(notice)

    def ingested(self, driver: str, outcome: str, seconds: float) -> None:
        """One delivery was answered."""
        key = (driver, outcome)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._ingested.labels(driver, outcome)
        child.inc()
        self._ingest_seconds.observe(seconds)

    def expect(self, drivers: Iterable[str]) -> None:
        """Have what is worth an alarm there at zero for each of these drivers."""
        for driver in drivers:
            for outcome in ("accepted", "quarantined", "verification_failed"):
                self._ingested.labels(driver, outcome)

    def appended(self, driver: str, told: Appended) -> None:
        """Events came to the store; some were known already."""
        for event in told.events:
            outcome = "superseded" if event.superseded else "stored"
            if told.duplicate or event.duplicate:
                outcome = "duplicate"
            key = ("event", driver, outcome)
            child = self._children.get(key)
            if child is None:
                child = self._children[key] = self._events.labels(driver, outcome)
            child.inc()

    def died(self, kind: str) -> None:
        """A delivery was given up."""
        self._dead.labels(kind).inc()

    def stored(self, name: str, value: float) -> None:
        """What the store observes: `commit_seconds` or `batch_size`."""
        (self._commit_seconds if name == "commit_seconds" else self._batch).observe(value)

    def delivered(self, kind: str, outcome: str, seconds: float, lag: float) -> None:
        """One attempt ended."""
        key = ("delivery", kind, outcome)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._deliveries.labels(kind, outcome)
        child.inc()
        pair = self._by_kind.get(kind)
        if pair is None:
            pair = self._by_kind[kind] = (self._attempt.labels(kind), self._lag.labels(kind))
        pair[0].observe(seconds)
        if outcome == "succeeded":
            pair[1].observe(lag)

    def polled(self, driver: str, outcome: str, found: int = 0) -> None:
        """A sweep of a list ended, or could not go on."""
        self._polls.labels(driver, outcome).inc()
        if found:
            self._polled.labels(driver).inc(found)

    def enriched(self, driver: str, outcome: str) -> None:
        """A delivery was completed, given up, or has to wait."""
        self._enrichments.labels(driver, outcome).inc()

    def render(self) -> bytes:
        """The text exposition."""
        if self._shared is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, self._shared)  # type: ignore[no-untyped-call]  # it has no types
        return generate_latest(together)
