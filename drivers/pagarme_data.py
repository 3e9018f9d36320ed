"""What objects of Pagar.me's core API (v5) say, in canonical parts. Money is in cents, time UTC.

https://docs.pagar.me/reference/exemplo-de-webhook-1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, customer, dialled
from drivers.read import (
    cents,
    currency,
    dig,
    first,
    instant,
    integer,
    latest,
    quantity,
    record,
    records,
    text,
    tracking,
)
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

# `status` of orders, charges and invoices.
# https://docs.pagar.me/reference/pedidos-1
STATUS: Mapping[str, OrderStatus] = {
    "pending": "pending",
    "processing": "pending",
    "scheduled": "pending",
    "paid": "paid",
    "overpaid": "paid",
    "underpaid": "paid",
    "canceled": "canceled",
    "failed": "failed",
    "chargedback": "chargeback",
}


@dataclass(frozen=True, slots=True)
class Sale:
    """An order and its charges, from whichever end an event tells of them.

    `raw_status` is the word of the object that the event is about.
    """

    order: dict[str, Any]
    charges: list[dict[str, Any]] = field(default_factory=list)
    raw_status: str | None = None

    @property
    def last(self) -> dict[str, Any]:
        """The last charge; an empty one where there is none."""
        return self.charges[-1] if self.charges else {}

    @property
    def is_whole(self) -> bool:
        """Whether the last charge covers the order: not so when it is split over several cards."""
        part, all_of_it = cents(self.last.get("amount")), cents(self.order.get("amount"))
        return part is None or all_of_it is None or part >= all_of_it

    def told(self, name: str) -> Any:
        """A field of the order, else of its last charge."""
        return first(self.order.get(name), self.last.get(name))


def sale_data(sale: Sale, status: OrderStatus | None, **known: Any) -> CommerceData:
    """The snapshot of a sale; `known`: further fields of Order."""
    buyer, shipping = record(sale.told("customer")), record(sale.order.get("shipping"))
    billed = dig(sale.last, "last_transaction", "card", "billing_address")
    metadata = record(sale.order.get("metadata")) | record(sale.last.get("metadata"))
    return commerce(
        order=Order(**(_order(sale, status) | known)),
        items=[_item(line) for line in records(sale.order.get("items"))],
        customer=_buyer(buyer),
        billing_address=_address(first(billed, buyer.get("address")), buyer.get("name")),
        shipping_address=_address(shipping.get("address"), shipping.get("recipient_name")),
        payments=[_payment(charge) for charge in sale.charges],
        tracking=tracking(metadata, ip=sale.order.get("ip")),
        extra=_leftovers(sale, metadata),
    )


def _order(sale: Sale, status: OrderStatus | None) -> dict[str, Any]:
    last = record(sale.last.get("last_transaction"))
    return {
        "id": text(sale.order.get("id")),
        "number": text(sale.told("code")),
        "status": status,
        "payment_status": status,
        "raw_status": sale.raw_status,
        "currency": currency(sale.told("currency"), "BRL"),
        "total": cents(sale.told("amount")),
        "shipping": cents(dig(sale.order, "shipping", "amount")),
        "created_at": instant(sale.told("created_at"), "UTC"),
        "updated_at": instant(sale.told("updated_at"), "UTC"),
        "paid_at": latest(*(instant(c.get("paid_at"), "UTC") for c in sale.charges)),
        "expires_at": instant(first(last.get("expires_at"), sale.last.get("due_at")), "UTC"),
        "checkout_url": text(dig(sale.order, "checkouts", 0, "payment_url")),
    }


def _item(line: dict[str, Any]) -> Item:
    unit = cents(first(line.get("amount"), dig(line, "pricing_scheme", "price")))
    count = quantity(line.get("quantity"))
    return Item(
        id=text(line.get("id")),
        sku=text(line.get("code")),
        name=text(first(line.get("description"), line.get("name"))),
        quantity=count,
        unit_price=unit,
        total=None if unit is None else round(unit * count),
    )


def _buyer(who: dict[str, Any]) -> Customer | None:
    told = record(who.get("phones"))
    number = record(first(told.get("mobile_phone"), told.get("home_phone")))
    return customer(
        id=who.get("id"),
        name=who.get("name"),
        email_address=who.get("email"),
        company=who.get("name") if who.get("type") == "company" else None,
        document_number=who.get("document"),
        phone_number=dialled(
            number.get("country_code"), number.get("area_code"), number.get("number")
        ),
    )


def _address(value: Any, name: Any) -> Address | None:
    """`line_1` is `number, street, district`."""
    told = record(value)
    parts = [p.strip() for p in (text(told.get("line_1")) or "").split(",")]
    if len(parts) < 3:  # not as documented: only the whole is safe
        parts = ["", ", ".join(parts), ""]
    return address(
        name=name,
        number=parts[0],
        street=parts[1],
        district=", ".join(parts[2:]),
        complement=told.get("line_2"),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=told.get("zip_code"),
    )


def _payment(charge: dict[str, Any]) -> Payment:
    told = record(charge.get("last_transaction"))
    method, plastic = method_of(charge.get("payment_method")), record(told.get("card"))
    ends = instant(first(told.get("expires_at"), told.get("due_at"), charge.get("due_at")), "UTC")
    is_pix, is_slip = method == "pix", method == "boleto"
    return Payment(
        id=text(charge.get("id")),
        method=method,
        status=text(charge.get("status")),
        amount=cents(charge.get("amount")),
        installments=integer(told.get("installments")),
        card=card(plastic.get("brand"), plastic.get("last_four_digits")),
        # Of a boleto, `barcode` and `qr_code` are addresses of pictures.
        boleto=bank_slip(
            told.get("line"),
            told.get("barcode"),
            url=first(told.get("url"), told.get("pdf")),
            due_at=ends,
        )
        if is_slip
        else None,
        pix=pix(told.get("qr_code"), told.get("qr_code_url"), ends) if is_pix else None,
        paid_at=instant(charge.get("paid_at"), "UTC"),
        gateway="pagarme",
    )


def _leftovers(sale: Sale, metadata: dict[str, Any]) -> dict[str, Any]:
    last = record(sale.last.get("last_transaction"))
    return leftovers(
        {
            "metadata": metadata,
            "charge_id": sale.last.get("id"),
            "paid_amount": sale.last.get("paid_amount"),
            "shipping_method": dig(sale.order, "shipping", "description"),
            "splits": last.get("splits"),
            "acquirer_message": last.get("acquirer_message"),
            "end_to_end_id": last.get("end_to_end_id"),
        }
    )


def refunded(sale: Sale) -> int | None:
    """What went back to the buyer so far, over all charges that the event shows."""
    amounts = [cents(c.get("canceled_amount")) for c in sale.charges]
    known = [a for a in amounts if a is not None]
    return sum(known) if known else None


def subscription(told: dict[str, Any], cycle: Any = None) -> Subscription | None:
    """A subscription; `cycle` is the period of an invoice, else its own current one is taken."""
    if text(told.get("id")) is None:
        return None
    period = record(first(cycle, told.get("current_cycle")))
    return Subscription(
        id=text(told.get("id")),
        plan=text(first(dig(told, "plan", "name"), told.get("description"))),
        status=text(told.get("status")),
        cycle=integer(period.get("cycle")),
        period_start=instant(period.get("start_at"), "UTC"),
        period_end=instant(first(period.get("end_at"), told.get("next_billing_at")), "UTC"),
        canceled_at=instant(told.get("canceled_at"), "UTC"),
    )
