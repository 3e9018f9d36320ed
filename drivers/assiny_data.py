"""What an Assiny delivery says in any of its layouts, in canonical parts; amounts are in cents.

https://assiny.gitbook.io/assiny-docs/webhooks/estrutura-dos-dados/transaction
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from drivers.base import leftovers
from drivers.paying import method_of, pix
from drivers.people import address, customer, email
from drivers.read import (
    cents,
    currency,
    dig,
    first,
    flag,
    instant,
    integer,
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
    Partner,
    Payment,
    Subscription,
    commerce,
)

# `commissions[].type`
ROLES: Mapping[str, Literal["producer", "coproducer", "affiliate"]] = {
    "PRODUCER": "producer",
    "COPRODUCER": "coproducer",
    "CO_PRODUCER": "coproducer",
    "AFFILIATE": "affiliate",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery with its parts found: inside `data`, else beside it (older ones, tests).

    In the oldest layout `sale` is `data` itself.
    """

    body: dict[str, Any]
    data: dict[str, Any]
    sale: dict[str, Any]
    offer: dict[str, Any]
    client: dict[str, Any]
    metadata: dict[str, Any]
    plan: dict[str, Any]

    @property
    def id(self) -> str | None:
        """The transaction's id."""
        return text(self.sale.get("id")) or text(self.sale.get("transaction_id"))

    @property
    def is_renewal(self) -> bool:
        """Whether the delivery itself calls the charge a renewal."""
        return any(
            flag(part.get("is_subscription_renew"))
            for part in (self.sale, self.offer, self.plan, self.data, self.body)
        )


def read(body: dict[str, Any]) -> Told:
    """The parts of a delivery."""
    data = record(body.get("data"))

    def part(*names: str) -> dict[str, Any]:
        found = (record(place.get(name)) for name in names for place in (data, body))
        return next((x for x in found if x), {})

    offer = part("offer")
    return Told(
        body=body,
        data=data,
        sale=part("transaction") or data,
        offer=offer or {"product": part("product"), "amount": data.get("amount")},
        client=part("client", "customer"),
        metadata=part("metadata"),
        plan=record(offer.get("subscription")) or part("subscription"),
    )


def when(value: Any) -> datetime | None:
    """A time, also in the form that Go's nullable times leak: `{"Time": …, "Valid": true}`."""
    if isinstance(value, dict):
        return None if flag(value.get("Valid")) is False else instant(value.get("Time"))
    return instant(value)


def data_of(told: Told, status: OrderStatus | None) -> CommerceData:
    """Everything the delivery tells; `status` is what the event means for the order."""
    order = _order(told, status)
    return commerce(
        order=order,
        items=_items(told, order),
        customer=_buyer(told.client),
        billing_address=_address(told.client),
        payments=[_payment(told, order)],
        subscription=_subscription(told),
        tracking=tracking(told.metadata, told.metadata.get("url_parameters")),
        partners=_partners(told),
        extra=_extra(told),
    )


def _order(told: Told, status: OrderStatus | None) -> Order:
    sale = told.sale
    updated = when(sale.get("updated_at"))
    total = cents(sale.get("amount"))
    return Order(
        id=told.id,
        status=status,
        payment_status=status,
        raw_status=text(sale.get("status")),
        currency=currency(sale.get("currency"), "BRL"),
        total=total,
        fee=cents(sale.get("fee_amount")),
        refunded=total if status == "refunded" else None,  # there are no partial refunds
        created_at=when(sale.get("created_at")),
        updated_at=updated,
        # The last change of the transaction is the best date of payment there is.
        paid_at=updated if status == "paid" else None,
        refunded_at=updated if status == "refunded" else None,
        checkout_url=text(told.metadata.get("event_source_url")),
    )


def _items(told: Told, order: Order) -> list[Item]:
    """The offer and its order bumps, at what was charged where that adds up to the total."""
    bumps = records(first(told.offer.get("order_bumps"), told.data.get("order_bumps")))
    lines = [told.offer, *bumps]
    taxed = [cents(line.get("amount_with_tax")) for line in lines]
    charged = None not in taxed and sum(t or 0 for t in taxed) == order.total
    listed = [cents(first(line.get("amount"), line.get("product_price"))) for line in lines]
    items = [
        Item(
            product_id=text(dig(line, "product", "id")),
            variant_id=text(line.get("id")),
            sku=text(line.get("id")),
            name=text(dig(line, "product", "name")) or text(line.get("name")),
            unit_price=price,
            total=price,
            type="subscription_plan" if _recurs(line) else "product",
            offer_type="main" if line is told.offer else "order_bump",
        )
        for line, price in zip(lines, taxed if charged else listed, strict=True)
    ]
    return [item for item in items if item.name or item.sku]


def _recurs(line: dict[str, Any]) -> bool:
    return bool(record(line.get("subscription")) or text(line.get("recurrence")))


def _buyer(person: dict[str, Any]) -> Customer | None:
    return customer(
        id=person.get("id"),
        name=first(person.get("full_name"), person.get("name")),
        first_name=person.get("first_name"),
        last_name=person.get("last_name"),
        email_address=person.get("email"),
        document_number=person.get("document"),
        phone_number=person.get("phone"),
    )


def _address(person: dict[str, Any]) -> Address | None:
    """No delivery with an address is public: the usual names are tried."""
    told = record(person.get("address"))
    return address(
        name=first(person.get("full_name"), person.get("name")),
        street=told.get("street"),
        number=told.get("number"),
        complement=told.get("complement"),
        district=first(told.get("neighborhood"), told.get("district")),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=first(told.get("zip_code"), told.get("zipcode"), told.get("postal_code")),
    )


def _payment(told: Told, order: Order) -> Payment:
    sale = told.sale
    words = (
        sale.get("payment_type"),
        sale.get("payment_method"),
        dig(told.data, "payment", "method"),
    )
    split = dig(sale, "smart_installment", "total_installments")
    return Payment(
        id=order.id,
        method=method_of(first(*words)),
        status=order.raw_status,
        amount=order.total,
        installments=integer(first(split, sale.get("installments"))),
        pix=pix(dig(sale, "additional_data", "PIX", "qr_code")),
        paid_at=order.paid_at,
    )


def _subscription(told: Told) -> Subscription | None:
    plan = told.plan
    if not plan:
        return None
    return Subscription(
        id=text(plan.get("id")),
        plan=text(told.offer.get("name")) or text(dig(told.offer, "product", "name")),
        status=(text(plan.get("status")) or "").lower() or None,
        cycle=integer(plan.get("cycle")),
        period_end=when(first(plan.get("current_period_end"), plan.get("next_billing_date"))),
    )


def _partners(told: Told) -> list[Partner]:
    found = []
    for share in records(told.sale.get("commissions")):
        role = ROLES.get((text(share.get("type")) or "").upper())
        who = share.get("user")
        if role is None:
            continue
        found.append(
            Partner(
                role=role,
                id=text(dig(who, "id")),
                name=text(who) or text(dig(who, "name")),
                email=email(first(share.get("email"), dig(who, "email"))),
                amount=cents(share.get("amount")),
            )
        )
    return found


def _extra(told: Told) -> dict[str, Any]:
    metadata, clicked = told.metadata, record(told.metadata.get("url_parameters"))
    return leftovers(
        {
            "net_amount": cents(told.sale.get("net_amount")),
            "recurrence": first(told.plan.get("recurrence"), told.offer.get("recurrence")),
            "organization_id": dig(told.sale, "project", "organization", "id"),
            "project_id": first(dig(told.sale, "project", "id"), told.offer.get("project_id")),
            "page_url": clicked.get("page_url"),
            **{k: metadata.get(k) for k in ("funnel_id", "node_id")},
            **{k: x for k, x in {**clicked, **metadata}.items() if k.startswith("trk_")},
        }
    )
