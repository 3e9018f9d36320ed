"""What Prometheus is told. One registry per process, made here and handed on; no per-instance
labels.

https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LAG_BUCKETS = (*BUCKETS, 300, 1800, 7200, 18000, 86400)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Every metric of one process. Children of labels are looked up once and kept."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry, "namespace": "comporta"}
        self._ingested = Counter(
            "ingress_requests", "Deliveries by outcome", ["driver", "outcome"], **made
        )
        self._ingest_seconds = Histogram(
            "ingress_seconds", "From the request to its answer", buckets=BUCKETS, **made
        )
        self._commit_seconds = Histogram(
            "store_commit_seconds", "One group commit", buckets=BUCKETS, **made
        )
        self._batch = Histogram(
            "store_batch_size", "Items of a group commit", buckets=SIZES, **made
        )
        self._deliveries = Counter("deliveries", "Attempts by outcome", ["kind", "outcome"], **made)
        self._attempt = Histogram(
            "delivery_attempt_seconds", "One attempt", ["kind"], buckets=BUCKETS, **made
        )
        self._lag = Histogram(
            "delivery_lag_seconds",
            "From receipt to delivery",
            ["kind"],
            buckets=LAG_BUCKETS,
            **made,
        )
        self.lease_lost = Counter(
            "lease_lost", "Results dropped because another process had taken over", **made
        )
        self.backlog = Gauge("backlog", "Deliveries waiting", ["kind"], **made)
        self.oldest = Gauge(
            "oldest_waiting_seconds", "Age of the oldest waiting delivery", ["kind"], **made
        )
        self.circuits = Gauge("circuits", "Sinks by circuit state", ["state"], **made)
        self._polls = Counter("polls", "Sweeps of lists by outcome", ["driver", "outcome"], **made)
        self._polled = Counter(
            "polled_events", "Events that a list told before any webhook", ["driver"], **made
        )
        self.poll_lag = Gauge("poll_lag_seconds", "How late the most overdue list is", **made)
        self._enrichments = Counter(
            "enrichments", "Completed deliveries by outcome", ["driver", "outcome"], **made
        )
        self.websockets = Gauge("websocket_connections", "Open connections", **made)
        self.pushed = Counter("websocket_events", "Events sent to connected clients", **made)
        self.closed = Counter("websocket_closed", "Connections we closed", ["code"], **made)
        self.notices = Counter("notices", "What the gateway noticed of itself", ["kind"], **made)
        self.drift = Counter("drift", "Signs of changed payloads", ["driver", "reason"], **made)
        Gauge("build_info", "Version", ["version"], **made).labels(version).set(1)
        self._children: dict[tuple[str, ...], Counter] = {}
        self._by_kind: dict[str, tuple[Histogram, Histogram]] = {}

    def ingested(self, driver: str, outcome: str, seconds: float) -> None:
        """One delivery was answered."""
        key = (driver, outcome)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._ingested.labels(driver, outcome)
        child.inc()
        self._ingest_seconds.observe(seconds)

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
        return generate_latest(self.registry)
