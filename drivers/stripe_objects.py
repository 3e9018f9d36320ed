"""Reading Stripe's objects: sessions, payment intents, charges, invoices, subscriptions.

The endpoint's API version shapes them; any id may be the whole object instead.
https://docs.stripe.com/api
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, customer
from drivers.read import (
    cents,
    currency,
    dig,
    digits,
    first,
    instant,
    number,
    quantity,
    record,
    records,
    text,
    tracking,
)
from schemas.order import (
    Address,
    Checkout,
    Coupon,
    Customer,
    Item,
    Payment,
    PaymentMethod,
    Subscription,
    Tracking,
)

# https://docs.stripe.com/currencies#special-cases: written with two decimals they do not have.
TWO_ZEROS = {"ISK", "UGX"}
# https://docs.stripe.com/payments/payment-methods/overview
METHODS: Mapping[str, PaymentMethod] = {
    "card": "credit_card",
    "card_present": "credit_card",
    "link": "wallet",
    "cashapp": "wallet",
    "alipay": "wallet",
    "wechat_pay": "wallet",
    "revolut_pay": "wallet",
    "amazon_pay": "wallet",
    "customer_balance": "transfer",
    "sepa_debit": "transfer",
    "us_bank_account": "transfer",
    "bacs_debit": "transfer",
    "au_becs_debit": "transfer",
    "acss_debit": "transfer",
    "sofort": "transfer",
    "ideal": "transfer",
    "oxxo": "cash",
    "konbini": "cash",
}
BRAZILIAN = ("br_cpf", "br_cnpj")


def ident(value: Any) -> str | None:
    """An id, from itself or from the expanded object."""
    return text(record(value).get("id")) if isinstance(value, dict) else text(value)


def currency_of(thing: Mapping[str, Any]) -> str | None:
    """The object's currency, which Stripe writes in lower case."""
    return currency(thing.get("currency"))


def amount(value: Any, money_is: str | None) -> int | None:
    """An amount, in minor units already but for two currencies."""
    found = number(value)
    if found is not None and money_is in TWO_ZEROS:
        found /= 100
    return cents(found)


def summed(parts: Any, money_is: str | None) -> int | None:
    """The sum of the amounts of a list; None when it tells none."""
    told = [amount(part.get("amount"), money_is) for part in records(parts)]
    known = [value for value in told if value is not None]
    return sum(known) if known else None


def order_id(thing: Mapping[str, Any]) -> str | None:
    """The payment intent's id is the one that session, intent, charge and dispute share."""
    if thing.get("object") == "payment_intent":
        return ident(thing)
    return ident(thing.get("payment_intent"))


def order_number(thing: Mapping[str, Any]) -> str | None:
    """The merchant's own reference."""
    return text(thing.get("client_reference_id")) or text(dig(thing, "metadata", "order_id"))


def visit(thing: Mapping[str, Any]) -> Tracking | None:
    """Where the buyer came from, if the merchant keeps that in the metadata."""
    return tracking(record(thing.get("metadata")))


def place(raw: Any, name: Any = None) -> Address | None:
    """An address; the house number is part of the first line."""
    told = record(raw)
    return address(
        name=name,
        street=told.get("line1"),
        complement=told.get("line2"),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=told.get("postal_code"),
        default_country=None,
    )


def shipping(thing: Mapping[str, Any]) -> Address | None:
    """Where it goes: each version of the API has another name for it."""
    named = ("shipping_details", "shipping", "customer_shipping")
    told = dig(thing, "collected_information", "shipping_details")
    found = record(first(told, *(thing.get(name) for name in named)))
    return place(found.get("address"), found.get("name"))


def tax_id(ids: Any) -> str | None:
    """The Brazilian tax id, else the first."""
    told = records(ids)
    found = [t for t in told if t.get("type") in BRAZILIAN] or told
    return text(found[0].get("value")) if found else None


def buyer(details: Any, thing: Mapping[str, Any], **known: Any) -> Customer | None:
    """The customer from `details` (customer_details, billing_details); `known`: fallbacks."""
    told = record(details)
    return customer(
        id=ident(thing.get("customer")),
        name=first(told.get("name"), known.get("name")),
        company=told.get("business_name"),
        email_address=first(told.get("email"), known.get("email")),
        document_number=first(tax_id(told.get("tax_ids")), told.get("tax_id"), known.get("tax_id")),
        phone_number=first(told.get("phone"), known.get("phone")),
        country=text(dig(told, "address", "country")) or "BR",
    )


def single_method(types: Any) -> PaymentMethod | None:
    """The method when only one is offered; several tell nothing."""
    offered = types if isinstance(types, list) else []
    return method_of(offered[0], METHODS) if len(offered) == 1 else None


def charged(charge: Mapping[str, Any], payment: Payment) -> Payment:
    """`payment` completed by what a charge tells of how it was paid."""
    details = record(charge.get("payment_method_details"))
    told = record(details.get("card"))
    kind = text(details.get("type"))
    if kind is not None:
        payment.method = method_of(kind, METHODS)
    if kind == "card" and told.get("funding") == "debit":
        payment.method = "debit_card"
    payment.card = card(told.get("brand"), told.get("last4"))
    payment.installments = _count(dig(told, "installments", "plan", "count"))
    return payment


def _count(value: Any) -> int | None:
    found = digits(value)
    return int(found) if found and len(found) < 4 else None


def intent_payment(intent: Mapping[str, Any]) -> Payment:
    """How an intent is to be paid, or was."""
    action, money_is = record(intent.get("next_action")), currency_of(intent)
    slip, code = record(action.get("boleto_display_details")), action.get("pix_display_qr_code")
    qr = record(code)
    payment = Payment(
        id=ident(latest_charge(intent)) or ident(intent),
        method=single_method(intent.get("payment_method_types")),
        status=text(intent.get("status")),
        amount=amount(intent.get("amount"), money_is),
        boleto=bank_slip(
            slip.get("number"),
            url=first(slip.get("hosted_voucher_url"), slip.get("pdf")),
            due_at=instant(slip.get("expires_at")),
        ),
        pix=pix(
            qr.get("data"),
            first(qr.get("hosted_instructions_url"), qr.get("image_url_png")),
            instant(qr.get("expires_at")),
        ),
        gateway="stripe",
    )
    return charged(record(latest_charge(intent)), payment)


def latest_charge(intent: Mapping[str, Any]) -> Any:
    """The charge of an intent: its id, the expanded object, or the last of an embedded list."""
    embedded = records(dig(intent, "charges", "data"))
    return first(intent.get("latest_charge"), embedded[0] if embedded else None)


def session_checkout(session: Mapping[str, Any]) -> Checkout:
    """The session as the checkout beside an order: its id and address."""
    recovery = text(dig(session, "after_expiration", "recovery", "url"))
    return Checkout(id=ident(session), url=recovery or text(session.get("url")))


def session_items(answer: Any) -> list[Item]:
    """The session's lines, which only the API tells."""
    return [line_item(line) for line in records(record(answer).get("data"))]


def line_item(line: Mapping[str, Any]) -> Item:
    """A line of a session or an invoice, before and after version 2025-03-31."""
    money_is, count = currency_of(line), quantity(line.get("quantity"))
    price = record(first(line.get("price"), line.get("plan")))
    details = record(dig(line, "pricing", "price_details"))
    told = first(
        dig(line, "pricing", "unit_amount_decimal"),
        price.get("unit_amount_decimal"),
        price.get("unit_amount"),
    )
    total = first(line.get("amount_total"), line.get("amount"))
    exact = number(first(line.get("amount_subtotal"), total))
    unit = told if told is not None or exact is None else exact / Decimal(str(count))
    is_plan = bool(price.get("recurring")) or dig(line, "parent", "type") is not None
    return Item(
        id=ident(line),
        product_id=ident(first(details.get("product"), price.get("product"))),
        variant_id=ident(first(details.get("price"), price.get("id"))),
        name=text(line.get("description")),
        quantity=count,
        unit_price=amount(unit, money_is),
        total=amount(total, money_is),
        discount=amount(line.get("amount_discount"), money_is),
        type="subscription_plan" if is_plan else "product",
    )


def coupons(session: Mapping[str, Any]) -> list[Coupon]:
    """The discounts of a session; their amounts only as a sum."""
    told = records(session.get("discounts"))
    money_is, off = currency_of(session), dig(session, "total_details", "amount_discount")
    return [
        Coupon(
            code=ident(first(one.get("coupon"), one.get("promotion_code"))),
            amount=amount(off, money_is) if len(told) == 1 else None,
        )
        for one in told
    ]


def invoice_subscription(invoice: Mapping[str, Any]) -> str | None:
    """The subscription an invoice belongs to, before and after version 2025-03-31."""
    lines = records(dig(invoice, "lines", "data"))
    return (
        ident(dig(invoice, "parent", "subscription_details", "subscription"))
        or ident(invoice.get("subscription"))
        or ident(dig(lines, 0, "subscription"))
    )


def billed(invoice: Mapping[str, Any]) -> Subscription:
    """The subscription as its invoice tells it."""
    line = record(dig(invoice, "lines", "data", 0))
    period = record(line.get("period"))
    return Subscription(
        id=invoice_subscription(invoice),
        plan=line_item(line).variant_id,
        period_start=instant(period.get("start")),
        period_end=instant(period.get("end")),
    )


def subscribed(told: Mapping[str, Any]) -> Subscription:
    """A subscription as it tells itself."""
    item = record(dig(told, "items", "data", 0))
    price = record(first(item.get("price"), item.get("plan"), told.get("plan")))
    canceled = record(told.get("cancellation_details"))
    return Subscription(
        id=ident(told),
        plan=first(price.get("nickname"), ident(price)),
        status=text(told.get("status")),
        period_start=instant(
            first(told.get("current_period_start"), item.get("current_period_start"))
        ),
        period_end=instant(first(told.get("current_period_end"), item.get("current_period_end"))),
        canceled_at=instant(first(told.get("canceled_at"), told.get("ended_at"))),
        cancel_reason=text(first(canceled.get("feedback"), canceled.get("reason"))),
    )


def kept(thing: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Leftovers worth keeping: metadata and the fields named."""
    return leftovers({name: thing.get(name) for name in ("metadata", *names)})
