"""What the tests put into stores: appends with everything filled in that they do not care about."""

from dataclasses import dataclass, replace
from typing import Any

from gateway.ids import Ulids
from gateway.store.base import (
    Append,
    Appended,
    EventLog,
    Leased,
    NewDelivery,
    NewEvent,
    NewInbound,
    Settlement,
    Store,
)
from schemas.delivery import AttemptRecord

NOON = 1_767_268_800_000_000  # 2026-01-01 12:00 UTC
SECOND = 1_000_000
INSTALLATION = "01kdx0installation00000000"


@dataclass
class Clock:
    """The store's clock, in microseconds, that only a test moves."""

    now: int = NOON

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


class Counted:
    """Not random at all."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(size, "big")


class Maker:
    """Makes appends whose ids and keys are all different unless told otherwise."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ids = Ulids(clock, Counted())

    def delivery(self, sink: str = "sink-a", **fields: Any) -> NewDelivery:
        return NewDelivery(id=self.ids(), sink_id=sink, **fields)

    def event(self, *deliveries: NewDelivery, **fields: Any) -> NewEvent:
        event_id = self.ids()
        defaults: dict[str, Any] = {
            "id": event_id,
            "name": "order.paid",
            "key": f"order-{event_id}",
            "dedupe_key": f"paid-{event_id}",
            "occurred_at": self.clock.now,
            "provider_event": "orders/paid",
            "data": b'{"total":"10.00"}',
            "deliveries": deliveries,
        }
        return NewEvent(**(defaults | fields))

    def inbound(self, **fields: Any) -> NewInbound:
        inbound_id = self.ids()
        defaults: dict[str, Any] = {
            "id": inbound_id,
            "received_at": self.clock.now,
            "method": "POST",
            "query": b"{}",
            "headers": b"{}",
            "body": b"{}",
            "outcome": "accepted",
            "delivery_key": f"delivery-{inbound_id}",
        }
        return NewInbound(**(defaults | fields))

    def append(self, *events: NewEvent, key: str | None = None, **fields: Any) -> Append:
        """One request. `key`: its delivery key."""
        defaults: dict[str, Any] = {
            "tenant": "default",
            "instance": "loja-1",
            "installation_id": INSTALLATION,
            "driver": "shopify",
            "received_at": self.clock.now,
            "inbound": self.inbound(**({"delivery_key": key} if key else {})),
            "events": events,
        }
        return Append(**(defaults | fields))

    def sent(
        self, *sinks: str, leased: bool = False, ordered: bool = False, **fields: Any
    ) -> Append:
        """One request with one event for these sinks."""
        deliveries = (self.delivery(sink, leased=leased, ordered=ordered) for sink in sinks)
        return self.append(self.event(*deliveries, **fields))

    def retold(self, item: Append) -> Append:
        """The same request once more: everything as it was but the ids we gave."""
        assert item.inbound
        return replace(
            item,
            inbound=replace(item.inbound, id=self.ids()),
            events=tuple(
                replace(
                    event,
                    id=self.ids(),
                    deliveries=tuple(replace(d, id=self.ids()) for d in event.deliveries),
                )
                for event in item.events
            ),
        )


def delivered(leased: Leased, **fields: Any) -> Settlement:
    return Settlement(id=leased.id, token=leased.token, state="succeeded", **fields)


def attempt(number: int = 1, **fields: Any) -> AttemptRecord:
    defaults: dict[str, Any] = {"at": NOON + number, "duration_ms": 12.5, "outcome": "delivered"}
    return AttemptRecord(number=number, **(defaults | fields))


def failed(leased: Leased, state: Any = "pending", **fields: Any) -> Settlement:
    record = attempt(leased.attempts + 1, outcome="failed", status=503, error="no luck", **fields)
    return Settlement(
        id=leased.id,
        token=leased.token,
        state=state,
        delay=60,
        reason="no luck",
        attempt=record,
    )


async def count(store: Store, table: str, where: str = "1 = 1") -> int:
    rows = await store.database.fetch(f"SELECT count(*) FROM {table} WHERE {where}")
    counted: int = rows[0][0]
    return counted


async def states(store: Store) -> dict[str, str]:
    """The state of every delivery."""
    return dict(await store.database.fetch("SELECT id, state FROM deliveries"))


async def claim_all(log: EventLog, *sinks: str, ordered: bool = False) -> list[Leased]:
    return await log.claim(
        dict.fromkeys(sinks, 1000), ordered=frozenset(sinks) if ordered else frozenset()
    )


def told(answer: Appended) -> list[tuple[str, bool]]:
    return [(one.id, one.duplicate) for one in answer.events]
