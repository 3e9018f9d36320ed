"""Shopify: REST-shaped resources, one topic a request; the topic is in a header, the proof over the raw body.

https://shopify.dev/docs/apps/build/webhooks/delivery-structure
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from drivers.base import Credential, Driver, capped, fact, raw_event
from drivers.describe import Api, Fetch, OAuth
from drivers.people import address, customer, document
from drivers.read import (
    currency,
    dig,
    digits,
    first,
    flag,
    instant,
    money,
    need,
    quantity,
    record,
    records,
    text,
    tracking,
)
from drivers.verify import Header, Hmac, same
from schemas.events import Event
from schemas.order import (
    Checkout,
    Coupon,
    Item,
    Order,
    Payment,
    PaymentMethod,
    Shipment,
    Subscription,
    commerce,
)
from schemas.request import Verified

API_VERSION = "2026-07"

# https://shopify.dev/docs/api/admin-rest/latest/resources/order (financial_status)
STATUS = {
    "pending": "pending",
    "authorized": "pending",
    "partially_paid": "pending",
    "paid": "paid",
    "partially_refunded": "partially_refunded",
    "refunded": "refunded",
    "voided": "canceled",
    "expired": "expired",
}
# orders/updated tells a fact of ours only by these states.
UPDATED = {
    "refunded": "order.refunded",
    "partially_refunded": "order.partially_refunded",
    "expired": "order.expired",
    "voided": "order.canceled",
}
SHIPMENT = {
    "delivered": "order.delivered",
    "in_transit": "shipment.in_transit",
    "out_for_delivery": "shipment.out_for_delivery",
    "attempted_delivery": "shipment.delivery_failed",
    "failure": "shipment.delivery_failed",
}
# payment_gateway_names is free text: the words that give a method away.
METHOD_WORDS: tuple[tuple[str, PaymentMethod], ...] = (
    ("pix", "pix"),
    ("boleto", "boleto"),
    ("bank slip", "boleto"),
    ("débito", "debit_card"),
    ("debit", "debit_card"),
    ("cart", "credit_card"),
    ("card", "credit_card"),
    ("crédito", "credit_card"),
    ("shopify_payments", "credit_card"),
    ("paypal", "wallet"),
    ("wallet", "wallet"),
    ("manual", "manual"),
    ("cash", "cash"),
    ("deposit", "transfer"),
    ("transfer", "transfer"),
)
IGNORED = {
    "orders/delete",
    "orders/risk_assessment_changed",
    "checkouts/delete",
    "order_transactions/create",
    "app/uninstalled",
    "customers/data_request",
    "customers/redact",
    "shop/redact",
}


def topic_of(v: Verified) -> str:
    """The topic, which the signature does not cover."""
    return (v.header("x-shopify-topic") or v.header("shopify-topic") or "").lower()


def normalize(v: Verified) -> Sequence[Event]:
    """The event of one delivery, by its topic."""
    topic = topic_of(v)
    read = TOPICS.get(topic)
    if read is not None:
        return read(v, topic)
    if topic in IGNORED:
        return []
    ident = text(dig(v.payload, "id")) or text(dig(v.payload, "admin_graphql_api_id"))
    return [raw_event(v, provider_event=topic or "unknown", key=ident, drift=(f"unknown_event:{topic}",))]


def _happened(v: Verified, *values: Any) -> datetime | None:
    stamp = v.header("x-shopify-triggered-at") or v.header("shopify-triggered-at")
    return next((t for t in map(instant, (*values, stamp)) if t), None)


def _order(v: Verified, topic: str) -> list[Event]:
    body, money_is = v.payload, currency(dig(v.payload, "currency"))
    name = ORDER_TOPICS.get(topic) or UPDATED.get(str(body.get("financial_status")))
    if name is None:
        return []
    ident = need(body, "id")
    shipped = records(body.get("fulfillments"))
    facts: dict[str, tuple[Any, ...]] = {
        "order.shipped": _parcel(shipped[-1]) if shipped else (),
        "order.refunded": _last_refund(body),
        "order.partially_refunded": _last_refund(body),
    }
    times = {"order.created": "created_at", "order.canceled": "cancelled_at"}
    at = _happened(v, body.get(times[name])) if name in times else _happened(v)
    status = body.get("financial_status")
    drift = () if status in STATUS or status is None else (f"unknown_status:{status}",)
    return [
        Event(
            name=name,
            key=ident,
            dedupe_key=fact(ident, *facts.get(name, ())),
            provider_event=topic,
            provider_event_id=v.header("x-shopify-event-id"),
            occurred_at=at or instant(body.get("updated_at")),
            data=_order_data(v, body, money_is, name, at),
            test=bool(flag(body.get("test"))),
            drift=drift,
        )
    ]


def _order_data(v: Verified, body: dict[str, Any], money_is: str | None, name: str, at: datetime | None) -> Any:
    notes = {str(n.get("name")): n.get("value") for n in records(body.get("note_attributes"))}
    billing, shipping = record(body.get("billing_address")), record(body.get("shipping_address"))
    paid = at if name == "order.paid" else None
    return commerce(
        order=_order_part(body, money_is, name, at, paid),
        checkout=_named_checkout(body),
        items=[_item(line, money_is) for line in records(body.get("line_items"))],
        customer=_buyer(body, billing, notes),
        shipping_address=_address(shipping),
        billing_address=_address(billing),
        payments=_payments(body, money_is, paid),
        coupons=[
            Coupon(code=text(c.get("code")), amount=money(c.get("amount"), money_is))
            for c in records(body.get("discount_codes"))
        ],
        shipments=[_shipment(f) for f in records(body.get("fulfillments"))],
        tracking=tracking(
            notes,
            body.get("landing_site"),
            ip=body.get("browser_ip"),
            user_agent=dig(body, "client_details", "user_agent"),
        ),
        extra=_extra(body, topic_of(v), name),
    )


def _order_part(
    body: dict[str, Any], money_is: str | None, name: str, at: datetime | None, paid: datetime | None
) -> Order:
    status = STATUS.get(str(body.get("financial_status")))
    return Order(
        id=need(body, "id"),
        number=text(body.get("order_number")) or (text(body.get("name")) or "").lstrip("#") or None,
        status="canceled" if body.get("cancelled_at") and status in {None, "pending"} else status,  # type: ignore[arg-type]  # reason: STATUS holds only members of the enum
        payment_status=text(body.get("financial_status")),
        fulfillment_status=text(body.get("fulfillment_status")),
        raw_status=text(body.get("financial_status")),
        currency=money_is,
        total=money(body.get("total_price"), money_is),
        subtotal=money(body.get("subtotal_price"), money_is),
        discount=money(body.get("total_discounts"), money_is),
        shipping=money(dig(body, "total_shipping_price_set", "shop_money", "amount"), money_is),
        tax=money(body.get("total_tax"), money_is),
        refunded=_refunded_so_far(body, money_is),
        created_at=instant(body.get("created_at")),
        updated_at=instant(body.get("updated_at")),
        paid_at=paid,
        canceled_at=instant(body.get("cancelled_at")),
        refunded_at=at if name in {"order.refunded", "order.partially_refunded"} else None,
        shipped_at=at if name == "order.shipped" else None,
        url=text(body.get("order_status_url")),
        cancel_reason=text(body.get("cancel_reason")),
        note=text(body.get("note")),
    )


def _named_checkout(body: dict[str, Any]) -> Checkout | None:
    ident = text(body.get("checkout_id")) or text(body.get("checkout_token"))
    return Checkout(id=ident) if ident else None


def _buyer(body: dict[str, Any], billing: dict[str, Any], notes: Mapping[str, Any]) -> Any:
    person = record(body.get("customer"))
    return customer(
        id=person.get("id"),
        name=first(billing.get("name"), dig(body, "shipping_address", "name")),
        first_name=first(person.get("first_name"), billing.get("first_name")),
        last_name=first(person.get("last_name"), billing.get("last_name")),
        email_address=first(body.get("email"), body.get("contact_email"), person.get("email")),
        document_number=_tax_id(body, billing, notes),
        phone_number=first(
            body.get("phone"), person.get("phone"), billing.get("phone"), dig(body, "shipping_address", "phone")
        ),
        country=text(billing.get("country_code")) or "BR",
    )


def _tax_id(body: dict[str, Any], billing: dict[str, Any], notes: Mapping[str, Any]) -> str | None:
    """No field of its own: stores keep it in a note attribute, the company line or the second address line."""
    named = [v for k, v in notes.items() if k.lower() in {"cpf", "cnpj", "cpf_cnpj", "cpf/cnpj", "documento"}]
    localized = [r.get("value") for r in records(body.get("localized_fields")) if "TAX" in str(r.get("key"))]
    for value in (*named, *localized, billing.get("company"), billing.get("address2")):
        found = document(value)
        if found is not None and (found.valid or (value in named and found.type != "other")):
            return found.value
    return None


def _address(raw: dict[str, Any]) -> Any:
    street, _, number = str(raw.get("address1") or "").rpartition(",")
    split = bool(street) and bool(digits(number)) and len(number.strip()) < 10  # noqa: PLR2004 — reason: a house number
    return address(
        name=raw.get("name"),
        street=street if split else raw.get("address1"),
        number=number if split else None,
        complement=raw.get("address2"),
        city=raw.get("city"),
        state=first(raw.get("province_code"), raw.get("province")),
        country=first(raw.get("country_code"), raw.get("country")),
        postal_code=raw.get("zip"),
    )


def _item(line: dict[str, Any], money_is: str | None) -> Item:
    unit, count = money(line.get("price"), money_is), quantity(line.get("quantity"))
    off = [money(a.get("amount"), money_is) or 0 for a in records(line.get("discount_allocations"))]
    gross = None if unit is None else round(unit * count)
    return Item(
        id=text(line.get("id")) or text(line.get("key")),
        product_id=text(line.get("product_id")),
        variant_id=text(line.get("variant_id")),
        sku=text(line.get("sku")),
        name=text(line.get("name")) or text(line.get("title")) or text(line.get("presentment_title")),
        quantity=count,
        unit_price=unit,
        total=None if gross is None else gross - sum(off),
        discount=sum(off) if off else None,
    )


def method_of(words: str) -> PaymentMethod | None:
    """The payment method that free text gives away; None for no text, `other` when no word is known."""
    low = words.lower()
    return next((method for word, method in METHOD_WORDS if word in low), "other") if low else None


def _payments(body: dict[str, Any], money_is: str | None, paid: datetime | None) -> list[Payment]:
    names = [n for n in (text(n) for n in body.get("payment_gateway_names") or []) if n]
    alone = money(body.get("total_price"), money_is) if len(names) == 1 else None
    return [
        Payment(
            method=method_of(name),
            status=text(body.get("financial_status")),
            amount=alone,
            paid_at=paid,
            gateway=name,
        )
        for name in names
    ]


def _shipment(raw: dict[str, Any]) -> Shipment:
    return Shipment(
        id=text(raw.get("id")),
        carrier=text(raw.get("tracking_company")),
        method=text(raw.get("service")),
        tracking_code=text(raw.get("tracking_number")) or text(dig(raw, "tracking_numbers", 0)),
        tracking_url=text(raw.get("tracking_url")) or text(dig(raw, "tracking_urls", 0)),
        status=text(raw.get("shipment_status")),
        raw_status=text(raw.get("shipment_status")) or text(raw.get("status")),
        estimated_delivery=instant(raw.get("estimated_delivery_at")),
    )


def _parcel(raw: dict[str, Any]) -> tuple[Any, ...]:
    return (text(raw.get("id")), text(raw.get("tracking_number")))


def _last_refund(body: dict[str, Any]) -> tuple[Any, ...]:
    refunds = records(body.get("refunds"))
    return ("refund", text(refunds[-1].get("id"))) if refunds else ()


def _refund_amount(refund: dict[str, Any], money_is: str | None) -> int:
    return sum(
        money(t.get("amount"), money_is) or 0
        for t in records(refund.get("transactions"))
        if t.get("kind") == "refund" and t.get("status") == "success"
    )


def _refunded_so_far(body: dict[str, Any], money_is: str | None) -> int | None:
    refunds = records(body.get("refunds"))
    return sum(_refund_amount(r, money_is) for r in refunds) if refunds else None


def _extra(body: dict[str, Any], topic: str, name: str) -> dict[str, Any]:
    extra = {k: body[k] for k in ("tags", "source_name", "cart_token", "checkout_token", "name") if body.get(k)}
    if name == "order.created" and body.get("financial_status") == "pending":
        extra["payment_pending"] = True
    if topic == "orders/partially_fulfilled":
        extra["partial"] = True
    result: dict[str, Any] = capped(extra)
    return result


def _refund(v: Verified, topic: str) -> list[Event]:
    body, order = v.payload, record(dig(v.enrichment, "order", "order"))
    ident, paid_back = need(body, "order_id"), records(body.get("transactions"))
    money_is = currency(dig(paid_back, 0, "currency")) or currency(order.get("currency"))
    partial = order.get("financial_status") == "partially_refunded"
    at = _happened(v, body.get("created_at"))
    data = _order_data(v, order, money_is, "order.refunded", at) if order else commerce(order=Order(id=ident))
    target = data["order"]
    target.status = "partially_refunded" if partial else "refunded"
    target.currency, target.refunded_at = money_is, at
    target.refunded = _refund_amount(body, money_is) if not order else _refunded_so_far(order, money_is)
    target.note = text(body.get("note"))
    data["items"] = [
        _item(record(r.get("line_item")) | {"quantity": r.get("quantity")}, money_is)
        for r in records(body.get("refund_line_items"))
    ]
    data["extra"] = capped({"refund_id": need(body, "id"), "refund_amount": _refund_amount(body, money_is)})
    return [
        Event(
            name="order.partially_refunded" if partial else "order.refunded",
            key=ident,
            dedupe_key=fact(ident, "refund", need(body, "id")),
            provider_event=topic,
            provider_event_id=v.header("x-shopify-event-id"),
            occurred_at=at,
            data=data,
        )
    ]


def _fulfillment(v: Verified, topic: str) -> list[Event]:
    body = v.payload
    if body.get("status") in {"cancelled", "error", "failure"}:
        return []
    word = body.get("shipment_status") if topic != "fulfillment_events/create" else body.get("status")
    name = SHIPMENT.get(str(word), "shipment.updated") if word else "order.shipped"
    if topic == "fulfillments/create" and name != "order.delivered":
        name = "order.shipped"
    ident, at = need(body, "order_id"), _happened(v, body.get("happened_at"), body.get("updated_at"))
    told = () if name == "order.shipped" else (text(word), at if name == "shipment.updated" else None)
    parcel = body if topic != "fulfillment_events/create" else {**body, "id": body.get("fulfillment_id")}
    destination = record(body.get("destination"))
    shipped = {"shipped_at": at} if name == "order.shipped" else {"delivered_at": at} if "deliv" in name else {}
    if name == "shipment.delivery_failed":
        shipped = {}
    return [
        Event(
            name=name,
            key=ident,
            dedupe_key=fact(ident, *_parcel(parcel), *told),
            provider_event=topic,
            provider_event_id=v.header("x-shopify-event-id"),
            occurred_at=at,
            data=commerce(
                order=Order(id=ident, fulfillment_status=text(word) or "fulfilled", **shipped),
                items=[_item(line, None) for line in records(body.get("line_items"))],
                customer=_buyer({"email": body.get("email")}, destination, {}),
                shipping_address=_address(destination),
                shipments=[_shipment(parcel)],
            ),
        )
    ]


def _checkout(v: Verified, topic: str) -> list[Event]:
    body, money_is = v.payload, currency(dig(v.payload, "currency"))
    if body.get("completed_at"):
        return []
    ident, updated = need(body, "id"), instant(body.get("updated_at"))
    minutes = v.settings.get("abandoned_after_minutes", 60)
    return [
        Event(
            name="checkout.abandoned",
            key=ident,
            dedupe_key=fact(ident, updated),
            provider_event=topic,
            provider_event_id=v.header("x-shopify-event-id"),
            occurred_at=updated,
            defer_seconds=int(minutes) * 60,
            defer_as=text(body.get("token")) or ident,
            data=commerce(
                checkout=Checkout(
                    id=ident,
                    url=text(body.get("abandoned_checkout_url")),
                    currency=money_is,
                    total=money(body.get("total_price"), money_is),
                    abandoned_at=updated,
                ),
                items=[_item(line, money_is) for line in records(body.get("line_items"))],
                customer=_buyer(body, record(body.get("billing_address")), {}),
                shipping_address=_address(record(body.get("shipping_address"))),
                billing_address=_address(record(body.get("billing_address"))),
                coupons=[Coupon(code=text(c.get("code"))) for c in records(body.get("discount_codes"))],
                tracking=tracking(body.get("landing_site")),
                extra={"checkout_token": body.get("token")},
            ),
        )
    ]


ORDER_TOPICS = {
    "orders/create": "order.created",
    "orders/paid": "order.paid",
    "orders/cancelled": "order.canceled",
    "orders/fulfilled": "order.shipped",
    "orders/partially_fulfilled": "order.shipped",
}
TOPICS: Mapping[str, Callable[[Verified, str], list[Event]]] = {
    **dict.fromkeys((*ORDER_TOPICS, "orders/updated", "orders/edited"), _order),
    "refunds/create": _refund,
    "fulfillments/create": _fulfillment,
    "fulfillments/update": _fulfillment,
    "fulfillment_events/create": _fulfillment,
    "checkouts/create": _checkout,
    "checkouts/update": _checkout,
}


def settles(v: Verified) -> tuple[str, ...]:
    """An order ends the wait for its checkout, and so does the checkout's own completion."""
    if topic_of(v).startswith("orders/"):
        return tuple(t for t in (text(v.payload.get("checkout_token")),) if t)
    if topic_of(v).startswith("checkouts/") and v.payload.get("completed_at"):
        return tuple(t for t in (text(v.payload.get("token")),) if t)
    return ()


def delivery_key(v: Verified) -> str | None:
    """The same on every retry."""
    return v.header("x-shopify-webhook-id") or v.header("shopify-webhook-id")


def _needs(v: Verified) -> tuple[Fetch, ...]:
    if topic_of(v) != "refunds/create" or "order" in v.enrichment:
        return ()
    shop = v.header("x-shopify-shop-domain") or ""
    url = f"https://{shop}/admin/api/{API_VERSION}/orders/{need(v.payload, 'order_id')}.json"
    return (Fetch(name="order", url=url),)


def check_callback(query: Mapping[str, str], client_secret: str, now: datetime) -> bool:
    """Shopify's own proof on the OAuth callback.

    https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/authorization-code-grant
    """
    signed = urlencode(sorted((k, v) for k, v in query.items() if k not in {"hmac", "signature"}))
    digest = hmac.new(client_secret.encode(), signed.replace("+", "%20").encode(), hashlib.sha256).hexdigest()
    stamp = query.get("timestamp", "")
    fresh = stamp.isascii() and stamp.isdigit() and abs(now.timestamp() - int(stamp[:12])) <= 90  # noqa: PLR2004 — reason: the official library's tolerance
    return fresh and same(query.get("hmac", ""), digest)


DRIVER = Driver(
    slug="shopify",
    id="01ke7rhnt6fhb6tsbbhcdpepsh",
    name="Shopify",
    description={
        "pt": "Receba pedidos, pagamentos, cancelamentos, reembolsos, envios e carrinhos abandonados da sua loja Shopify.",
        "en": "Orders, payments, cancellations, refunds, shipments and abandoned checkouts of your Shopify store.",
    },
    docs_url="https://shopify.dev/docs/apps/build/webhooks",
    scheme=Hmac(at=(Header("x-shopify-hmac-sha256"), Header("shopify-hmac-sha256")), encoding="base64"),
    normalize=normalize,
    settles=settles,
    delivery_key=delivery_key,
    supported_events=(
        "order.created",
        "order.paid",
        "order.canceled",
        "order.expired",
        "order.refunded",
        "order.partially_refunded",
        "order.shipped",
        "order.delivered",
        "shipment.in_transit",
        "shipment.out_for_delivery",
        "shipment.delivery_failed",
        "shipment.updated",
        "checkout.abandoned",
        "provider.event",
    ),
    credentials=(Credential(name="access_token", label="Admin API access token"),),
    secret_fields=("authenticate_key",),
    api=Api(
        base_url="https://admin.shopify.com",
        credentials=("access_token",),
        authorize=lambda c: {"X-Shopify-Access-Token": c["access_token"]},
        needs=_needs,
        per_minute=120,
    ),
    oauth=OAuth(
        authorize_url="https://{shop}/admin/oauth/authorize",
        token_url="https://{shop}/admin/oauth/access_token",
        scopes=("read_orders", "read_customers", "read_fulfillments"),
        scope_separator=",",
        client_auth="json",
        token_params={"expiring": "1"},
        check_callback=check_callback,
    ),
)
