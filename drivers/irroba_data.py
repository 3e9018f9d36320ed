"""Irroba's orders and carts as canonical data: OpenCart's words, amounts with four decimals."""

from __future__ import annotations

import re
from typing import Any

from drivers.base import leftovers
from drivers.paying import method_of
from drivers.people import address, customer, plain
from drivers.read import currency, first, instant, money, quantity, record, records, text, tracking
from schemas.order import (
    Checkout,
    Coupon,
    Invoice,
    Item,
    Order,
    OrderStatus,
    Payment,
    PaymentMethod,
    Shipment,
    commerce,
)

STATUS: dict[str, OrderStatus] = {
    "order.pending": "pending",
    "order.paid": "paid",
    "order.failed": "failed",
    "order.canceled": "canceled",
    "order.expired": "expired",
    "order.refunded": "refunded",
    "order.chargeback": "chargeback",
}
# `payment_method` is free text: the words that give a method away.
METHODS: tuple[tuple[str, PaymentMethod], ...] = (
    ("pix", "pix"),
    ("boleto", "boleto"),
    ("debito", "debit_card"),
    ("cart", "credit_card"),
    ("credito", "credit_card"),
    ("transfer", "transfer"),
    ("deposito", "transfer"),
)


def order_data(order: dict[str, Any], name: str) -> Any:
    """The canonical data of an order in the state that the event `name` tells."""
    money_is, totals = currency(order.get("currency_code"), "BRL"), _totals(order)
    invoice = text(order.get("invoice_no"))
    return commerce(
        order=_order(order, name, money_is, totals),
        items=[_item(line, money_is) for line in _list(order.get("order_product"))],
        customer=_buyer(order),
        shipping_address=_address(order, "shipping"),
        billing_address=_address(order, "payment"),
        payments=_payments(order, name, money_is),
        coupons=[_coupon(line, money_is) for line in totals if line.get("code") == "coupon"],
        shipments=_shipments(order),
        invoice=Invoice(number=invoice) if invoice not in {None, "0"} else None,
        tracking=tracking(order, ip=order.get("ip")),
        extra=leftovers({k: order.get(k) for k in ("store_id", "store_name", "reference")}),
    )


def cart_data(cart: dict[str, Any]) -> Any:
    """The canonical data of an abandoned cart."""
    money_is = currency(cart.get("currency_code"), "BRL")
    return commerce(
        checkout=Checkout(
            id=text(cart.get("abandoned_cart_id")),
            currency=money_is,
            total=money(cart.get("total"), money_is),
            abandoned_at=instant(cart.get("date_added")),
        ),
        items=[_item(line, money_is) for line in _list(cart.get("products"))],
        customer=_buyer(cart),
    )


def _list(value: Any) -> list[dict[str, Any]]:
    """The lines of a list, or the one line that stands in its place."""
    return records(value) or [line for line in (record(value),) if line]


def _totals(order: dict[str, Any]) -> list[dict[str, Any]]:
    return _list(order.get("order_total"))


def _sum(totals: list[dict[str, Any]], code: str, money_is: str | None) -> int | None:
    found = [money(line.get("value"), money_is) for line in totals if line.get("code") == code]
    return sum(amount or 0 for amount in found) if found else None


def _order(
    order: dict[str, Any], name: str, money_is: str | None, totals: list[dict[str, Any]]
) -> Order:
    changed = instant(order.get("date_modified"))
    off = [money(line.get("value"), money_is) or 0 for line in totals]
    word = first(order.get("order_status"), order.get("order_status_id"))
    return Order(
        id=text(order.get("order_id")),
        number=text(order.get("order_id")),
        status=STATUS.get(name),
        fulfillment_status=GOODS.get(name),
        raw_status=text(word),
        currency=money_is,
        total=money(order.get("total"), money_is),
        subtotal=_sum(totals, "sub_total", money_is),
        discount=-sum(amount for amount in off if amount < 0) if totals else None,
        shipping=_sum(totals, "shipping", money_is),
        tax=_sum(totals, "tax", money_is),
        created_at=instant(order.get("date_added")),
        updated_at=changed,
        canceled_at=changed if name == "order.canceled" else None,
        refunded_at=changed if name == "order.refunded" else None,
        shipped_at=changed if name == "order.shipped" else None,
        delivered_at=changed if name == "order.delivered" else None,
        note=text(order.get("comment")),
    )


GOODS = {"order.shipped": "shipped", "order.delivered": "delivered", "order.invoiced": "invoiced"}


def _item(line: dict[str, Any], money_is: str | None) -> Item:
    return Item(
        id=text(line.get("order_product_id")),
        product_id=text(line.get("product_id")),
        sku=text(line.get("model")),
        name=text(line.get("name")),
        quantity=quantity(line.get("quantity")),
        unit_price=money(line.get("price"), money_is),
        total=money(line.get("total"), money_is),
    )


def _buyer(order: dict[str, Any]) -> Any:
    return customer(
        id=order.get("customer_id"),
        first_name=order.get("firstname"),
        last_name=order.get("lastname"),
        email_address=order.get("email"),
        document_number=order.get("cpf_cnpj"),
        phone_number=order.get("telephone"),
    )


def _address(order: dict[str, Any], kind: str) -> Any:
    told = {k.removeprefix(f"{kind}_"): x for k, x in order.items() if k.startswith(f"{kind}_")}
    names = (text(told.get("firstname")), text(told.get("lastname")))
    return address(
        name=" ".join(filter(None, names)),
        street=told.get("address_1"),
        number=told.get("number"),
        complement=told.get("complement"),
        district=told.get("address_2"),
        city=told.get("city"),
        state=first(told.get("zone_code"), told.get("zone")),
        country=told.get("country"),
        postal_code=told.get("postcode"),
    )


def _payments(order: dict[str, Any], name: str, money_is: str | None) -> list[Payment]:
    words = text(order.get("payment_method"))
    if words is None:
        return []
    found = next((method for word, method in METHODS if word in plain(words)), method_of(words))
    return [
        Payment(
            method=found,
            status=STATUS.get(name),
            amount=money(order.get("total"), money_is),
            gateway=text(order.get("payment_code")),
        )
    ]


def _coupon(line: dict[str, Any], money_is: str | None) -> Coupon:
    """A coupon's code stands in its title only: `Cupom (MARCO10)`."""
    title = text(line.get("title")) or ""
    code = re.search(r"\(([^()]+)\)", title)
    amount = money(line.get("value"), money_is)
    return Coupon(
        code=code[1].strip() or None if code else title or None,
        amount=abs(amount) if amount is not None else None,
    )


def _shipments(order: dict[str, Any]) -> list[Shipment]:
    parcel = Shipment(
        method=text(order.get("shipping_method")),
        tracking_code=text(order.get("code_tracking")),
    )
    return [parcel] if parcel != Shipment() else []
