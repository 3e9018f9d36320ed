"""Reading the parts of Shopify's REST-shaped orders, checkouts, fulfillments and refunds.

https://shopify.dev/docs/api/admin-rest/latest/resources/order
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from drivers.base import leftovers
from drivers.paying import method_of
from drivers.people import address, customer, document, plain
from drivers.read import (
    currency,
    dig,
    first,
    instant,
    money,
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
    CommerceData,
    Coupon,
    Customer,
    Item,
    Order,
    OrderStatus,
    Payment,
    PaymentMethod,
    Shipment,
    commerce,
)

# Order.financial_status
STATUS: Mapping[str, OrderStatus] = {
    "pending": "pending",
    "authorized": "pending",
    "partially_paid": "pending",
    "paid": "paid",
    "partially_refunded": "partially_refunded",
    "refunded": "refunded",
    "voided": "canceled",
    "expired": "expired",
}
# payment_gateway_names is free text: the words that give a method away, the most telling first.
METHOD_WORDS: tuple[tuple[str, PaymentMethod], ...] = (
    ("gift", "other"),
    ("pix", "pix"),
    ("boleto", "boleto"),
    ("bank slip", "boleto"),
    ("debit", "debit_card"),
    ("cart", "credit_card"),
    ("card", "credit_card"),
    ("credit", "credit_card"),
    ("shopify_payments", "credit_card"),
    ("paypal", "wallet"),
    ("wallet", "wallet"),
    ("manual", "manual"),
    ("cash", "cash"),
    ("dinheiro", "cash"),
    ("deposit", "transfer"),
    ("transfer", "transfer"),
)
# Shopify has no field for a CPF; stores and apps call their note attribute one of these.
DOCUMENT_NOTES = {"cpf", "cnpj", "cpfcnpj", "cpfoucnpj", "documento", "document", "taxid"}
EXTRA = (
    "name",
    "tags",
    "source_name",
    "confirmation_number",
    "cart_token",
    "checkout_token",
    "referring_site",
    "total_tip_received",
    "presentment_currency",
    "current_total_price",
)


def ident(raw: Mapping[str, Any], name: str = "id") -> str | None:
    """An id, from its field or from the end of the GraphQL one (`gid://shopify/Order/12`)."""
    plain_id = text(raw.get(name))
    return plain_id or (text(raw.get(f"admin_graphql_api_{name}")) or "").rpartition("/")[2] or None


def notes_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The note attributes by name."""
    return {str(n.get("name")): n.get("value") for n in records(body.get("note_attributes"))}


def money_of(body: Mapping[str, Any]) -> str | None:
    """The currency that the plain amounts are in: the shop's."""
    told = dig(body, "total_price_set", "shop_money", "currency_code")
    return currency(body.get("currency")) or currency(told)


def order_data(body: Mapping[str, Any], order: Order) -> CommerceData:
    """Everything an order's body tells, around its `order`."""
    notes, money_is = notes_of(body), money_of(body)
    return commerce(
        order=order,
        checkout=checkout_named(body),
        items=[item(line, money_is) for line in records(body.get("line_items"))],
        customer=buyer(body, notes),
        shipping_address=place(body.get("shipping_address")),
        billing_address=place(body.get("billing_address")),
        payments=payments(body, order),
        coupons=coupons(body, money_is),
        shipments=[shipment(f) for f in records(body.get("fulfillments"))],
        tracking=visit(body, notes),
        extra=leftovers({name: body.get(name) for name in EXTRA}),
    )


def order_part(body: Mapping[str, Any], **known: Any) -> Order:
    """The order itself; `known`: what the topic adds."""
    money_is, financial = money_of(body), text(body.get("financial_status"))
    canceled = instant(body.get("cancelled_at"))
    status = STATUS.get(financial or "")
    if canceled and status not in {"refunded", "partially_refunded", "expired"}:
        status = "canceled"
    told: dict[str, Any] = {
        "id": ident(body),
        "number": text(body.get("order_number")) or (text(body.get("name")) or "").strip("#"),
        "status": status,
        "payment_status": financial,
        "fulfillment_status": text(body.get("fulfillment_status")),
        "raw_status": financial,
        "currency": money_is,
        "total": money(body.get("total_price"), money_is),
        "subtotal": money(body.get("subtotal_price"), money_is),
        "discount": money(body.get("total_discounts"), money_is),
        "shipping": shipping_cost(body, money_is),
        "tax": money(body.get("total_tax"), money_is),
        "refunded": refunded_so_far(body),
        "created_at": instant(body.get("created_at")),
        "updated_at": instant(body.get("updated_at")),
        "canceled_at": canceled,
        "url": text(body.get("order_status_url")),
        "cancel_reason": text(body.get("cancel_reason")),
        "note": text(body.get("note")),
    }
    return Order(**told | known | {"number": told["number"] or None})


def shipping_cost(body: Mapping[str, Any], money_is: str | None) -> int | None:
    """What shipping costs: the total, or the sum of its lines where the body was trimmed."""
    total = money(dig(body, "total_shipping_price_set", "shop_money", "amount"), money_is)
    lines = [money(line.get("price"), money_is) for line in records(body.get("shipping_lines"))]
    return sum(cost or 0 for cost in lines) if total is None and lines else total


def checkout_named(body: Mapping[str, Any]) -> Checkout | None:
    """The checkout an order came from."""
    found = text(body.get("checkout_id")) or text(body.get("checkout_token"))
    return Checkout(id=found) if found else None


def buyer(body: Mapping[str, Any], notes: Mapping[str, Any]) -> Customer | None:
    """The customer, completed from the addresses."""
    person, home = record(body.get("customer")), record(dig(body, "customer", "default_address"))
    billing, shipping = record(body.get("billing_address")), record(body.get("shipping_address"))
    places = (billing, shipping, home)
    number_ = tax_id(body, places, notes)
    companies = [p.get("company") for p in places if text(p.get("company")) != number_]
    return customer(
        id=ident(person),
        name=first(billing.get("name"), shipping.get("name"), home.get("name")),
        first_name=first(person.get("first_name"), billing.get("first_name")),
        last_name=first(person.get("last_name"), billing.get("last_name")),
        email_address=first(body.get("email"), body.get("contact_email"), person.get("email")),
        company=first(*companies),
        document_number=number_,
        phone_number=first(
            body.get("phone"), person.get("phone"), *(p.get("phone") for p in places)
        ),
        country=text(first(*(p.get("country_code") for p in places))) or "BR",
    )


def tax_id(
    body: Mapping[str, Any], places: tuple[dict[str, Any], ...], notes: Mapping[str, Any]
) -> str | None:
    """A CPF or CNPJ from where stores keep it: a note attribute, a localized field, the company
    line or the second address line.

    https://shopify.dev/docs/apps/build/markets/add-locally-required-order-data
    """
    spelled = {re.sub(r"[^a-z]", "", plain(name)): value for name, value in notes.items()}
    fields = (
        *records(body.get("localized_fields")),
        *records(body.get("localization_extensions")),
    )
    named = [value for name, value in spelled.items() if name in DOCUMENT_NOTES]
    named += [f.get("value") for f in fields if "TAX_CREDENTIAL" in str(f.get("key")).upper()]
    guessed = [p.get(line) for p in places for line in ("company", "address2")]
    for value in (*named, *guessed):
        found = document(value)
        if found and (found.valid or (value in named and found.type != "other")):
            return text(value)
    return None


_HOUSE = re.compile(
    r"(?P<street>.+?)\s*,\s*(?:n[ºo°]?\.?\s*)?(?P<number>\d+\s?[A-Za-z]?|s/n)", re.IGNORECASE
)


def place(raw: Any) -> Address | None:
    """An address. In Brazil the house number stands after the last comma of the first line."""
    told = record(raw)
    country = first(told.get("country_code"), told.get("country"))
    house = _HOUSE.fullmatch(text(told.get("address1")) or "") if country in {"BR", None} else None
    return address(
        name=told.get("name"),
        street=house["street"] if house else told.get("address1"),
        number=house["number"] if house else None,
        complement=told.get("address2"),
        city=told.get("city"),
        state=first(told.get("province_code"), told.get("province")),
        country=country,
        postal_code=told.get("zip"),
    )


def item(line: Mapping[str, Any], money_is: str | None) -> Item:
    """One line of an order, a checkout (`key`), a fulfillment or a refund."""
    money_is = money_is or currency(dig(line, "price_set", "shop_money", "currency_code"))
    unit, count = number(line.get("price")), quantity(line.get("quantity"))
    parts = (*records(line.get("discount_allocations")), *records(line.get("applied_discounts")))
    off = sum(money(part.get("amount"), money_is) or 0 for part in parts)
    gross = None if unit is None else money(unit * Decimal(str(count)), money_is)
    return Item(
        id=text(line.get("id")) or text(line.get("key")),
        product_id=text(line.get("product_id")),
        variant_id=text(line.get("variant_id")),
        sku=text(line.get("sku")),
        name=first(*(text(line.get(k)) for k in ("name", "title", "presentment_title"))),
        quantity=count,
        unit_price=money(unit, money_is),
        total=None if gross is None else gross - off,
        discount=off if parts else None,
        type="subscription_plan" if line.get("selling_plan_allocation") else "product",
    )


def refunded_item(raw: Mapping[str, Any], money_is: str | None) -> Item:
    """What came back of a line; the line's own discounts are of its whole quantity."""
    line = record(raw.get("line_item")) | {"quantity": raw.get("quantity")}
    found = item(line | {"discount_allocations": []}, money_is)
    found.total = money(raw.get("subtotal"), money_is)
    return found


def method_in(words: str) -> PaymentMethod:
    """The payment method that free text gives away; `other` when no word is known."""
    low = plain(words)
    found = next((method for word, method in METHOD_WORDS if word in low), None)
    return found or method_of(words) or "other"


def payments(body: Mapping[str, Any], order: Order) -> list[Payment]:
    """One payment per gateway; the amount is known when there is only one."""
    told = body.get("payment_gateway_names")
    names = [name for name in map(text, told if isinstance(told, list) else []) if name]
    return [
        Payment(
            method=method_in(name),
            status=order.payment_status,
            amount=order.total if len(names) == 1 else None,
            paid_at=order.paid_at,
            gateway=name,
        )
        for name in names
    ]


def coupons(body: Mapping[str, Any], money_is: str | None) -> list[Coupon]:
    """The discount codes used."""
    return [
        Coupon(code=text(code.get("code")), amount=money(code.get("amount"), money_is))
        for code in records(body.get("discount_codes"))
    ]


def visit(body: Mapping[str, Any], notes: Mapping[str, Any]) -> Any:
    """Where the buyer came from: note attributes win over the landing page."""
    client = record(body.get("client_details"))
    return tracking(
        notes,
        body.get("landing_site"),
        ip=first(body.get("browser_ip"), client.get("browser_ip")),
        user_agent=client.get("user_agent"),
    )


def shipment(raw: Mapping[str, Any]) -> Shipment:
    """A fulfillment as a parcel."""
    word = text(raw.get("shipment_status"))
    return Shipment(
        id=ident(raw),
        carrier=text(raw.get("tracking_company")),
        method=text(raw.get("service")),
        tracking_code=text(raw.get("tracking_number")) or text(dig(raw, "tracking_numbers", 0)),
        tracking_url=text(raw.get("tracking_url")) or text(dig(raw, "tracking_urls", 0)),
        status=word,
        raw_status=word or text(raw.get("status")),
        estimated_delivery=instant(raw.get("estimated_delivery_at")),
    )


def refund_amount(refund: Mapping[str, Any], money_is: str | None) -> int:
    """What a refund has paid back: its successful refund transactions."""
    return sum(
        money(t.get("amount"), money_is) or 0
        for t in records(refund.get("transactions"))
        if t.get("kind") == "refund" and t.get("status") == "success"
    )


def refunded_so_far(body: Mapping[str, Any]) -> int | None:
    """What all refunds of an order have paid back; None before the first."""
    refunds = records(body.get("refunds"))
    return sum(refund_amount(r, money_of(body)) for r in refunds) if refunds else None


def newest(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The part (a refund, a fulfillment) created last; {} when there is none."""
    epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return max(parts, key=lambda part: instant(part.get("created_at")) or epoch, default={})
