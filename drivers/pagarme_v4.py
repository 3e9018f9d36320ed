"""Pagar.me's postbacks (API versions 1 to 4): a form with a transaction or subscription, in cents.

https://docs.pagar.me/v4/docs/gerenciando-postbacks
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.base import fact, leftovers, raw_event
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, customer, dialled
from drivers.read import (
    cents,
    dig,
    first,
    instant,
    integer,
    need,
    quantity,
    record,
    records,
    text,
    tracking,
)
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.order import (
    Address,
    CommerceData,
    Customer,
    Item,
    Order,
    OrderStatus,
    Payment,
    Subscription,
    commerce,
)
from schemas.request import Verified

# `current_status` of transactions. https://docs.pagar.me/v4/reference/postbacks
TRANSACTION: Mapping[str, tuple[str | None, OrderStatus]] = {
    "processing": (None, "pending"),
    "authorized": (None, "pending"),
    "pending_refund": (None, "paid"),
    "waiting_payment": ("order.pending", "pending"),
    "analyzing": ("order.pending", "pending"),
    "pending_review": ("order.pending", "pending"),
    "paid": ("order.paid", "paid"),
    "refused": ("order.failed", "failed"),
    "refunded": ("order.refunded", "refunded"),
    "chargedback": ("order.chargeback", "chargeback"),
}
# … and of subscriptions.
SUBSCRIPTION = {
    "trialing": "subscription.updated",
    "paid": "subscription.renewed",
    "pending_payment": "subscription.past_due",
    "unpaid": "subscription.past_due",
    "canceled": "subscription.canceled",
    "ended": "subscription.canceled",
}


def postback(v: Verified, body: dict[str, Any]) -> list[Event]:
    """The events of one postback."""
    sale = record(body.get("transaction"))
    if "subscription" in body or text(body.get("object")) == "subscription":
        return _subscription_event(v, body)
    word = text(body.get("current_status")) or need(body, "transaction", "status")
    ident = text(first(sale.get("id"), body.get("id")))
    if ident is None:
        raise MalformedError("missing:transaction.id")
    if word not in TRANSACTION:
        drift = (f"unknown_status:{word}",)
        return [raw_event(v, provider_event=word, key=ident, drift=drift)]
    name, status = TRANSACTION[word]
    if name is None:
        return []
    total, back = cents(sale.get("amount")), _back(sale)
    if name == "order.refunded" and total and back and back < total:
        name, status = "order.partially_refunded", "partially_refunded"
    at = instant(sale.get("date_updated"), "UTC")
    facts = (back,) if status in {"refunded", "partially_refunded"} else ()
    return [
        Event(
            name=name,
            key=ident,
            dedupe_key=fact(ident, *facts),
            provider_event=word,
            occurred_at=at,
            data=_data(sale, _order(sale, ident, word, status)),
        )
    ]


def _order(
    sale: dict[str, Any], ident: str | None, word: str | None, status: OrderStatus | None
) -> Order:
    at = instant(sale.get("date_updated"), "UTC")
    is_back = status in {"refunded", "partially_refunded"}
    return Order(
        id=ident,
        number=text(first(dig(sale, "metadata", "id_pedido"), dig(sale, "metadata", "order_id"))),
        status=status,
        payment_status=status,
        raw_status=word,
        currency="BRL",
        total=cents(sale.get("amount")),
        shipping=cents(dig(sale, "shipping", "fee")),
        fee=cents(sale.get("cost")),
        refunded=_back(sale) if is_back else None,
        created_at=instant(sale.get("date_created"), "UTC"),
        updated_at=at,
        paid_at=at if status == "paid" else None,
        refunded_at=at if is_back else None,
        expires_at=instant(
            first(sale.get("pix_expiration_date"), sale.get("boleto_expiration_date")), "UTC"
        ),
        cancel_reason=text(sale.get("refuse_reason")),
    )


def _back(sale: dict[str, Any]) -> int | None:
    """What went back of a refunded sale: all of it where no amount is told."""
    return cents(sale.get("refunded_amount")) or cents(sale.get("amount"))


def _data(sale: dict[str, Any], order: Order) -> CommerceData:
    metadata, who = record(sale.get("metadata")), record(sale.get("customer"))
    billing, shipping = record(sale.get("billing")), record(sale.get("shipping"))
    home = first(billing.get("address"), sale.get("address"), who.get("address"))
    return commerce(
        order=order,
        items=[_item(line) for line in records(sale.get("items"))],
        customer=_buyer(sale, who),
        billing_address=_address(home, first(billing.get("name"), who.get("name"))),
        shipping_address=_address(shipping.get("address"), shipping.get("name")),
        payments=[_payment(sale, order)] if sale else [],
        tracking=tracking(metadata, ip=sale.get("ip")),
        extra=leftovers({"metadata": metadata, "paid_amount": sale.get("paid_amount")}),
    )


def _item(line: dict[str, Any]) -> Item:
    unit, count = cents(line.get("unit_price")), quantity(line.get("quantity"))
    return Item(
        id=text(line.get("id")),
        sku=text(line.get("id")),
        name=text(line.get("title")),
        quantity=count,
        unit_price=unit,
        total=None if unit is None else round(unit * count),
    )


def _buyer(sale: dict[str, Any], who: dict[str, Any]) -> Customer | None:
    told = record(first(sale.get("phone"), who.get("phone")))
    number = dialled(told.get("ddi"), told.get("ddd"), told.get("number"))
    return customer(
        id=who.get("id"),
        name=who.get("name"),
        email_address=who.get("email"),
        document_number=first(who.get("document_number"), dig(who, "documents", 0, "number")),
        phone_number=first(number, dig(who, "phone_numbers", 0)),
    )


def _address(value: Any, name: Any) -> Address | None:
    told = record(value)
    return address(
        name=name,
        street=told.get("street"),
        number=told.get("street_number"),
        complement=told.get("complementary"),
        district=told.get("neighborhood"),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=told.get("zipcode"),
    )


def _payment(sale: dict[str, Any], order: Order) -> Payment:
    ends = order.expires_at
    return Payment(
        id=text(sale.get("tid")),
        method=method_of(sale.get("payment_method")),
        status=order.raw_status,
        amount=order.total,
        installments=integer(sale.get("installments")),
        card=card(sale.get("card_brand"), sale.get("card_last_digits")),
        boleto=bank_slip(sale.get("boleto_barcode"), url=sale.get("boleto_url"), due_at=ends),
        pix=pix(sale.get("pix_qr_code"), expires_at=ends),
        paid_at=order.paid_at,
        gateway="pagarme",
    )


def _subscription_event(v: Verified, body: dict[str, Any]) -> list[Event]:
    told = record(body.get("subscription"))
    word = text(body.get("current_status")) or need(body, "subscription", "status")
    ident = text(first(told.get("id"), body.get("id")))
    if ident is None:
        raise MalformedError("missing:subscription.id")
    if word not in SUBSCRIPTION:
        drift = (f"unknown_status:{word}",)
        return [raw_event(v, provider_event=word, key=ident, drift=drift)]
    name, sale = SUBSCRIPTION[word], record(told.get("current_transaction"))
    at = instant(first(told.get("date_updated"), sale.get("date_updated")), "UTC")
    charge, ends = text(sale.get("id")), instant(told.get("current_period_end"), "UTC")
    facts = () if name == "subscription.canceled" else (word, charge or ends)
    data = _charge_data(told, sale)
    data["subscription"] = Subscription(
        id=ident,
        plan=text(dig(told, "plan", "name")),
        status=word,
        period_start=instant(told.get("current_period_start"), "UTC"),
        period_end=ends,
        canceled_at=at if name == "subscription.canceled" else None,
    )
    return [
        Event(
            name=name,
            key=charge or ident,
            dedupe_key=fact(ident, *facts),
            provider_event=word,
            occurred_at=at,
            data=data,
        )
    ]


def _charge_data(told: dict[str, Any], sale: dict[str, Any]) -> CommerceData:
    """The subscription's last charge; its buyer stands beside it."""
    beside = {k: told[k] for k in ("customer", "phone", "address", "metadata") if told.get(k)}
    whole = {"amount": dig(told, "plan", "amount"), **sale, **beside}
    word = text(sale.get("status")) or ""
    status = TRANSACTION[word][1] if word in TRANSACTION else None
    return _data(whole, _order(whole, text(sale.get("id")), word or None, status))
