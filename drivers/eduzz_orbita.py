"""Eduzz's first webhook (Órbita v2): flat fields with prefixes, all of them text, Brazilian time.

https://github.com/eduzz/webhook
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drivers.base import fact, leftovers, raw_event
from drivers.paying import bank_slip, method_of
from drivers.people import address, customer, email
from drivers.read import (
    currency,
    digits,
    first,
    instant,
    integer,
    money,
    need,
    record,
    records,
    text,
    tracking,
)
from schemas.events import Event
from schemas.order import (
    Address,
    Card,
    Checkout,
    CommerceData,
    Coupon,
    Customer,
    Item,
    Order,
    OrderStatus,
    Partner,
    Payment,
    PaymentMethod,
    Subscription,
    commerce,
)
from schemas.request import Verified

# https://github.com/eduzz/webhook/blob/master/campos-fatura.md
INVOICE: Mapping[str, tuple[str, OrderStatus]] = {
    "invoice_open": ("order.pending", "pending"),
    "invoice_waiting_payment": ("order.pending", "pending"),
    "invoice_processing": ("order.pending", "pending"),
    "invoice_analysing": ("order.pending", "pending"),
    "invoice_paid": ("order.paid", "paid"),
    "invoice_refused": ("order.failed", "failed"),
    "invoice_canceled": ("order.canceled", "canceled"),
    "invoice_duplicated": ("order.canceled", "canceled"),
    "invoice_deleted": ("order.canceled", "canceled"),
    "invoice_waiting_refund": ("order.updated", "paid"),
    "invoice_waiting_documents": ("order.updated", "paid"),
    "invoice_refunded": ("order.refunded", "refunded"),
    "invoice_expired": ("order.expired", "expired"),
    "invoice_overdue": ("order.expired", "expired"),
    "invoice_negociated": ("order.updated", "pending"),
}
CONTRACT = {
    "contract_up_to_date": "subscription.renewed",
    "contract_waiting_payment": "subscription.past_due",
    "contract_delayed": "subscription.past_due",
    "contract_overdue": "subscription.past_due",
    "contract_suspended": "subscription.canceled",
    "contract_canceled": "subscription.canceled",
    "contract_finished": "subscription.canceled",
}
# Told, but no news about money.
INFORMATION = set(
    "invoice_recovering invoice_trial invoice_scheduled contract_trial contract_free "
    "contract_next_charge".split()
)
# `trans_status` and `recurrence_status` name the event where `event_name` does not.
TRANS_STATUS = {
    "1": "invoice_open",
    "3": "invoice_paid",
    "4": "invoice_canceled",
    "6": "invoice_waiting_refund",
    "7": "invoice_refunded",
    "9": "invoice_duplicated",
    "10": "invoice_expired",
    "11": "invoice_recovering",
    "15": "invoice_waiting_payment",
}
RECURRENCE_STATUS = {
    "1": "contract_up_to_date",
    "2": "contract_waiting_payment",
    "3": "contract_suspended",
    "4": "contract_canceled",
    "7": "contract_delayed",
    "9": "contract_finished",
    "10": "contract_trial",
}
# `trans_paymentmethod`: the method, and the brand of a card.
METHOD: Mapping[str, tuple[PaymentMethod, str | None]] = {
    "1": ("boleto", None),
    "9": ("wallet", None),
    "11": ("other", None),
    "13": ("credit_card", "visa"),
    "14": ("credit_card", "amex"),
    "15": ("credit_card", "mastercard"),
    "16": ("credit_card", "diners"),
    "17": ("transfer", None),
    "18": ("transfer", None),
    "19": ("transfer", None),
    "21": ("credit_card", "hipercard"),
    "22": ("transfer", None),
    "23": ("credit_card", "hiper"),
    "24": ("credit_card", "elo"),
    "25": ("wallet", None),
    "27": ("credit_card", None),
    "32": ("pix", None),
}


def orbita(v: Verified, body: dict[str, Any]) -> list[Event]:
    """The events of one delivery."""
    word = text(body.get("event_name"))
    if word == "cart_abandonment" or (word is None and "cartAccessedAt" in body):
        return [_cart(body)]
    status, recurrence = (text(body.get(k)) for k in ("trans_status", "recurrence_status"))
    told = word or status or recurrence or need(body, "event_name")
    names = TRANS_STATUS if status else RECURRENCE_STATUS
    name = word or names.get(told, "")
    if name in INVOICE:
        return [_invoice(body, name)]
    if name in CONTRACT:
        return [_contract(body, name)]
    key = text(first(body.get("trans_cod"), body.get("recurrence_cod")))
    what = "event" if word else "status"
    drift = () if name in INFORMATION else (f"unknown_{what}:{told}",)
    return [raw_event(v, provider_event=name or told, key=key, drift=drift)]


def _when(body: dict[str, Any], name: str) -> datetime | None:
    """`<name>date` as YYYYMMDD and `<name>time` apart, in Brazilian time."""
    day = digits(body.get(f"{name}date")) or ""
    clock = text(body.get(f"{name}time")) or "00:00:00"
    return instant(f"{day[:4]}-{day[4:6]}-{day[6:8]} {clock}")


def _invoice(body: dict[str, Any], word: str) -> Event:
    name, status = INVOICE[word]
    ident, order = need(body, "trans_cod"), _order(body, status)
    facts: dict[str, tuple[Any, ...]] = {
        "order.pending": (word,),
        "order.updated": (word,),
        "order.refunded": (order.refunded,),
    }
    at = {
        "order.paid": order.paid_at,
        "order.refunded": order.refunded_at,
        "order.pending": order.created_at,
    }.get(name)
    return Event(
        name=name,
        key=ident,
        dedupe_key=fact(ident, *facts.get(name, ())),
        provider_event=word,
        occurred_at=at,
        data=_data(body, order),
    )


def _contract(body: dict[str, Any], word: str) -> Event:
    name, ident = CONTRACT[word], need(body, "recurrence_cod")
    charge = INVOICE.get(TRANS_STATUS.get(text(body.get("trans_status")) or "", ""))
    order = _order(body, charge[1] if charge else None)
    count = first(integer(body.get("recurrence_count")), order.id)
    facts = (word, count) if name == "subscription.past_due" else (count,)
    return Event(
        name=name,
        key=order.id or ident,
        dedupe_key=fact(ident, *facts),
        provider_event=word,
        occurred_at=order.paid_at if name == "subscription.renewed" else None,
        data=_data(body, order),
    )


def _order(body: dict[str, Any], status: OrderStatus | None) -> Order:
    money_is = currency(body.get("trans_currency"), "BRL")
    asked, paid = (money(body.get(name), money_is) for name in ("trans_value", "trans_paid"))
    off = sum(money(line.get("item_coupon_value"), money_is) or 0 for line in _lines(body))
    total = paid or asked
    return Order(
        id=text(body.get("trans_cod")),
        status=status,
        payment_status=status,
        raw_status=text(first(body.get("event_name"), body.get("trans_status"))),
        currency=money_is,
        total=total,
        subtotal=asked,
        discount=off or None,
        fee=money(body.get("eduzz_value"), money_is),
        refunded=total if status == "refunded" else None,
        created_at=_when(body, "trans_create"),
        paid_at=_when(body, "trans_paid"),
        refunded_at=_when(body, "refund_"),
        expires_at=_when(body, "trans_due"),
        checkout_url=text(body.get("page_checkout_url")),
    )


def _lines(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The items; in old deliveries the one product stands in the invoice itself."""
    alone = {
        "item_product_id": body.get("product_cod"),
        "item_product_name": body.get("product_name"),
        "item_product_sku_reference": body.get("sku_reference"),
        "item_product_chargetype": body.get("product_chargetype"),
        "item_value": body.get("trans_value"),
    }
    return records(body.get("trans_items")) or ([alone] if body.get("product_cod") else [])


def _data(body: dict[str, Any], order: Order) -> CommerceData:
    return commerce(
        order=order,
        items=[_item(line, order.currency) for line in _lines(body)],
        customer=_buyer(body),
        billing_address=_address(body),
        payments=[_payment(body, order)],
        coupons=_coupons(body, order),
        subscription=_subscription(body),
        tracking=_tracking(body),
        partners=_partners(body, order.currency),
        extra=leftovers(
            {
                "transaction_key": body.get("trans_key"),
                "checkout_order_id": body.get("trans_orderid"),
                "recovery_url": body.get("billet_url"),
                "tracker": body.get("tracker_trk"),
                "student": leftovers({k: body.get(k) for k in ("student_name", "student_email")}),
            }
        ),
    )


def _item(line: dict[str, Any], money_is: str | None) -> Item:
    unit = money(line.get("item_value"), money_is)
    off = money(line.get("item_coupon_value"), money_is) or None
    is_plan = text(line.get("item_product_chargetype")) == "A"
    return Item(
        id=text(first(line.get("item_id"), line.get("item_product_id"))),
        product_id=text(line.get("item_product_id")),
        sku=text(line.get("item_product_sku_reference")),
        name=text(first(line.get("item_product_name"), line.get("item_name"))),
        unit_price=unit,
        total=None if unit is None else unit - (off or 0),
        discount=off,
        type="subscription_plan" if is_plan else "product",
    )


def _coupons(body: dict[str, Any], order: Order) -> list[Coupon]:
    named = [
        Coupon(code=code, amount=money(line.get("item_coupon_value"), order.currency))
        for line in _lines(body)
        if (code := text(line.get("item_coupon_code")))
    ]
    code = text(body.get("discount_coupon_code"))
    return named or ([Coupon(code=code, amount=order.discount)] if code else [])


def _buyer(body: dict[str, Any]) -> Customer | None:
    return customer(
        id=body.get("cus_cod"),
        name=body.get("cus_name"),
        email_address=body.get("cus_email"),
        document_number=body.get("cus_taxnumber"),
        phone_number=first(*(body.get(k) for k in ("cus_cel", "cus_tel", "cus_tel2"))),
    )


def _address(body: dict[str, Any]) -> Address | None:
    return address(
        name=body.get("cus_name"),
        street=body.get("cus_address"),
        number=body.get("cus_address_number"),
        complement=body.get("cus_address_comp"),
        district=body.get("cus_address_district"),
        city=body.get("cus_address_city"),
        state=body.get("cus_address_state"),
        country=body.get("cus_address_country"),
        postal_code=body.get("cus_address_zip_code"),
    )


def _payment(body: dict[str, Any], order: Order) -> Payment:
    word = text(body.get("trans_paymentmethod"))
    method, brand = METHOD.get(word or "", (method_of(word), None))
    slip = body.get("trans_bankslip")
    link = first(slip if "://" in (text(slip) or "") else None, body.get("billet_url"))
    return Payment(
        method=method,
        status=order.raw_status,
        amount=order.total,
        card=Card(brand=brand) if brand else None,
        boleto=bank_slip(body.get("trans_barcode"), slip, url=link, due_at=order.expires_at)
        if method == "boleto"
        else None,
        paid_at=order.paid_at,
        gateway="eduzz",
    )


def _subscription(body: dict[str, Any]) -> Subscription | None:
    ident = text(body.get("recurrence_cod"))
    if ident is None:
        return None
    return Subscription(
        id=ident,
        plan=text(first(body.get("recurrence_plan"), body.get("product_name"))),
        status=text(body.get("recurrence_status")),
        cycle=integer(body.get("recurrence_count")) or None,
    )


def _tracking(body: dict[str, Any]) -> Any:
    """Consumers agree that the second tracker is src and the third sck."""
    utm = {k.removeprefix("tracker_"): v for k, v in body.items() if k.startswith("tracker_utm_")}
    return tracking(utm, src=body.get("tracker_trk2"), sck=body.get("tracker_trk3"))


def _partners(body: dict[str, Any], money_is: str | None) -> list[Partner]:
    found = (
        Partner(
            role="producer",
            id=text(body.get("pro_cod")),
            name=text(body.get("pro_name")),
            email=email(body.get("pro_email")),
            amount=money(body.get("pro_value"), money_is),
        ),
        Partner(
            role="affiliate",
            id=text(body.get("aff_cod")),
            name=text(body.get("aff_name")),
            email=email(body.get("aff_email")),
            amount=money(body.get("aff_value"), money_is),
        ),
    )
    return [p for p in found if p.id or p.name]


def _cart(body: dict[str, Any]) -> Event:
    ident, at = need(body, "identifier"), instant(body.get("cartAccessedAt"), "UTC")
    product, who = record(body.get("product")), record(body.get("customer"))
    product_id = text(product.get("id"))
    return Event(
        name="checkout.abandoned",
        key=ident,
        dedupe_key=fact(ident),
        provider_event="cart_abandonment",
        occurred_at=at,
        data=commerce(
            checkout=Checkout(id=ident, url=text(body.get("checkoutUrl")), abandoned_at=at),
            items=[Item(id=product_id, product_id=product_id, name=text(product.get("title")))],
            customer=customer(
                name=who.get("name"),
                email_address=who.get("email"),
                phone_number=who.get("phone"),
            ),
            tracking=tracking(body.get("checkoutUrl")),
            partners=_ally(record(body.get("affiliate"))),
            extra=leftovers({"campaign": body.get("campaign")}),
        ),
    )


def _ally(told: dict[str, Any]) -> list[Partner]:
    ident, name = text(told.get("id")), text(told.get("name"))
    return [Partner(role="affiliate", id=ident, name=name)] if ident or name else []
