"""The catalogue of event names, and an event on its way from a driver to the store.

Commerce names are dotted lower case (`order.paid`); their key form for filters is upper snake
(`ORDER_PAID`). Messaging names are Evolution API's: some are irregular
(`group-participants.update`), so the table holds each.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

FAMILIES: dict[str, tuple[str, ...]] = {
    "order": (
        "order.created",
        "order.pending",
        "order.paid",
        "order.failed",
        "order.canceled",
        "order.expired",
        "order.refunded",
        "order.partially_refunded",
        "order.chargeback",
        "order.invoiced",
        "order.shipped",
        "order.delivered",
        "order.updated",
    ),
    "checkout": ("checkout.abandoned", "checkout.updated"),
    "subscription": (
        "subscription.created",
        "subscription.renewed",
        "subscription.past_due",
        "subscription.canceled",
        "subscription.updated",
    ),
    "shipment": (
        "shipment.created",
        "shipment.in_transit",
        "shipment.out_for_delivery",
        "shipment.delayed",
        "shipment.delivery_failed",
        "shipment.delivered",
        "shipment.returned",
        "shipment.lost",
        "shipment.updated",
    ),
    "return": (
        "return.requested",
        "return.approved",
        "return.in_transit",
        "return.delivered",
        "return.refunded",
        "return.voucher_issued",
        "return.exchange_approved",
        "return.canceled",
        "return.updated",
    ),
    "installation": ("installation.updated",),
    "provider": ("provider.event",),
    "sink": ("sink.circuit_opened", "sink.circuit_closed", "sink.disabled"),
}

# They tell of the gateway's own plumbing and can come often: only who names them gets them.
ON_REQUEST = frozenset({"sink.circuit_opened", "sink.circuit_closed"})

# Evolution API: config key -> wire name, https://doc.evolution-api.com/v2/en/configuration/webhooks
# The 21 names of the first group are those every version knows; the rest came later or left again.
MESSAGING: dict[str, str] = {
    "APPLICATION_STARTUP": "application.startup",
    "QRCODE_UPDATED": "qrcode.updated",
    "CONNECTION_UPDATE": "connection.update",
    "MESSAGES_UPSERT": "messages.upsert",
    "MESSAGES_UPDATE": "messages.update",
    "MESSAGES_DELETE": "messages.delete",
    "SEND_MESSAGE": "send.message",
    "CONTACTS_SET": "contacts.set",
    "CONTACTS_UPSERT": "contacts.upsert",
    "CONTACTS_UPDATE": "contacts.update",
    "PRESENCE_UPDATE": "presence.update",
    "CHATS_SET": "chats.set",
    "CHATS_UPSERT": "chats.upsert",
    "CHATS_UPDATE": "chats.update",
    "CHATS_DELETE": "chats.delete",
    "GROUPS_UPSERT": "groups.upsert",
    "GROUP_UPDATE": "groups.update",
    "GROUP_PARTICIPANTS_UPDATE": "group-participants.update",
    "NEW_JWT_TOKEN": "new.jwt-token",
    "TYPEBOT_START": "typebot.start",
    "TYPEBOT_CHANGE_STATUS": "typebot.change-status",
    "MESSAGES_SET": "messages.set",
    "MESSAGES_EDITED": "messages.edited",
    "SEND_MESSAGE_UPDATE": "send.message.update",
    "LABELS_EDIT": "labels.edit",
    "LABELS_ASSOCIATION": "labels.association",
    "CALL": "call",
    "REMOVE_INSTANCE": "remove.instance",
    "LOGOUT_INSTANCE": "logout.instance",
    "INSTANCE_CREATE": "instance.create",
    "INSTANCE_DELETE": "instance.delete",
    "STATUS_INSTANCE": "status.instance",
    "MESSAGING_HISTORY_SET": "messaging-history.set",
    "CHAMA_AI_ACTION": "chama-ai.action",
}
SEED_KEYS: tuple[str, ...] = tuple(MESSAGING)[:21]

# Inside a family a later state of affairs weighs more; `*.updated` says nothing about the state.
WEIGHTS: dict[str, int] = {
    "order.updated": 0,
    "order.created": 10,
    "order.pending": 20,
    "order.failed": 30,
    "order.expired": 40,
    "order.canceled": 45,
    "order.paid": 50,
    "order.invoiced": 60,
    "order.shipped": 70,
    "order.delivered": 80,
    "order.partially_refunded": 85,
    "order.refunded": 90,
    "order.chargeback": 95,
    "shipment.updated": 0,
    "shipment.created": 10,
    "shipment.in_transit": 20,
    "shipment.delayed": 20,
    "shipment.out_for_delivery": 30,
    "shipment.delivery_failed": 30,
    "shipment.lost": 50,
    "shipment.returned": 60,
    "shipment.delivered": 60,
    "return.updated": 0,
    "return.requested": 10,
    "return.approved": 20,
    "return.in_transit": 30,
    "return.delivered": 40,
    "return.exchange_approved": 50,
    "return.voucher_issued": 50,
    "return.refunded": 50,
    "return.canceled": 60,
}

COMMERCE_NAMES: tuple[str, ...] = tuple(name for names in FAMILIES.values() for name in names)
WIRE_NAMES: tuple[str, ...] = COMMERCE_NAMES + tuple(MESSAGING.values())


def to_key(name: str) -> str:
    """The key form of any spelling: `order.paid`, `Order-Paid` and `ORDER_PAID` are all
    `ORDER_PAID`.
    """
    return name.strip().upper().replace(".", "_").replace("-", "_")


KEY_OF: dict[str, str] = {name: to_key(name) for name in COMMERCE_NAMES} | {
    wire: key for key, wire in MESSAGING.items()
}
NAME_OF: dict[str, str] = {key: name for name, key in KEY_OF.items()}
# Both spellings are in use upstream for one and the same event.
ALIASES: dict[str, str] = {"GROUPS_UPDATE": "GROUP_UPDATE"}


def key_of(name: str) -> str:
    """The key a filter knows `name` (a wire name) by."""
    return KEY_OF.get(name) or to_key(name)


def family_of(name: str) -> str:
    """The part before the first dot, such as `order` or `messages`."""
    return name.partition(".")[0]


def is_messaging(name: str) -> bool:
    """Whether `name` is one of Evolution API's wire names."""
    return KEY_OF.get(name) in MESSAGING


def expand(spelling: str) -> tuple[str, ...]:
    """The keys that one entry of a sink's `events` names; empty when it names nothing we know.

    Takes any case and separator, a group (`order.*`, `ORDER_*`) and the aliases of upstream.
    """
    key = to_key(spelling)
    key = ALIASES.get(key, key)
    if key in NAME_OF:
        return (key,)
    if key.endswith("_*"):
        return tuple(to_key(name) for name in FAMILIES.get(key[:-2].lower(), ()))
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One canonical fact, as a driver's pure `normalize` returns it.

    `name`: a name of this catalogue. `key`: the ordering key (order id, else checkout,
    subscription, return or shipment id). `dedupe_key`: names the fact itself, so that the same fact
    told twice is one event; unique per installation together with `name`. `occurred_at`: the
    provider's time of the fact (aware, UTC) or None for receipt. `data`:
    `schemas.order.CommerceData` for commerce, the provider's own object otherwise. `defer_seconds`:
    emit only after that much silence (0: at once) about `defer_as`, which a newer snapshot replaces
    and `Driver.settles` ends. `drift`: signs that the provider changed its payload, as `what:word`
    (`unknown_event:order.frozen`, `unknown_status:weird`, `missing:buyer.email`).
    """

    name: str
    key: str
    dedupe_key: str
    provider_event: str
    data: Any
    occurred_at: datetime | None = None
    provider_event_id: str | None = None
    defer_seconds: int = 0
    defer_as: str | None = None
    test: bool = False
    drift: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as the store keeps it and sinks send it; immutable. `data` is canonical JSON. Times:
    aware, UTC. `hop`: how many gateways it had passed when it came to us. `trace`: the
    traceparent that its deliveries continue.
    """

    id: str
    seq: int
    tenant: str
    instance: str
    installation_id: str | None
    driver: str
    name: str
    key: str
    occurred_at: datetime
    received_at: datetime
    provider_event: str
    provider_event_id: str | None
    inbound_id: str | None
    dedupe_key: str
    test: bool
    superseded: bool
    data: bytes
    version: int = 1
    hop: int = 0
    trace: str | None = None
