"""Events, messages and what the gateway lends, for tests of sinks."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from schemas.delivery import Message
from schemas.events import StoredEvent
from sinks.base import Context, Http

RECEIVED = datetime(2024, 1, 15, 10, 45, 0, 123456, UTC)
OCCURRED = datetime(2024, 1, 15, 10, 44, 59, 0, UTC)


def an_event(number: int = 1, name: str = "order.paid", **changes: Any) -> StoredEvent:
    fields: dict[str, Any] = {
        "id": f"01hm6z{number:020d}",
        "seq": number,
        "tenant": "default",
        "instance": "loja-1",
        "installation_id": "01hm6y00000000000000000000",
        "driver": "shopify",
        "name": name,
        "key": f"order-{number}",
        "occurred_at": OCCURRED,
        "received_at": RECEIVED,
        "provider_event": "orders/paid",
        "provider_event_id": None,
        "inbound_id": None,
        "dedupe_key": f"{number}",
        "test": False,
        "superseded": False,
        "data": b'{"order":{"id":"%d","total":12345}}' % number,
    }
    return StoredEvent(**(fields | changes))


def a_message(event: StoredEvent | None = None, **changes: Any) -> Message:
    event = event or an_event()
    fields: dict[str, Any] = {
        "delivery_id": f"d-{event.id}",
        "event": event,
        "attempt": 1,
        "dedupe_id": event.id,
    }
    return Message(**(fields | changes))


def wall_clock() -> int:
    return time.time_ns() // 1000


async def any_address(host: str, port: int) -> tuple[str, ...]:
    return (host,)


def a_context(
    http: Http, server_wide: Mapping[str, Mapping[str, Any]] | None = None, **changes: Any
) -> Context:
    fields: dict[str, Any] = {
        "http": http,
        "now": wall_clock,
        "server_url": "https://gate.example",
        "user_agent": "Comporta/0.0-test",
        "server_wide": server_wide or {},
        "guard": any_address,
        "claim_url": lambda tenant, event: f"https://gate.example/claims/{tenant}/{event}",
        "timeout": 5.0,
    }
    return Context(**(fields | changes))
