"""What a Bagy order or abandoned checkout says, in canonical parts; its times are Brazil's.

https://github.com/DoocaCommerce/dc-node-client-sdk
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, customer
from drivers.read import (
    dig,
    first,
    instant,
    integer,
    latest,
    money,
    quantity,
    record,
    records,
    text,
    tracking,
)
from schemas.order import (
    Address,
    Checkout,
    CommerceData,
    Coupon,
    Customer,
    Invoice,
    Item,
    Order,
    OrderStatus,
    Payment,
    Shipment,
    Subscription,
    Tracking,
    commerce,
)

BRL = "BRL"  # no payload names a currency: Bagy serves Brazil alone
STATUS: Mapping[str, OrderStatus] = {
    "unpaid": "pending",
    "pending": "pending",
    "approved": "paid",
    "paid": "paid",
    "denied": "failed",
    "expired": "expired",
    "refunded": "refunded",
    "chargeback": "chargeback",
    "canceled": "canceled",
    "voided": "canceled",
}
WAS_PAID = {"approved", "paid", "refunded", "chargeback"}
EMV = "000201"  # how every Pix text begins: EMV QRCPS-MPM, field 00


def order_of(data: dict[str, Any], skus: Mapping[str, Any], name: str) -> CommerceData:
    """The canonical data of an order; `skus` by variation id, `name` of the event it is for."""
    order, token = _order(data, name), text(data.get("token"))
    subscription = text(dig(data, "subscription", "id"))
    return commerce(
        order=order,
        checkout=Checkout(id=token) if token else None,
        items=[_item(line, skus) for line in records(data.get("items"))],
        customer=_buyer(data),
        shipping_address=_address(data),
        payments=_payments(data, order),
        coupons=[
            Coupon(code=text(c.get("code")), amount=money(c.get("amount"), BRL))
            for c in records(data.get("discounts"))
            if text(c.get("code"))
        ],
        shipments=_shipments(data),
        invoice=_invoice(record(data.get("fulfillment"))),
        subscription=Subscription(id=subscription) if subscription else None,
        tracking=_tracking(data),
        extra=leftovers(
            {
                "marketplace": data.get("marketplace"),
                "external_id": data.get("external_id"),
                "tags": data.get("tags"),
                "is_subscription": True if data.get("is_subscription") else None,
                "delivery_days": dig(data, "shipping", "delivery_time"),
            }
        ),
    )


def cart_of(data: dict[str, Any]) -> CommerceData:
    """The canonical data of an abandoned checkout."""
    return commerce(
        checkout=Checkout(
            id=text(data.get("id")),
            url=text(data.get("url")),
            currency=BRL,
            total=money(data.get("total"), BRL),
            abandoned_at=instant(first(data.get("updated_at"), data.get("created_at"))),
            raw_status=text(data.get("status")),
        ),
        items=[_item(line, {}) for line in records(data.get("items"))],
        customer=_buyer(data),
        shipping_address=_address(data),
        tracking=_tracking(data),
        extra=leftovers({"checkout_token": data.get("token")}),
    )


def _order(data: dict[str, Any], name: str) -> Order:
    words = [text(data.get(k)) for k in ("status", "payment_status", "fulfillment_status")]
    money_word, sent = (words[1] or "").lower(), record(data.get("fulfillment"))
    total, updated = money(data.get("total"), BRL), instant(data.get("updated_at"))
    shipped = instant(sent.get("shipping_created_at"))
    is_canceled = name == "order.canceled"
    created: OrderStatus | None = "created" if name == "order.created" else None
    return Order(
        id=text(data.get("id")),
        number=text(data.get("code")),
        status="canceled" if is_canceled else created or STATUS.get(money_word),
        payment_status=words[1],
        fulfillment_status=words[2],
        raw_status="/".join(w or "" for w in words),
        currency=BRL,
        total=total,
        subtotal=money(data.get("subtotal"), BRL),
        discount=money(data.get("discount"), BRL),
        shipping=money(dig(data, "shipping", "price"), BRL),
        tax=money(data.get("tax"), BRL),
        interest=money(dig(data, "payment", "interest"), BRL),
        refunded=total if money_word == "refunded" else None,  # there are no partial refunds
        created_at=instant(data.get("created_at")),
        updated_at=updated,
        paid_at=_paid_at(data) if money_word in WAS_PAID else None,
        canceled_at=instant(data.get("canceled_at")) or (updated if is_canceled else None),
        refunded_at=updated if money_word == "refunded" else None,
        expires_at=instant(dig(data, "payment", "expires_at")),
        shipped_at=shipped or (updated if name == "order.shipped" else None),
        delivered_at=updated if name == "order.delivered" else None,
        note=text(data.get("note")),
    )


def _paid_at(data: dict[str, Any]) -> datetime | None:
    approved = [
        instant(h.get("created_at"))
        for h in records(data.get("histories"))
        if h.get("status") == "approved"
    ]
    return instant(dig(data, "payment", "processed_at")) or latest(*approved)


def _item(line: dict[str, Any], skus: Mapping[str, Any]) -> Item:
    variation = text(line.get("variation_id"))
    return Item(
        id=text(line.get("id")),
        product_id=text(line.get("product_id")),
        variant_id=variation,
        sku=text(line.get("sku")) or text(skus.get(variation or "")),
        name=text(line.get("name")),
        quantity=quantity(line.get("quantity")),
        unit_price=money(line.get("price"), BRL),
        total=money(line.get("total"), BRL),
        discount=money(line.get("discount"), BRL),
        image_url=text(line.get("image")) or text(dig(line, "image", "src")),
    )


def _buyer(data: dict[str, Any]) -> Customer | None:
    person = record(data.get("customer"))
    return customer(
        id=first(person.get("id"), data.get("customer_id")),
        name=person.get("name"),
        first_name=person.get("first_name"),
        last_name=person.get("last_name"),
        email_address=person.get("email"),
        company=person.get("company"),
        document_number=first(person.get("cgc"), person.get("doc")),
        phone_number=person.get("phone"),
    )


def _address(data: dict[str, Any]) -> Address | None:
    told = record(data.get("address"))
    return address(
        name=first(told.get("receiver"), told.get("name")),
        street=told.get("street"),
        number=told.get("number"),
        complement=told.get("detail"),
        district=told.get("district"),
        city=told.get("city"),
        state=told.get("state"),
        postal_code=told.get("zipcode"),
    )


def _payments(data: dict[str, Any], order: Order) -> list[Payment]:
    told = record(data.get("payment"))
    if not told:
        return []
    method, until = method_of(told.get("method")), instant(told.get("expires_at"))
    url = text(told.get("url"))
    code = _emv(told.get("external")) or _emv(told.get("extra"))
    return [
        Payment(
            id=text(told.get("id")),
            method=method,
            status=text(told.get("status")) or order.payment_status,
            amount=order.total,
            installments=integer(told.get("parcels")),
            card=card(told.get("card_brand"), told.get("card_end")),
            boleto=bank_slip(told.get("digitable_line"), url=url, due_at=until)
            if method == "boleto"
            else None,
            pix=pix(code, url, until) if method == "pix" else None,
            paid_at=order.paid_at,
            gateway=text(told.get("gateway_name")),
        )
    ]


def _emv(place: Any) -> str | None:
    """The Pix text, under whatever name the gateway's answer has it."""
    values = [place, *record(place).values()]
    return next((w for w in map(text, values) if w and w.startswith(EMV)), None)


def _shipments(data: dict[str, Any]) -> list[Shipment]:
    sent, chosen = record(data.get("fulfillment")), record(data.get("shipping"))
    parcel = Shipment(
        id=text(sent.get("id")),
        carrier=text(sent.get("shipping_carrier")),
        method=text(first(chosen.get("name"), chosen.get("alias"))),
        tracking_code=text(sent.get("shipping_code")),
        tracking_url=text(sent.get("shipping_track_url")),
        status=text(sent.get("status")),
        raw_status=text(sent.get("status")),
        estimated_delivery=instant(chosen.get("estimated_delivery_at")),
    )
    return [parcel] if parcel != Shipment() else []


def _invoice(sent: dict[str, Any]) -> Invoice | None:
    found = Invoice(
        number=text(sent.get("nfe_number")),
        series=text(sent.get("nfe_series")),
        key=text(sent.get("nfe_token")),
        issued_at=instant(sent.get("nfe_created_at")),
    )
    return found if found != Invoice() else None


def _tracking(data: dict[str, Any]) -> Tracking | None:
    told = record(data.get("extra"))
    return tracking(told.get("utm"), ip=told.get("customer_ip"), user_agent=told.get("user_agent"))
