"""A test event through the real sink, answered with what came of it. Nothing is stored."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pydantic import BaseModel

from gateway.lane import LONGEST_SEND
from gateway.services import Services
from schemas import codec
from schemas.delivery import Delivered, Message, Outcome, Retry
from schemas.errors import RequestError
from schemas.events import NAME_OF, StoredEvent
from schemas.order import Customer, Item, Order, Payment, commerce
from schemas.sink_config import SinkConfig
from sinks import open_sink
from sinks.base import Context


class TrialResponse(BaseModel):
    """What the other side said, where it says anything."""

    status: int | None
    body: str | None


class SinkTrial(BaseModel):
    """`outcome`: delivered, retry (it would be tried again) or rejected; `reason`: of a failure."""

    success: bool
    outcome: str
    reason: str | None
    event_id: str
    event: str
    duration_ms: float
    response: TrialResponse


async def send_test(services: Services, config: SinkConfig) -> SinkTrial:
    """The answer of `POST /{kind}/test/{instance}`; a failure is a result, not an error."""
    event = _event(services, config)
    message = Message(delivery_id=services.ids(), event=event, attempt=1, dedupe_id=event.id)
    started = services.now()
    outcome = await _try(config, services.sink_context, message)
    exchange = outcome.exchange
    return SinkTrial(
        success=isinstance(outcome, Delivered),
        outcome=type(outcome).__name__.lower(),
        reason=None if isinstance(outcome, Delivered) else outcome.reason,
        event_id=event.id,
        event=event.name,
        duration_ms=round((services.now() - started) / 1000, 1),
        response=TrialResponse(
            status=exchange.status if exchange else None,
            body=exchange.response_body.decode(errors="replace") if exchange else None,
        ),
    )


async def _try(config: SinkConfig, context: Context, message: Message) -> Outcome:
    """What came of it; also a sink that cannot even be opened is a result."""
    try:
        sink = open_sink(config, context)
        try:
            async with asyncio.timeout(LONGEST_SEND):
                (outcome,) = await sink.send([message])
        finally:
            await sink.close()
    except RequestError:
        raise
    except Exception as error:  # noqa: BLE001 - whoever configures the sink wants to know
        return Retry(reason=f"{type(error).__name__}: {error}"[:300])
    return outcome


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
