"""What happened, as the API shows it: events, deliveries of providers, and our own to sinks."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel

from gateway.api.times import api_time
from gateway.directory import Directory
from gateway.store.inbound_history import LISTED_BODY
from gateway.store.keys import storable
from gateway.store.rows import AttemptRow, DeliveryRow, EventRow, InboundRow
from schemas import codec
from schemas.sink_config import is_secret_name

REDACTED = "[redacted]"


class LastDispatch(BaseModel):
    """The latest word of an event's deliveries."""

    id: str
    sink: str | None
    status: str
    attempt_response_code: int | None
    attempted_at: str | None


class DispatchData(BaseModel):
    """One delivery of an event to a sink. `sink`: its kind, with `/name` when it has one of its
    own; None when it is gone. `replay`: how often it was sent again by hand.
    """

    id: str
    event: str | None
    event_id: str | None
    instance: str
    sink: str | None
    sink_id: str
    status: str
    attempts_made: int
    replay: int
    attempt_response_code: int | None
    reason: str | None
    next_attempt_at: str | None
    created_at: str | None
    updated_at: str | None


class AttemptData(BaseModel):
    """One try. `request_headers` are redacted; `response_body`: its first 4 KiB."""

    number: int
    attempted_at: str | None
    duration_ms: float
    outcome: str
    request_headers: dict[str, str]
    response_status: int | None
    response_headers: dict[str, str]
    response_body: str
    error: str | None


class DispatchDetail(DispatchData):
    """With every try, oldest first."""

    attempts: list[AttemptData]


class EventData(BaseModel):
    """One canonical event in a list."""

    id: str
    seq: int
    name: str
    instance: str
    installation_id: str | None
    driver: str
    provider_event: str
    key: str
    status: str
    superseded: bool
    test: bool
    created_at: str | None
    occurred_at: str | None
    last_dispatch: LastDispatch | None


class EventDetail(EventData):
    """With the canonical data and every delivery."""

    version: int
    dedupe_key: str
    provider_event_id: str | None
    inbound_id: str | None
    data: Any
    dispatches: list[DispatchData]


class InboundEvent(BaseModel):
    """An event that came of a provider's delivery."""

    id: str
    name: str
    seq: int


class InboundData(BaseModel):
    """One delivery of a provider. `body`: text, or base64 when it is none (`body_encoding`); cut in
    lists (`body_truncated`). Secrets are redacted.
    """

    id: str
    driver: str
    instance: str
    installation_id: str | None
    outcome: str
    reason: str | None
    delivery_key: str
    method: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str
    body_encoding: str
    body_size: int
    body_truncated: bool
    events: list[InboundEvent]
    created_at: str | None


def dispatch_status(row: DeliveryRow) -> str:
    """The state of a delivery in the API's words."""
    if row.state == "leased":
        return "delivering"
    return "retrying" if row.state == "pending" and row.attempts else row.state


def dispatch_data(row: DeliveryRow, directory: Directory) -> DispatchData:
    """One delivery in a list."""
    return DispatchData(**_dispatch(row, directory))


def dispatch_detail(
    row: DeliveryRow, attempts: list[AttemptRow], directory: Directory
) -> DispatchDetail:
    """One delivery by itself."""
    return DispatchDetail(**_dispatch(row, directory), attempts=[_attempt(a) for a in attempts])


def _dispatch(row: DeliveryRow, directory: Directory) -> dict[str, Any]:
    # What waits for an earlier event of its key is due at the end of time.
    waits = row.state == "pending" and row.next_at < 2**62
    return {
        "id": row.id,
        "event": row.event_name,
        "event_id": row.event_id,
        "instance": row.instance,
        "sink": _sink_name(row, directory),
        "sink_id": row.sink_id,
        "status": dispatch_status(row),
        "attempts_made": row.attempts,
        "replay": row.replay,
        "attempt_response_code": row.status,
        "reason": row.reason,
        "next_attempt_at": api_time(row.next_at) if waits else None,
        "created_at": api_time(row.created_at),
        "updated_at": api_time(row.updated_at),
    }


def _sink_name(row: DeliveryRow, directory: Directory) -> str | None:
    sink = directory.sink(row.sink_id)
    if sink is None:
        return None
    return sink.kind if sink.name == "default" else f"{sink.kind}/{sink.name}"


def _attempt(row: AttemptRow) -> AttemptData:
    return AttemptData(
        number=row.number,
        attempted_at=api_time(row.at),
        duration_ms=row.duration_ms,
        outcome=row.outcome,
        request_headers=row.exchange.get("request_headers", {}),
        response_status=row.status,
        response_headers=row.exchange.get("response_headers", {}),
        response_body=row.body.decode(errors="replace"),
        error=row.error,
    )


def event_data(row: EventRow, directory: Directory) -> EventData:
    """One event in a list."""
    return EventData(**_event(row, directory))


def event_detail(row: EventRow, directory: Directory) -> EventDetail:
    """One event by itself. `data` goes out as it is stored, without being read."""
    return EventDetail(
        **_event(row, directory),
        version=row.event.version,
        dedupe_key=row.event.dedupe_key,
        provider_event_id=row.event.provider_event_id,
        inbound_id=row.event.inbound_id,
        data=orjson.Fragment(row.event.data),
        dispatches=[dispatch_data(d, directory) for d in row.deliveries],
    )


def _event(row: EventRow, directory: Directory) -> dict[str, Any]:
    event = row.event
    return {
        "id": event.id,
        "seq": event.seq,
        "name": event.name,
        "instance": event.instance,
        "installation_id": event.installation_id,
        "driver": event.driver,
        "provider_event": event.provider_event,
        "key": event.key,
        "status": row.status,
        "superseded": event.superseded,
        "test": event.test,
        "created_at": api_time(round(event.received_at.timestamp() * 1_000_000)),
        "occurred_at": api_time(round(event.occurred_at.timestamp() * 1_000_000)),
        "last_dispatch": _last(row.deliveries, directory),
    }


def _last(deliveries: list[DeliveryRow], directory: Directory) -> LastDispatch | None:
    if not deliveries:
        return None
    row = max(deliveries, key=lambda d: (d.attempted_at or 0, d.updated_at, d.id))
    return LastDispatch(
        id=row.id,
        sink=_sink_name(row, directory),
        status=dispatch_status(row),
        attempt_response_code=row.status,
        attempted_at=api_time(row.attempted_at),
    )


def inbound_data(found: InboundRow, *, whole: bool) -> InboundData:
    """One delivery of a provider; in lists (`whole` False) its body is cut."""
    row = found.row
    body = row.body if whole else row.body[:LISTED_BODY]
    text, encoding = _text(body, cut=len(body) < found.size)
    return InboundData(
        id=row.id,
        driver=found.driver,
        instance=found.instance,
        installation_id=found.installation_id,
        outcome=row.outcome,
        reason=row.reason,
        delivery_key=row.delivery_key,
        method=row.method,
        query=_shown(codec.loads(row.query), is_query=True),
        headers=_shown(codec.loads(row.headers), is_query=False),
        body=text,
        body_encoding=encoding,
        body_size=found.size,
        body_truncated=len(body) < found.size,
        events=[InboundEvent(id=i, name=name, seq=seq) for i, name, seq in found.events],
        created_at=api_time(row.received_at),
    )


def _text(body: bytes, *, cut: bool) -> tuple[str, str]:
    """A body as JSON can hold it, and how. A cut may go through the last character."""
    for end in range(len(body), max(-1, len(body) - (4 if cut else 1)), -1):
        try:
            return body[:end].decode(), "text"
        except UnicodeDecodeError:
            continue
    return base64.b64encode(body).decode(), "base64"


def _shown(named: Mapping[str, list[str]], *, is_query: bool) -> dict[str, str]:
    """Repeated values joined. Headers were redacted before they were stored; a query's secrets are
    told by their names (a signature is none).
    """
    return {
        storable(name): REDACTED
        if is_query and is_secret_name(name) and "signature" not in name.lower()
        else storable(", ".join(values))
        for name, values in named.items()
    }
