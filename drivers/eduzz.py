"""Eduzz: dotted events signed over the raw body, and before them Órbita's webhook, a form or flat
JSON that carries the producer's token.

https://github.com/eduzz/eduzz-webhook-docs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from drivers.base import Credential, Driver, fact, leftovers, raw_event
from drivers.body import parse_body
from drivers.eduzz_api import API, OAUTH, SETTINGS
from drivers.eduzz_data import (
    amount,
    buyer,
    cart_ids,
    contract,
    contract_data,
    invoice_data,
    invoice_order,
    item,
    phone_of,
)
from drivers.eduzz_orbita import orbita
from drivers.forms import nest
from drivers.read import (
    currency,
    dig,
    first,
    instant,
    integer,
    need,
    record,
    records,
    text,
    tracking,
)
from drivers.verify import Choice, Field, Header, Hmac, Token, has_header
from schemas import codec
from schemas.errors import MalformedError, UnparsableError
from schemas.events import Event
from schemas.order import Checkout, Item, OrderStatus, commerce
from schemas.request import Grant, Inbound, Reply, Verified

# https://github.com/eduzz/eduzz-webhook-docs/tree/main/events/myeduzz
INVOICE: Mapping[str, tuple[str, OrderStatus]] = {
    "invoice_opened": ("order.created", "created"),
    "invoice_waiting_payment": ("order.pending", "pending"),
    "invoice_scheduled": ("order.pending", "pending"),
    "invoice_recovering": ("order.pending", "pending"),
    "invoice_paid": ("order.paid", "paid"),
    "invoice_refused": ("order.failed", "failed"),
    "invoice_canceled": ("order.canceled", "canceled"),
    "invoice_expired": ("order.expired", "expired"),
    "invoice_overdue": ("order.expired", "expired"),
    "invoice_waiting_refund": ("order.updated", "paid"),
    "invoice_refunded": ("order.refunded", "refunded"),
    "invoice_chargeback": ("order.chargeback", "chargeback"),
    "invoice_negotiated": ("order.updated", "pending"),
    "invoice_negotiatied": ("order.updated", "pending"),  # so spelled in the documentation
}
# `data.status` of invoices; the event decides, another word is reported.
STATUS = set(
    "open waiting_payment scheduled recovering paid refused canceled expired overdue "
    "waiting_refund refunded chargeback negotiated".split()
)
# `contract.status` in lower case.
CONTRACT = {
    "uptodate": "subscription.renewed",
    "paid": "subscription.renewed",
    "free": "subscription.renewed",
    "waitingpayment": "subscription.past_due",
    "awaitingpayment": "subscription.past_due",
    "late": "subscription.past_due",
    "defaulter": "subscription.past_due",
    "canceled": "subscription.canceled",
    "suspended": "subscription.canceled",
    "finished": "subscription.canceled",
    "trial": "subscription.updated",
}
CARTS = {"sun.cart_abandonment", "myeduzz.cart_abandonment"}
IGNORED_APPS = {"nutror", "alpaclass", "blinket", "ping"}


def parse(inbound: Inbound) -> Any:
    """The body as values. Órbita flattens its lists also in JSON: `trans_items[0][item_id]`."""
    value = parse_body(inbound)
    is_flat = isinstance(value, dict) and any("[" in name for name in value)
    return nest(value.items()) if is_flat else value


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery of either webhook."""
    body = record(v.payload)
    if not isinstance(body.get("data"), dict):
        return orbita(v, body)
    event, data = need(body, "event"), body["data"]
    app, dot, kind = event.partition(".")
    if app in IGNORED_APPS or event == "myeduzz.commission_processed":
        return []
    if event in CARTS:
        return [_cart(body, data)]
    # The first contracts were told without the name of the application.
    found = MYEDUZZ.get(kind if dot else app) if app == "myeduzz" or not dot else None
    if found is not None:
        return found(body, data, kind or app)
    known = kind.startswith("contract_") and kind.endswith("_attempted")
    key = text(first(data.get("id"), dig(data, "contract", "id")))
    drift = () if known else (f"unknown_event:{event}",)
    return [raw_event(v, provider_event=event, key=key, occurred_at=_sent(body), drift=drift)]


def _sent(body: dict[str, Any]) -> datetime | None:
    return instant(first(body.get("sentDate"), body.get("createdAt")), "UTC")


def _invoice(body: dict[str, Any], data: dict[str, Any], kind: str) -> list[Event]:
    name, status = INVOICE[kind]
    ident, word = need(body, "data", "id"), text(data.get("status"))
    order, plan = invoice_order(data, status), contract(record(data.get("contract")))
    if order.status == "partially_refunded":
        name = "order.partially_refunded"
    if kind == "invoice_overdue" and plan:
        name = "subscription.past_due"
    # An invoice is opened, paid and so on once, but there are several ways to wait for it.
    facts: dict[str, tuple[Any, ...]] = {
        "order.pending": (kind,),
        "order.updated": (kind,),
        "order.refunded": (order.refunded,),
        "order.partially_refunded": (order.refunded,),
    }
    times = {
        "order.created": order.created_at,
        "order.paid": order.paid_at,
        "order.canceled": order.canceled_at,
        "order.refunded": order.refunded_at,
        "order.partially_refunded": order.refunded_at,
    }
    return [
        Event(
            name=name,
            key=ident,
            dedupe_key=fact(ident, *facts.get(name, ())),
            provider_event=need(body, "event"),
            provider_event_id=text(body.get("id")),
            occurred_at=times.get(name) or _sent(body),
            data=invoice_data(data, order, plan),
            drift=() if word is None or word in STATUS else (f"unknown_status:{word}",),
        )
    ]


def _contract(body: dict[str, Any], data: dict[str, Any], name: str, *facts: Any) -> Event:
    told = record(data.get("contract"))
    plan = contract(told)
    if plan is None:
        raise MalformedError("missing:data.contract.id")
    updated = instant(told.get("updatedAt"), "UTC") or _sent(body)
    if name == "subscription.canceled":
        plan.canceled_at = updated
        plan.cancel_reason = text(first(data.get("reason"), told.get("reason")))
    return Event(
        name=name,
        key=str(plan.id),
        dedupe_key=fact(plan.id, *facts),
        provider_event=need(body, "event"),
        provider_event_id=text(body.get("id")),
        occurred_at=updated,
        data=contract_data(data, plan),
    )


def _contract_created(body: dict[str, Any], data: dict[str, Any], _kind: str) -> list[Event]:
    return [_contract(body, data, "subscription.created")]


def _contract_updated(body: dict[str, Any], data: dict[str, Any], _kind: str) -> list[Event]:
    """A contract in order is a renewal if its charges grew: the number of the charge names that
    fact, so telling it again changes nothing. Every such update is news as well.
    """
    word = text(dig(data, "contract", "status"))
    name = CONTRACT.get((word or "").lower(), "subscription.updated")
    charges = integer(dig(data, "contract", "recurrence", "charges", "current"))
    updated = instant(dig(data, "contract", "updatedAt"), "UTC") or _sent(body)
    if name in {"subscription.past_due", "subscription.canceled"}:
        return [_contract(body, data, name, charges)]
    news = _contract(body, data, "subscription.updated", updated)
    if word and word.lower() not in CONTRACT:
        return [replace(news, drift=(f"unknown_status:{word}",))]
    if name == "subscription.renewed" and charges and charges > 1:
        return [_contract(body, data, name, charges), news]
    return [news]


MYEDUZZ: Mapping[str, Callable[[dict[str, Any], dict[str, Any], str], list[Event]]] = {
    **dict.fromkeys(INVOICE, _invoice),
    "contract_created": _contract_created,
    "contract_updated": _contract_updated,
}


def _cart(body: dict[str, Any], data: dict[str, Any]) -> Event:
    """An abandoned checkout; this event's draft had `buyer`, `items` and a price, and no id."""
    who = record(data.get("customer")) or record(data.get("buyer"))
    ids, money_is = cart_ids(data), currency(dig(data, "price", "currency"))
    contact = first(text(who.get("email")), phone_of(who.get("phone")))
    ident = text(data.get("transactionId"))
    at = instant(first(data.get("updatedAt"), data.get("createdAt")), "UTC") or _sent(body)
    if ident is None and contact is None:
        raise MalformedError("missing:data.transactionId")
    key = ident or fact(contact, *ids)
    return Event(
        name="checkout.abandoned",
        key=key,
        dedupe_key=key if ident else fact(key, at),
        provider_event=need(body, "event"),
        provider_event_id=text(body.get("id")),
        occurred_at=at,
        data=commerce(
            checkout=Checkout(
                id=ident,
                url=text(first(data.get("saleRecoveryUrl"), data.get("href"))),
                currency=money_is,
                total=amount(data.get("price"), money_is),
                step=text(data.get("lastStep")),
                abandoned_at=at,
                raw_status=text(data.get("status")),
            ),
            items=[item(line, money_is) for line in records(data.get("items"))]
            or [Item(id=i, product_id=i) for i in ids],
            customer=buyer(who),
            tracking=tracking(data.get("href")),
            extra=leftovers({"producer_id": data.get("producerId")}),
        ),
    )


def handshake(inbound: Inbound, _grant: Grant) -> Reply | None:
    """The panel tries the address before it knows a key, and sends an unsigned `ping` later."""
    if "x-signature" in inbound.headers:
        return None
    if inbound.method in {"GET", "HEAD"} or not inbound.body.strip():
        return _ok()
    try:
        is_ping = dig(parse_body(inbound), "event") == "ping"
    except UnparsableError:
        return None
    return _ok() if is_ping else None


def _ok() -> Reply:
    body = codec.dumps({"received": True, "events": []})
    return Reply(body=body, content_type="application/json")


def delivery_key(v: Verified) -> str | None:
    """The envelope's id, the same on a resend; Órbita has none."""
    return text(dig(v.payload, "id")) if isinstance(dig(v.payload, "data"), dict) else None


DRIVER = Driver(
    slug="eduzz",
    id="01ke7rhnt6fhb6tsbbhcdpeped",
    name="Eduzz",
    description={
        "pt": "Faturas abertas, pagas, reembolsadas e contestadas, contratos de assinatura e "
        "carrinhos abandonados da Eduzz, do webhook novo e do antigo Órbita.",
        "en": "Opened, paid, refunded and disputed invoices, subscription contracts and abandoned "
        "carts of Eduzz, from its webhook and from Órbita before it.",
    },
    docs_url="https://github.com/eduzz/eduzz-webhook-docs",
    scheme=Choice(
        options=(
            (
                has_header("x-signature"),
                Hmac(at=(Header("x-signature"),), prefix="sha256=", prefix_required=False),
            ),
        ),
        otherwise=Token(at=(Field("origin_secret"), Field("origin"))),
    ),
    normalize=normalize,
    delivery_key=delivery_key,
    handshake=handshake,
    parse=parse,
    secret_fields=("origin_secret", "origin", "api_key", "originSecret"),
    available_settings=SETTINGS,
    credentials=(
        Credential(name="access_token", label="Personal access token"),
        Credential(name="client_id", label="Client ID", secret=False),
        Credential(name="client_secret", label="Client secret"),
    ),
    api=API,
    oauth=OAUTH,
    supported_events=tuple(
        "order.created order.pending order.paid order.failed order.canceled order.expired "
        "order.refunded order.partially_refunded order.chargeback order.updated "
        "checkout.abandoned subscription.created subscription.renewed subscription.past_due "
        "subscription.canceled subscription.updated provider.event".split()
    ),
)
