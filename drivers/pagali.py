"""Pagali: two providers of one name, told apart by the content type. The wallet pagali.cv posts
form (or query) parameters to the shop's `notify` address; the Brazilian processor, of which nothing
is published, is taken to send JSON.

https://www.pagali.cv (no manual; the parameters are those its open-source integrations read).
Nothing is signed, and `notify` passes through the buyer's browser: every event says `unverified`.
`settings.trust_unsigned: false` keeps a payment it claims from becoming order.paid;
`settings.unwrap_order_id: true` strips the five random characters that some shops put around ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivers.base import Driver, fact, raw_event
from drivers.body import parse_body
from drivers.forms import parse_form
from drivers.paying import method_of
from drivers.people import customer
from drivers.read import (
    cents,
    currency,
    dig,
    flag,
    instant,
    money,
    need,
    quantity,
    record,
    records,
    text,
)
from drivers.verify import Query, Token
from schemas.events import Event
from schemas.order import Item, Order, OrderStatus, Payment, commerce
from schemas.request import Inbound, Verified

STATUS: Mapping[str, OrderStatus] = {
    "completed": "paid",
    "paid": "paid",
    "approved": "paid",
    "pending": "pending",
    "waiting_payment": "pending",
    "cancelled": "canceled",
    "canceled": "canceled",
    "failed": "failed",
    "refused": "failed",
    "refunded": "refunded",
    "chargeback": "chargeback",
    "expired": "expired",
}
# The one value that every integration sends: the escudo of Cape Verde.
CURRENCY = {"1": "CVE"}
WRAP = 5


def parse(inbound: Inbound) -> Any:
    """JSON where the content type or the first byte says so, else a form, else the query."""
    if not inbound.body.strip():
        return {name: inbound.param(name) for name in inbound.query if name != "k"}
    if "json" in inbound.content_type or inbound.body.lstrip()[:1] == b"{":
        return parse_body(inbound)
    return parse_form(inbound.body)


def normalize(v: Verified) -> Sequence[Event]:
    """What the one status of a notification says of its order."""
    ident, word = _order_id(v), _word(v.payload) or need(v.payload, "payment_status")
    status = STATUS.get(word.lower())
    is_doubted = status == "paid" and flag(v.settings.get("trust_unsigned")) is False
    if status is None or is_doubted:
        drift = () if is_doubted else (f"unknown_status:{word}",)
        return [raw_event(v, provider_event=word, key=ident, drift=drift)]
    data = _wallet(v.payload, ident) if _is_wallet(v.payload) else _processor(v.payload, ident)
    payment = data["payments"][0] if data["payments"] else Payment()
    order = data["order"] or Order()
    order.status, order.raw_status = status, word
    order.paid_at = payment.paid_at
    data["extra"] = {"unverified": True}
    return [
        Event(
            name=f"order.{status}",
            key=ident,
            dedupe_key=fact(ident, payment.id),
            provider_event=text(dig(v.payload, "event")) or word,
            occurred_at=payment.paid_at if status == "paid" else None,
            data=data,
        )
    ]


def _is_wallet(payload: Any) -> bool:
    return not isinstance(dig(payload, "data"), dict)


def _word(payload: Any) -> str | None:
    """The status; the processor's may stand in the event's name only (`payment.paid`)."""
    if _is_wallet(payload):
        return text(dig(payload, "payment_status"))
    event = text(dig(payload, "event")) or ""
    return text(dig(payload, "data", "status")) or event.rpartition(".")[2] or None


def _order_id(v: Verified) -> str:
    if not _is_wallet(v.payload):
        return text(dig(v.payload, "data", "order_id")) or need(v.payload, "data", "id")
    ident = need(v.payload, "order_id")
    if flag(v.settings.get("unwrap_order_id")) and len(ident) > 2 * WRAP:
        return ident[WRAP:-WRAP]
    return ident


def _wallet(body: dict[str, Any], ident: str) -> Any:
    """The parameters of the payment form, where they are sent back with the notification."""
    code = text(body.get("currency_code"))
    money_is = CURRENCY.get(code or "") or currency(code)
    columns = [_column(body, name) for name in ("item_number", "item_name", "quantity", "amount")]
    lines = max(map(len, columns))
    numbers, names, counts, amounts = ([*c, *[None] * (lines - len(c))] for c in columns)
    totals = [*_column(body, "total_item"), *[None] * lines]
    return commerce(
        order=Order(id=ident, currency=money_is, total=money(body.get("total"), money_is)),
        items=[
            Item(
                id=text(numbers[at]),
                name=text(names[at]),
                quantity=quantity(counts[at]),
                unit_price=money(amounts[at], money_is),
                total=money(totals[at], money_is),
            )
            for at in range(lines)
        ],
    )


def _column(body: dict[str, Any], name: str) -> list[Any]:
    found = body.get(name)
    return found if isinstance(found, list) else [found] if text(found) else []


def _processor(body: dict[str, Any], ident: str) -> Any:
    sale = record(body.get("data"))
    money_is, buyer = currency(sale.get("currency"), "BRL"), record(sale.get("customer"))
    paid = Payment(
        id=text(sale.get("id")),
        method=method_of(sale.get("payment_method")),
        status=text(sale.get("status")),
        amount=cents(sale.get("amount")),
        paid_at=instant(sale.get("paid_at")),
    )
    return commerce(
        order=Order(id=ident, currency=money_is, total=cents(sale.get("amount"))),
        items=[
            Item(
                id=text(line.get("id")),
                name=text(line.get("name")),
                quantity=quantity(line.get("quantity")),
                unit_price=cents(line.get("unit_price")),
            )
            for line in records(sale.get("items"))
        ],
        customer=customer(
            name=buyer.get("name"),
            email_address=buyer.get("email"),
            document_number=buyer.get("document"),
            phone_number=buyer.get("phone"),
        ),
        payments=[paid],
    )


def delivery_key(v: Verified) -> str | None:
    """There is no id: an order reaches each status once."""
    if _is_wallet(v.payload):
        ident = text(dig(v.payload, "order_id"))
    else:
        ident = text(dig(v.payload, "data", "id"))
    word = _word(v.payload)
    return f"{ident}:{word.lower()}" if ident and word else None


DRIVER = Driver(
    slug="pagali",
    id="01ke7rhnt6fhb6tsbbhcdpepga",
    name="Pagali",
    description={
        "pt": "Experimental: notificações de pagamento da Pagali (pagali.cv) e da processadora "
        "brasileira de mesmo nome. Nenhuma é assinada: confira os pagamentos no painel.",
        "en": "Experimental: payment notifications of Pagali (pagali.cv) and of the Brazilian "
        "processor of the same name. None is signed: check payments in the panel.",
    },
    docs_url="https://www.pagali.cv",
    scheme=Token(at=(Query("k"),), required=False),
    parse=parse,
    normalize=normalize,
    delivery_key=delivery_key,
    supported_events=(
        "order.pending",
        "order.paid",
        "order.failed",
        "order.canceled",
        "order.expired",
        "order.refunded",
        "order.chargeback",
        "provider.event",
    ),
)
