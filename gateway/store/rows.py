"""What reading the past gives: plain rows, times in microseconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.store.base import NewInbound
from schemas.events import StoredEvent


@dataclass(slots=True, kw_only=True)
class DeliveryRow:
    """One delivery. `state` as stored; `status`: of the last response."""

    id: str
    seq: int
    sink_id: str
    tenant: str
    instance: str
    state: str
    attempts: int
    replay: int
    next_at: int
    created_at: int
    updated_at: int
    status: int | None
    reason: str | None
    event_id: str | None
    event_name: str | None


@dataclass(slots=True, kw_only=True)
class AttemptRow:
    """One try of a delivery."""

    number: int
    at: int
    duration_ms: float
    outcome: str
    status: int | None
    error: str | None
    exchange: dict[str, Any]
    body: bytes


@dataclass(slots=True, kw_only=True)
class EventRow:
    """One event, its derived status and its deliveries, oldest first."""

    event: StoredEvent
    deliveries: list[DeliveryRow]

    @property
    def status(self) -> str:
        """`superseded`, `pending` while a delivery is not final, else `dispatched`."""
        if self.event.superseded:
            return "superseded"
        waiting = any(d.state in {"pending", "leased"} for d in self.deliveries)
        return "pending" if waiting else "dispatched"


@dataclass(slots=True, kw_only=True)
class InboundRow:
    """One stored delivery of a provider; `events`: (id, name, seq) of what came of it."""

    tenant: str
    instance: str
    installation_id: str | None
    driver: str
    row: NewInbound
    events: list[tuple[str, str, int]]


@dataclass(slots=True, kw_only=True)
class Wanted:
    """Filters; None is no filter. `after`, `before`: exclusive, microseconds."""

    tenant: str
    instances: Collection[str] | None = None
    name: str | None = None
    instance: str | None = None
    installation_id: str | None = None
    driver: str | None = None
    key: str | None = None
    status: str | None = None
    outcome: str | None = None
    sink_ids: Sequence[str] | None = None
    after: int | None = None
    before: int | None = None


@dataclass(slots=True, kw_only=True)
class SinkTold:
    """What the store knows of one sink."""

    backlog: int = 0
    retrying: int = 0
    dead: int = 0
    oldest_waiting_at: int | None = None
    last_success_at: int | None = None
    last_error_at: int | None = None
    last_error: str | None = None
    attempts: dict[str, int] = field(default_factory=dict)
