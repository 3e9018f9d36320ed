"""What each Shopify topic says, as events.

https://shopify.dev/docs/api/webhooks
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from drivers.base import fact, leftovers, raw_event
from drivers.read import (
    currency,
    dig,
    flag,
    instant,
    integer,
    money,
    need,
    record,
    records,
    text,
)
from drivers.shopify_order import (
    STATUS,
    buyer,
    coupons,
    ident,
    item,
    money_of,
    newest,
    notes_of,
    order_data,
    order_part,
    place,
    refund_amount,
    refunded_item,
    shipment,
    visit,
)
from schemas.events import Event
from schemas.order import Checkout, Order, Subscription, commerce
from schemas.request import Verified

POLLED_CHECKOUT = "checkouts/polled"  # our own word for a checkout that a list told of
# What the admin's "send test notification" uses for an order's id.
TEST_ORDER = "820982911946154508"
ORDER_TOPICS = {
    "orders/create": "order.created",
    "orders/paid": "order.paid",
    "orders/cancelled": "order.canceled",
    "orders/fulfilled": "order.shipped",
    "orders/partially_fulfilled": "order.shipped",
}
# orders/updated tells a fact of ours only by these financial states.
UPDATED = {
    "refunded": "order.refunded",
    "partially_refunded": "order.partially_refunded",
    "expired": "order.expired",
    "voided": "order.canceled",
}
# Fulfillment.shipment_status and FulfillmentEvent.status
# https://shopify.dev/docs/api/admin-rest/latest/resources/fulfillmentevent
SHIPMENT = {
    "delivered": "order.delivered",
    "in_transit": "shipment.in_transit",
    "out_for_delivery": "shipment.out_for_delivery",
    "delayed": "shipment.delayed",
    "attempted_delivery": "shipment.delivery_failed",
    "failure": "shipment.delivery_failed",
} | dict.fromkeys(
    (
        "label_printed",
        "label_purchased",
        "confirmed",
        "ready_for_pickup",
        "picked_up",
        "carrier_picked_up",
    ),
    "shipment.updated",
)
HAPPENS_ONCE = {"order.delivered", "shipment.in_transit"}
# https://shopify.dev/docs/api/admin-graphql/latest/enums/SubscriptionContractSubscriptionStatus
CONTRACT = {"active", "paused", "expired", "failed", "stale", "cancelled"}
BILLING = {
    "subscription_billing_attempts/success": "subscription.renewed",
    "subscription_billing_attempts/failure": "subscription.past_due",
}


def raw(v: Verified, topic: str, key: str | None, drift: tuple[str, ...] = ()) -> Event:
    return raw_event(v, provider_event=topic, key=key, provider_event_id=_event_id(v), drift=drift)


def _event_id(v: Verified) -> str | None:
    return v.header("x-shopify-event-id") or v.header("shopify-event-id")


def _event(v: Verified, name: str, topic: str, key: str, *facts: Any, **known: Any) -> Event:
    return Event(
        name=name,
        key=key,
        dedupe_key=fact(key, *facts),
        provider_event=topic,
        provider_event_id=_event_id(v),
        **known,
    )


def _when(v: Verified, *values: Any) -> datetime | None:
    """The first of these times, else when Shopify says that it happened."""
    return next((t for t in map(instant, (*values, v.header("x-shopify-triggered-at"))) if t), None)


def order_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    word = text(body.get("financial_status"))
    is_known = word is None or word in STATUS
    name = ORDER_TOPICS.get(topic) or UPDATED.get(word or "")
    if name is None and is_known:
        return []
    drift = () if is_known else (f"unknown_status:{word}",)
    return [_order_fact(v, topic, body, name or "order.updated", drift)]


def polled_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    """Every fact that an order of a list tells: those told before are duplicates."""
    status = STATUS.get(text(body.get("financial_status")) or "")
    told = {
        "order.created": True,
        "order.paid": status in {"paid", "partially_refunded", "refunded"},
        "order.shipped": bool(_shipped(body)),
        "order.expired": status == "expired",
        "order.canceled": bool(body.get("cancelled_at")) or status == "canceled",
        "order.partially_refunded": status == "partially_refunded",
        "order.refunded": status == "refunded",
    }
    return [_order_fact(v, topic, body, name, ()) for name, is_so in told.items() if is_so]


def _order_fact(
    v: Verified, topic: str, body: dict[str, Any], name: str, drift: tuple[str, ...]
) -> Event:
    key = ident(body) or need(body, "id")
    parcel = newest(_shipped(body))
    times = {"order.created": "created_at", "order.canceled": "cancelled_at"}
    at = _when(v, body.get(times.get(name, ""))) or instant(body.get("updated_at"))
    facts: dict[str, tuple[Any, ...]] = {
        "order.shipped": (ident(parcel), text(parcel.get("tracking_number"))),
        "order.refunded": ("refund", _last_refund(body)),
        "order.partially_refunded": ("refund", _last_refund(body)),
        "order.updated": (instant(body.get("updated_at")),),
    }
    known: dict[str, dict[str, Any]] = {
        "order.paid": {"paid_at": at},
        "order.shipped": {"shipped_at": at},
        "order.refunded": {"refunded_at": at},
        "order.partially_refunded": {"refunded_at": at},
        "order.canceled": {"canceled_at": at},
    }
    data = order_data(body, order_part(body, **known.get(name, {})))
    if name == "order.created" and body.get("financial_status") == "pending":
        data["extra"]["payment_pending"] = True
    if topic == "orders/partially_fulfilled":
        data["extra"]["partial"] = True
    is_test = flag(body.get("test")) or flag(v.header("x-shopify-test")) or key == TEST_ORDER
    return _event(
        v,
        name,
        topic,
        key,
        *facts.get(name, ()),
        occurred_at=at,
        data=data,
        test=bool(is_test),
        drift=drift,
    )


def _shipped(body: dict[str, Any]) -> list[dict[str, Any]]:
    parcels = records(body.get("fulfillments"))
    return [p for p in parcels if p.get("status") in {None, "success"}]


def _last_refund(body: dict[str, Any]) -> str | None:
    """The refund that paid something back last: it names the fact for every topic that tells it."""
    paying = [r for r in records(body.get("refunds")) if refund_amount(r, money_of(body))]
    return ident(newest(paying))


def refund_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    """Whether a refund is partial only the order can tell: without it, it counts as whole."""
    order, key = record(dig(v.enrichment, "order", "order")), need(body, "order_id")
    transactions = records(body.get("transactions"))
    money_is = currency(dig(transactions, 0, "currency")) or money_of(order)
    paid_back = refund_amount(body, money_is) if "transactions" in body else None
    is_partial = order.get("financial_status") == "partially_refunded"
    name = "order.partially_refunded" if is_partial else "order.refunded"
    if paid_back == 0:
        name = "order.updated"  # asked for, refused, or only goods taken back
    at = _when(v, body.get("processed_at"), body.get("created_at"))
    data = order_data(order, order_part(order)) if order else commerce()
    whole = data["order"] or Order(status="refunded" if paid_back != 0 else None)
    whole.id, whole.currency, whole.note = key, money_is, text(body.get("note")) or whole.note
    whole.refunded = paid_back if whole.refunded is None else whole.refunded
    whole.refunded_at = at if name != "order.updated" else None
    data["order"] = whole
    data["items"] = [refunded_item(r, money_is) for r in records(body.get("refund_line_items"))]
    data["extra"] |= leftovers({"refund_id": ident(body), "refund_amount": paid_back})
    states = [text(t.get("status")) for t in transactions] if name == "order.updated" else []
    return [_event(v, name, topic, key, "refund", ident(body), *states, occurred_at=at, data=data)]


def fulfillment_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    is_scan = topic == "fulfillment_events/create"
    word = text(body.get("status" if is_scan else "shipment_status"))
    if not is_scan and word is None and body.get("status") not in {None, "success"}:
        return []
    if body.get("status") in {"cancelled", "error"}:
        return []
    name = SHIPMENT.get(word, "shipment.updated") if word else "order.shipped"
    is_odd = word is not None and word not in SHIPMENT
    parcel = body | {"id": body.get("fulfillment_id"), "shipment_status": word} if is_scan else body
    at = _when(v, body.get("happened_at"), body.get("updated_at"))
    key = need(body, "order_id")
    when = None if name in HAPPENS_ONCE or at is None else at.date()
    facts = (text(body.get("tracking_number")),) if word is None else (word, when)
    order = Order(
        id=key,
        fulfillment_status=word or "fulfilled",
        shipped_at=at if name == "order.shipped" else None,
        delivered_at=at if name == "order.delivered" else None,
    )
    destination = record(body.get("destination"))
    data = commerce(
        order=order,
        items=[item(line, None) for line in records(body.get("line_items"))],
        customer=buyer({"email": body.get("email"), "shipping_address": destination}, {}),
        shipping_address=place(destination),
        shipments=[shipment(parcel)],
    )
    drift = (f"unknown_status:{word}",) if is_odd else ()
    return [
        _event(v, name, topic, key, ident(parcel), *facts, occurred_at=at, data=data, drift=drift)
    ]


def checkout_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    """Shopify never says "abandoned": silence does, unless an order or a newer state comes."""
    if body.get("completed_at"):
        return []
    key, money_is, updated = need(body, "id"), money_of(body), instant(body.get("updated_at"))
    minutes = integer(v.settings.get("abandoned_after_minutes"))
    notes, wait = notes_of(body), 60 * (60 if minutes is None else max(minutes, 0))
    if topic == POLLED_CHECKOUT and updated:
        wait = max(0, wait - round((v.received_at - updated).total_seconds()))
    data = commerce(
        checkout=Checkout(
            id=key,
            url=text(body.get("abandoned_checkout_url")),
            currency=money_is,
            total=money(body.get("total_price"), money_is),
            abandoned_at=updated,
        ),
        items=[item(line, money_is) for line in records(body.get("line_items"))],
        customer=buyer(body, notes),
        shipping_address=place(body.get("shipping_address")),
        billing_address=place(body.get("billing_address")),
        coupons=coupons(body, money_is),
        tracking=visit(body, notes),
        extra=leftovers(
            {"checkout_token": body.get("token"), "cart_token": body.get("cart_token")}
        ),
    )
    return [
        _event(
            v,
            "checkout.abandoned",
            topic,
            key,
            updated,
            occurred_at=_when(v, updated),
            data=data,
            defer_seconds=wait,
            defer_as=text(body.get("token")) or key,
        )
    ]


def dispute_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    """An inquiry asks before money moves; a chargeback has taken it."""
    is_inquiry = body.get("type") == "inquiry"
    order, dispute, money_is = text(body.get("order_id")), need(body, "id"), money_of(body)
    told = {name: body.get(name) for name in ("id", "type", "reason", "status", "evidence_due_by")}
    told["amount"] = money(body.get("amount"), money_is)
    data = commerce(
        order=Order(
            id=order,
            status=None if is_inquiry else "chargeback",
            raw_status=text(body.get("status")),
            currency=money_is,
        ),
        extra={"dispute": leftovers(told)},
    )
    return [
        _event(
            v,
            "order.updated" if is_inquiry else "order.chargeback",
            topic,
            order or dispute,
            "dispute",
            dispute,
            occurred_at=_when(v, body.get("initiated_at")),
            data=data,
        )
    ]


def contract_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    key, word = ident(body) or need(body, "id"), (text(body.get("status")) or "").lower()
    name = "subscription.created" if topic.endswith("/create") else "subscription.updated"
    name = "subscription.canceled" if word == "cancelled" else name
    at, order = _when(v, body.get("updated_at")), text(body.get("origin_order_id"))
    data = commerce(
        order=Order(id=order, currency=currency(body.get("currency_code"))) if order else None,
        customer=buyer({"customer": {"id": body.get("customer_id")}}, {}),
        subscription=Subscription(
            id=key, status=word or None, canceled_at=at if "canceled" in name else None
        ),
        extra=leftovers({"billing_policy": body.get("billing_policy")}),
    )
    facts = (body.get("revision_id"), word) if name == "subscription.updated" else ()
    drift = () if not word or word in CONTRACT else (f"unknown_status:{word}",)
    return [_event(v, name, topic, key, *facts, occurred_at=at, data=data, drift=drift)]


def billing_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    contract = ident(body, "subscription_contract_id") or need(body, "subscription_contract_id")
    order = ident(body, "order_id")
    data = commerce(
        order=Order(id=order) if order else None,
        subscription=Subscription(id=contract),
        extra=leftovers({name: body.get(name) for name in ("error_code", "error_message")}),
    )
    at = _when(v)
    return [_event(v, BILLING[topic], topic, contract, ident(body), occurred_at=at, data=data)]


def uninstalled_event(v: Verified, topic: str, body: dict[str, Any]) -> list[Event]:
    """Shopify took the token back: the installation has to be authorized anew."""
    shop = text(body.get("myshopify_domain")) or v.header("x-shopify-shop-domain") or "shop"
    data = {"status": "error", "reason": "the app was uninstalled", "shop": shop}
    at = _when(v)
    return [_event(v, "installation.updated", topic, shop, topic, at, occurred_at=at, data=data)]
