"""A test event through the real sink, answered with what came of it. Nothing is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.services import Services
from schemas import codec
from schemas.delivery import Delivered, Message
from schemas.events import NAME_OF, StoredEvent
from schemas.order import Customer, Item, Order, Payment, commerce
from schemas.sink_config import SinkConfig
from sinks import open_sink


async def send_test(services: Services, config: SinkConfig) -> dict[str, Any]:
    """The answer of `POST /{kind}/test/{instance}`; a failure is a result, not an error."""
    event = _event(services, config)
    sink = open_sink(config, services.sink_context)
    try:
        message = Message(delivery_id=services.ids(), event=event, attempt=1, dedupe_id=event.id)
        started = services.now()
        (outcome,) = await sink.send([message])
    finally:
        await sink.close()
    exchange = outcome.exchange
    return {
        "success": isinstance(outcome, Delivered),
        "outcome": type(outcome).__name__.lower(),
        "reason": None if isinstance(outcome, Delivered) else outcome.reason,
        "event_id": event.id,
        "event": event.name,
        "duration_ms": round((services.now() - started) / 1000, 1),
        "response": {
            "status": exchange.status if exchange else None,
            "body": exchange.response_body.decode(errors="replace") if exchange else None,
        },
    }


def _event(services: Services, config: SinkConfig) -> StoredEvent:
    key = config.events[0] if config.events else "ORDER_PAID"
    name = NAME_OF.get(key, "order.paid")
    at = datetime.fromtimestamp(services.now() / 1_000_000, UTC)
    paid = commerce(
        order=Order(
            id="TEST-1",
            number="1",
            status="paid",
            currency="BRL",
            total=12990,
            paid_at=at,
            created_at=at,
        ),
        items=[
            Item(sku="TEST", name="Comporta test item", quantity=1, unit_price=12990, total=12990)
        ],
        customer=Customer(name="Comporta Test", email="test@example.com"),
        payments=[Payment(method="pix", amount=12990, paid_at=at, status="paid")],
    )
    return StoredEvent(
        id=services.ids(),
        seq=0,
        tenant=config.tenant,
        instance=config.instance,
        installation_id=None,
        driver="comporta",
        name=name,
        key="TEST-1",
        occurred_at=at,
        received_at=at,
        provider_event="test",
        provider_event_id=None,
        inbound_id=None,
        dedupe_key="test",
        test=True,
        superseded=False,
        data=codec.dumps(paid),
    )
