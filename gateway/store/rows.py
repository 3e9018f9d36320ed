"""What reading the past gives: plain rows, times in microseconds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gateway.store.base import NewInbound
from schemas.events import StoredEvent

T = TypeVar("T")


class Page(list[T]):
    """Part of an answer, newest first. `below`: where to go on, None at the end. It may hold less
    than was asked for and yet have more below: no request looks at more rows than it may cost.
    """

    def __init__(self, items: Iterable[T] = (), below: Any = None) -> None:
        super().__init__(items)
        self.below = below


@dataclass(slots=True, kw_only=True)
class DeliveryRow:
    """One delivery. `state` as stored; `status`: of the last response; `attempted_at`: its last
    try, None before the first.
    """

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
    attempted_at: int | None = None

    @property
    def progress(self) -> str:
        """As the API calls it: pending, delivering, succeeded, retrying, dead or canceled."""
        if self.state == "pending" and self.attempts:
            return "retrying"
        return "delivering" if self.state == "leased" else self.state


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

    @property
    def last_dispatch(self) -> DeliveryRow | None:
        """The delivery that was tried last."""
        tried = [d for d in self.deliveries if d.attempted_at is not None]
        return max(tried, key=lambda d: (d.attempted_at, d.id), default=None)


@dataclass(slots=True, kw_only=True)
class InboundRow:
    """One stored delivery of a provider; `events`: (id, name, seq) of what came of it; `size`:
    bytes of the whole body, of which a list holds only the beginning.
    """

    tenant: str
    instance: str
    installation_id: str | None
    driver: str
    row: NewInbound
    events: list[tuple[str, str, int]]
    size: int


@dataclass(slots=True, kw_only=True)
class Wanted:
    """Filters; None is no filter. `after`, `before`: exclusive, microseconds. `ids`: of deliveries,
    for bulk work.
    """

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
    event_id: str | None = None
    ids: Sequence[str] | None = None
    after: int | None = None
    before: int | None = None


@dataclass(slots=True, kw_only=True)
class SinkTold:
    """What the store knows of one sink. `attempts`: by outcome, among the latest events of its
    instance.
    """

    backlog: int = 0
    retrying: int = 0
    dead: int = 0
    oldest_waiting_at: int | None = None
    last_success_at: int | None = None
    last_error_at: int | None = None
    last_error: str | None = None
    attempts: dict[str, int] = field(default_factory=dict)
