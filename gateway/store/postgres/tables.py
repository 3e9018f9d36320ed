"""Rows as columns: one array per column, so that any number of rows is one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

INBOUNDS = {
    "id": "text",
    "tenant": "text",
    "instance": "text",
    "installation_id": "text",
    "driver": "text",
    "received_at": "bigint",
    "method": "text",
    "query": "bytea",
    "headers": "bytea",
    "body": "bytea",
    "outcome": "text",
    "reason": "text",
    "delivery_key": "text",
    "events": "text",
}
EVENTS = {
    "seq": "bigint",
    "id": "text",
    "tenant": "text",
    "instance": "text",
    "installation_id": "text",
    "driver": "text",
    "name": "text",
    "key": "text",
    "dedupe_key": "text",
    "weight": "bigint",
    "occurred_at": "bigint",
    "received_at": "bigint",
    "provider_event": "text",
    "provider_event_id": "text",
    "inbound_id": "text",
    "version": "bigint",
    "test": "bigint",
    "hop": "bigint",
    "trace": "text",
    "data": "bytea",
}
DELIVERIES = {
    "id": "text",
    "seq": "bigint",
    "sink_id": "text",
    "tenant": "text",
    "instance": "text",
    "okey": "text",
    "leased": "boolean",
}
ATTEMPTS = {
    "delivery_id": "text",
    "number": "bigint",
    "at": "bigint",
    "duration_ms": "float8",
    "outcome": "text",
    "status": "bigint",
    "error": "text",
    "exchange": "bytea",
    "body": "bytea",
}
JOBS = {"id": "text", "kind": "text", "ukey": "text", "due_in": "bigint", "doc": "bytea"}
RESULTS = {
    "id": "text",
    "token": "bigint",
    "state": "text",
    "delay": "bigint",
    "counts": "bigint",
    "status": "bigint",
    "reason": "text",
}


def unnest(types: Mapping[str, str], alias: str, first: int = 1) -> str:
    """The FROM item that turns parameters `$first …` back into rows."""
    arrays = ", ".join(f"${first + i}::{kind}[]" for i, kind in enumerate(types.values()))
    return f"unnest({arrays}) AS {alias} ({', '.join(types)})"


def columns(types: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Rows turned into the arrays `unnest` takes; empty ones for no rows."""
    return list(zip(*rows, strict=True)) if rows else [()] * len(types)
