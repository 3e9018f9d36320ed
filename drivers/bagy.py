"""Bagy (Dooca): whole orders in every state, unsigned; a secret in the URL is the only proof.

https://basedeconhecimento.bagy.com.br/hc/pt-br/categories/23326946048660
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from drivers.bagy_data import cart_of, order_of
from drivers.base import Credential, Driver, fact, raw_event
from drivers.body import parse_body
from drivers.claim import Query
from drivers.describe import Api, Fetch, Page, Poll, bearer
from drivers.read import (
    BRAZIL,
    dig,
    first,
    flag,
    instant,
    integer,
    latest,
    need,
    record,
    records,
    text,
)
from drivers.verify import Token
from schemas import codec
from schemas.events import Event
from schemas.order import Checkout, Order
from schemas.request import Inbound, Verified

API = "https://api.dooca.store"

# The three axes of an order: https://github.com/DoocaCommerce/dc-node-client-sdk
LIFE = {"open", "archived", "canceled"}
PAYMENT = {
    "unpaid", "pending", "approved", "paid", "denied", "expired", "refunded", "chargeback",
    "canceled", "voided",
}  # fmt: skip
FULFILLMENT = {
    "unfulfilled", "attended", "separated", "production", "invoiced", "shipped", "delivered",
}  # fmt: skip
# Money that came back or never came outranks whatever became of the goods.
MONEY_GONE = {
    "chargeback": "order.chargeback",
    "refunded": "order.refunded",
    "expired": "order.expired",
}
GOODS = {
    "delivered": "order.delivered",
    "shipped": "order.shipped",
    "invoiced": "order.invoiced",
}
MONEY = {
    "approved": "order.paid",
    "paid": "order.paid",
    "pending": "order.pending",
    "unpaid": "order.pending",
    "denied": "order.failed",
}
# `resource.action`: any of an order's may come with any state, so that the state alone decides.
ORDER_ACTIONS = {
    "created", "updated", "cancelled", "canceled", "approved", "paid", "invoiced", "production",
    "separated", "shipped", "delivered", "completed",
}  # fmt: skip
STALE = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery: its subject and action, and the object itself."""

    word: str
    data: dict[str, Any]

    @property
    def resource(self) -> str:
        """What it is about; an order where that is not said."""
        return self.word.partition(".")[0] or "order"

    @property
    def states(self) -> tuple[str, str, str]:
        """Where the order, its payment and its goods stand."""
        names = ("status", "payment_status", "fulfillment_status")
        life, money, goods = ((text(self.data.get(n)) or "").lower() for n in names)
        return ("canceled" if life == "cancelled" else life), money, goods


def parse(inbound: Inbound) -> Any:
    """The body; where there is none, the order that the URL names (`?order=ID`, also `?id=ID`)."""
    ident = inbound.param("order") or inbound.param("id")
    if ident and not inbound.body.strip():
        return {"order": {"id": ident}}
    return parse_body(inbound)


def _told(v: Verified) -> Told:
    """The object is in `data`, in `order`, or is the whole body; API copies complete it."""
    body = record(v.payload)
    data = record(body.get("data")) or record(body.get("order")) or body
    answer = record(v.enrichment.get("order"))
    fresh = record(answer.get("data")) or answer
    return Told((text(body.get("event")) or "").lower(), {**data, **fresh})


def normalize(v: Verified) -> Sequence[Event]:
    """The event of one delivery, by what it is about."""
    told = _told(v)
    if told.resource in {"variant", "variant_stock"}:
        return []
    if "abandon" in told.word:
        return _checkout(v, told)
    if told.resource != "order":
        drift = (f"unknown_event:{told.word}",)
        key = text(told.data.get("id"))
        return [raw_event(v, provider_event=told.word, key=key, drift=drift)]
    ident, name = need(told.data, "id"), _name(told)
    if name == "order.updated" and not any(told.states):
        # Only an id came, and there was no API to ask.
        word = told.word or "order"
        return [raw_event(v, provider_event=word, key=ident, dedupe_key=fact(ident, _minute(v)))]
    return [_order(v, told, name)] if name else []


def _minute(v: Verified) -> str:
    """Names a delivery that names nothing but an order: the next one may be other news."""
    return v.received_at.isoformat(timespec="minutes")


def _name(told: Told) -> str | None:
    """The fact that the three states tell; None where a panel's user only filed the order away."""
    life, money, goods = told.states
    if money in MONEY_GONE:
        return MONEY_GONE[money]
    if life == "canceled" or told.word in {"order.cancelled", "order.canceled"}:
        return "order.canceled"
    if life == "archived":
        return None
    if goods in GOODS:
        return GOODS[goods]
    is_new = told.word == "order.created" and not told.data.get("payment")
    if is_new and money in {"", "unpaid"}:
        return "order.created"
    return MONEY.get(money, "order.updated")


def _order(v: Verified, told: Told, name: str) -> Event:
    ident, data = need(told.data, "id"), order_of(told.data, _skus(v), name)
    order = data["order"] or Order()
    times = {
        "order.created": order.created_at,
        "order.paid": order.paid_at,
        "order.canceled": order.canceled_at,
        "order.refunded": order.refunded_at,
        "order.shipped": order.shipped_at,
        "order.delivered": order.delivered_at,
        "order.invoiced": data["invoice"] and data["invoice"].issued_at,
    }
    # A state is told once, however often the order changes in it.
    parts = (ident, order.updated_at, *told.states) if name == "order.updated" else (ident,)
    return Event(
        name=name,
        key=ident,
        dedupe_key=fact(*parts),
        provider_event=told.word or "order",
        occurred_at=first(times.get(name), order.updated_at, order.created_at),
        data=data,
        drift=_drift(told),
    )


def _drift(told: Told) -> tuple[str, ...]:
    known = zip(told.states, (LIFE, PAYMENT, FULFILLMENT), strict=True)
    odd = [f"unknown_status:{word}" for word, words in known if word and word not in words]
    action = told.word.partition(".")[2]
    if action and action not in ORDER_ACTIONS:
        odd.append(f"unknown_event:{told.word}")
    return tuple(odd)


def _skus(v: Verified) -> dict[str, Any]:
    """SKUs that the order does not have, by variation id."""
    answers = {k: record(x) for k, x in v.enrichment.items() if k.startswith("variation:")}
    return {
        k.partition(":")[2]: first(x.get("sku"), dig(x, "data", "sku")) for k, x in answers.items()
    }


def _checkout(v: Verified, told: Told) -> list[Event]:
    """An abandoned cart. The list that we poll reaches back to the shop's first day: old ones are
    no news.
    """
    ident, data = need(told.data, "id"), cart_of(told.data)
    at = (data["checkout"] or Checkout()).abandoned_at
    if v.inbound.method == "GET" and at and v.received_at - at > STALE:
        return []
    return [
        Event(
            name="checkout.abandoned",
            key=ident,
            dedupe_key=fact(ident),
            provider_event=told.word or "checkout",
            occurred_at=at,
            data=data,
        )
    ]


def delivery_key(v: Verified) -> str | None:
    """The state of the order at that time; the number of the envelope is of unknown meaning."""
    told = _told(v)
    ident, updated = text(told.data.get("id")), text(told.data.get("updated_at"))
    if ident is None or told.resource != "order":
        return None
    if not any(told.states):
        return f"order:{ident}:{_minute(v)}"
    return f"order:{ident}:{'/'.join(told.states)}:{updated}:{_name(told)}" if updated else None


def _needs(v: Verified) -> tuple[Fetch, ...]:
    """The order itself where only its id came (or the merchant wants money confirmed), and SKUs
    that were given to variations after the sale.
    """
    told = _told(v)
    ident = text(told.data.get("id"))
    if told.resource != "order" or ident is None:
        return ()
    doubted = flag(v.settings.get("confirm_orders")) and _name(told) in {
        "order.paid",
        "order.refunded",
    }
    if "order" not in v.enrichment and (doubted or not any(told.states)):
        return (Fetch(name="order", url=f"{API}/orders/{quote(ident, safe='')}"),)
    lacking = {
        text(item.get("variation_id"))
        for item in records(told.data.get("items"))
        if text(item.get("sku")) is None
    }
    return tuple(
        Fetch(
            name=f"variation:{variation}",
            url=f"{API}/variations/{quote(variation, safe='')}",
            optional=True,
        )
        for variation in sorted(filter(None, lacking))
        if f"variation:{variation}" not in v.enrichment
    )


def _orders(cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """Orders changed since the newest change seen, at first those of the last day."""
    since = instant(cursor.get("updated_at")) or now - timedelta(days=1)
    local = since.astimezone(ZoneInfo(BRAZIL)).strftime("%Y-%m-%d %H:%M:%S")
    query = urlencode({"limit": 150, "page": 1, "sort": "id", "updated_at": local})
    return Fetch(name="orders", url=f"{API}/orders?{query}")


def _carts(cursor: Mapping[str, Any], _now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """Every abandoned cart: this list knows no filter, and always has 25 a page."""
    url = f"{API}/checkout/abandoned?page=1"
    return Fetch(name="abandoned_carts", url=url, cursor={"known": cursor.get("updated_at")})


def _read(answer: Any, cursor: Mapping[str, Any]) -> Page:
    items = records(dig(answer, "data"))
    here, last = (integer(dig(answer, "meta", k)) or 1 for k in ("current_page", "last_page"))
    changed = (instant(item.get("updated_at")) for item in items)
    newest = latest(*changed, instant(cursor.get("updated_at")))
    return Page(
        items=tuple(items),
        cursor={"updated_at": newest.isoformat()} if newest else {},
        more={"page": str(here + 1)} if here < last else {},
    )


def _read_carts(answer: Any, cursor: Mapping[str, Any]) -> Page:
    """Those of days before the newest known are no news, however long ago they were told."""
    page, known = _read(answer, cursor), instant(cursor.get("known"))
    times = [instant(item.get("updated_at")) for item in page.items]
    items = tuple(
        item
        for item, at in zip(page.items, times, strict=True)
        if known is None or at is None or at > known - STALE
    )
    kept = {"known": cursor.get("known")} if page.more else {}
    return replace(page, items=items, cursor={**page.cursor, **kept})


def _polled(subject: str) -> Any:
    def inbound(item: Any, now: datetime) -> Inbound:
        body = codec.dumps({"event": subject, "data": item})
        return Inbound("GET", {"content-type": ("application/json",)}, {}, body, now)

    return inbound


DRIVER = Driver(
    slug="bagy",
    id="01ke7rhnt6fhb6tsbbhcdpepbg",
    name="Bagy",
    description={
        "pt": "Pedidos, pagamentos, envios, notas fiscais e carrinhos abandonados da loja Bagy.",
        "en": "Orders, payments, shipments, invoices and abandoned carts of your Bagy store.",
    },
    docs_url="https://basedeconhecimento.bagy.com.br/hc/pt-br/categories/23326946048660",
    scheme=Token(at=(Query("token"), Query("secret")), required=False),
    parse=parse,
    normalize=normalize,
    delivery_key=delivery_key,
    supported_events=(
        "order.created",
        "order.pending",
        "order.paid",
        "order.failed",
        "order.canceled",
        "order.expired",
        "order.refunded",
        "order.chargeback",
        "order.invoiced",
        "order.shipped",
        "order.delivered",
        "order.updated",
        "checkout.abandoned",
        "provider.event",
    ),
    credentials=(Credential(name="access_token", label="Store API token"),),
    api=Api(
        base_url=API,
        credentials=("access_token",),
        authorize=lambda c: {**bearer(c), "Accept": "application/json"},
        needs=_needs,
        probe=lambda _settings: Fetch(name="orders", url=f"{API}/orders?limit=1&sort=id"),
    ),
    polls=(
        Poll(name="orders", start=_orders, read=_read, inbound=_polled("")),
        Poll(
            name="abandoned_carts",
            start=_carts,
            read=_read_carts,
            inbound=_polled("checkout.abandoned"),
            interval_minutes=60,
        ),
    ),
)
