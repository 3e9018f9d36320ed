"""A delivery on its way out: what a sink is given, and what it answers.

Sinks return outcomes, they do not raise them: only the sink knows what 410, 429 or "no such stream"
means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schemas.events import StoredEvent


@dataclass(slots=True, kw_only=True)
class AttemptRecord:
    """One try, for whoever asks later. `headers` are redacted; `response_body` at most 4 KiB. `at`:
    microseconds.
    """

    number: int
    at: int
    duration_ms: float
    outcome: str
    request_headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: bytes = b""
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What a sink saw on the wire, for the record of the try."""

    request_headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: bytes = b""


@dataclass(slots=True, kw_only=True)
class Message:
    """One event for one sink, now. `attempt` counts from 1. `dedupe_id` is the event's id, but for
    manual replays, which a broker would otherwise swallow. `gap`: an earlier event of this key was
    given up (ordered sinks). `hop`: how many gateways the event had passed when it came to us.
    """

    delivery_id: str
    event: StoredEvent
    attempt: int
    dedupe_id: str
    traceparent: str | None = None
    gap: bool = False
    hop: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class Delivered:
    """The other side has it."""

    exchange: Exchange | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Retry:
    """Not now. `after`: seconds the other side asked for, which hold the whole sink.
    `counts=False`: our own trouble (no socket, dead resolver), which uses up no try.
    """

    reason: str
    after: float | None = None
    counts: bool = True
    exchange: Exchange | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class Rejected:
    """Never: trying again cannot help. `disable`: the other side wants nothing any more (410), the
    sink is switched off.
    """

    reason: str
    disable: bool = False
    exchange: Exchange | None = None


Outcome = Delivered | Retry | Rejected


@dataclass(slots=True, frozen=True, kw_only=True)
class Health:
    """What a sink says of itself for /status: e.g. whether its broker connection stands."""

    state: str
    detail: dict[str, Any] = field(default_factory=dict)
