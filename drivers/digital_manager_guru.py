"""Digital Manager Guru: sale, subscription or e-ticket snapshots, proven by the account's token.

https://docs.digitalmanager.guru/configuracoes-gerais/configuracao-de-webhook
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from drivers.base import Credential, Driver, fact, raw_event
from drivers.claim import Field
from drivers.describe import Api, Fetch, Page, Poll, bearer
from drivers.digital_manager_guru_data import charge_of, sale_of
from drivers.read import BRAZIL, dig, first, flag, instant, integer, need, record, records, text
from drivers.verify import Token
from schemas import codec
from schemas.events import Event
from schemas.order import Checkout, CommerceData, Order, OrderStatus, Subscription
from schemas.request import Inbound, Verified

API = "https://digitalmanager.guru/api/v2"

# `status` of a sale: https://docs.digitalmanager.guru/developers/webhook-para-transacoes
TRANSACTION: Mapping[str, tuple[str, OrderStatus | None]] = {
    "approved": ("order.paid", "paid"),
    "paid": ("order.paid", "paid"),
    "waiting_payment": ("order.pending", "pending"),
    "billet_printed": ("order.pending", "pending"),
    "scheduled": ("order.pending", "pending"),
    "analysis": ("order.pending", "pending"),
    "in_analysis": ("order.pending", "pending"),
    "started": ("order.pending", "pending"),
    "pending": ("order.pending", "pending"),
    "canceled": ("order.canceled", "canceled"),
    "expired": ("order.expired", "expired"),
    "refunded": ("order.refunded", "refunded"),
    "chargeback": ("order.chargeback", "chargeback"),
    "dispute": ("order.updated", "paid"),
    "in_recovery": ("order.updated", None),
    "delayed": ("order.updated", None),
    "rejected": ("order.failed", "failed"),
    "refused": ("order.failed", "failed"),
    "blocked": ("order.failed", "failed"),
    # The guarantee is over: the order was paid long before.
    "complete": ("order.updated", "paid"),
    "completed": ("order.updated", "paid"),
}
# `last_status` of a subscription; an active one is new or renewed by the number of its charges.
SUBSCRIPTION = {
    "active": "subscription.renewed",
    "started": "subscription.created",
    "trial": "subscription.created",
    "pastdue": "subscription.past_due",
    "past due": "subscription.past_due",
    "canceled": "subscription.canceled",
    "trial canceled": "subscription.canceled",
    "expired": "subscription.canceled",
    "inactive": "subscription.canceled",
}
# A ticket passes through open, invited, assigned, checked_in; only this one means a sale.
SOLD_TICKET = "invited"


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery, by its type."""
    body = _unwrapped(v.payload)
    kind = need(body, "webhook_type").lower()
    read = READERS.get(kind)
    if read is None:
        drift = (f"unknown_event:{kind}",)
        return [raw_event(v, provider_event=kind, key=text(body.get("id")), drift=drift)]
    return read(v, body)


def _unwrapped(payload: Any) -> dict[str, Any]:
    """The object itself, which some accounts send inside the envelope of their queue."""
    body = record(payload)
    inner = body.get("payload")
    bare = "webhook_type" in body or "api_token" in body
    return inner if isinstance(inner, dict) and not bare else body


def _transaction(v: Verified, body: dict[str, Any]) -> list[Event]:
    ident, status = need(body, "id"), need(body, "status").lower()
    word = f"transaction.{status}"
    if status == "abandoned":
        return _abandoned(v, body)
    if status == "trial":
        data = sale_of(body, status, None)
        if data["subscription"] is None:
            return [raw_event(v, provider_event=word, key=ident)]
        return [_event("subscription.created", word, body, data)]
    drift = () if status in TRANSACTION else (f"unknown_status:{status}",)
    name, meaning = TRANSACTION.get(status, ("order.updated", None))
    data = sale_of(body, status, meaning)
    told = _event(name, word, body, data, drift)
    plan = data["subscription"]
    if name == "order.paid" and plan and plan.id and (plan.cycle or 0) > 1:
        return [told, _event("subscription.renewed", word, body, data)]
    return [told]


def _event(
    name: str, word: str, body: dict[str, Any], data: CommerceData, drift: tuple[str, ...] = ()
) -> Event:
    """An event about a sale; what it names is told once, whichever type of webhook tells it."""
    order, plan = data["order"] or Order(), data["subscription"] or Subscription()
    facts: dict[str, tuple[Any, ...]] = {
        "order.pending": (order.id, order.raw_status),
        "order.updated": (order.id, order.raw_status, order.updated_at),
        "subscription.created": (plan.id,),
        "subscription.renewed": (plan.id, plan.cycle),
    }
    times = {
        "order.paid": order.paid_at,
        "order.canceled": order.canceled_at,
        "order.refunded": order.refunded_at,
        "subscription.renewed": order.paid_at,
    }
    return Event(
        name=name,
        key=need(body, "id"),
        dedupe_key=fact(*facts.get(name, (order.id,))),
        provider_event=word,
        occurred_at=first(times.get(name), order.updated_at, order.created_at),
        data=data,
        drift=drift,
    )


def _abandoned(_v: Verified, body: dict[str, Any]) -> list[Event]:
    """A checkout that was left: Guru gives it the number of the sale it would have been."""
    ident, data = need(body, "id"), sale_of(body, "abandoned", None)
    lost = data["order"] or Order()
    at = first(lost.updated_at, lost.created_at)
    data["checkout"] = Checkout(
        id=ident,
        url=lost.checkout_url,
        currency=lost.currency,
        total=lost.total,
        abandoned_at=at,
        raw_status="abandoned",
    )
    data["order"], data["payments"] = None, []
    return [
        Event(
            name="checkout.abandoned",
            key=ident,
            dedupe_key=fact(ident),
            provider_event="transaction.abandoned" if text(body.get("status")) else "abandoned",
            occurred_at=at,
            data=data,
        )
    ]


def _eticket(v: Verified, body: dict[str, Any]) -> list[Event]:
    """The state of a ticket; the sale in it is told by its own webhook too."""
    status, sale = need(body, "status").lower(), record(body.get("transaction"))
    word = f"eticket.{status}"
    approved = TRANSACTION.get((text(sale.get("status")) or "").lower()) == ("order.paid", "paid")
    if status != SOLD_TICKET or not approved:
        key = text(first(sale.get("id"), body.get("id")))
        return [raw_event(v, provider_event=word, key=key)]
    return [_event("order.paid", word, sale, sale_of(sale, need(sale, "status").lower(), "paid"))]


def _subscription(_v: Verified, body: dict[str, Any]) -> list[Event]:
    ident, status = need(body, "id"), need(body, "last_status").lower().replace("_", " ")
    name, data = SUBSCRIPTION.get(status, "subscription.updated"), charge_of(body, status)
    plan = data["subscription"] or Subscription()
    if status == "active" and (integer(body.get("charged_times")) or 0) <= 1:
        name = "subscription.created"
    dates = record(body.get("dates"))
    when = instant(first(dates.get("last_status_at"), dates.get("started_at")))
    if name == "subscription.canceled":
        plan.canceled_at = plan.canceled_at or when
    invoice = text(dig(body, "current_invoice", "id"))
    facts: dict[str, tuple[Any, ...]] = {
        "subscription.created": (ident,),
        "subscription.renewed": (ident, plan.cycle),
        "subscription.canceled": (ident, plan.canceled_at),
    }
    return [
        Event(
            name=name,
            key=ident,
            dedupe_key=fact(*facts.get(name, (ident, status, invoice, when))),
            provider_event=f"subscription.{status}",
            occurred_at=when,
            data=data,
            drift=() if status in SUBSCRIPTION else (f"unknown_status:{status}",),
        )
    ]


READERS: Mapping[str, Callable[[Verified, dict[str, Any]], list[Event]]] = {
    "transaction": _transaction,
    "subscription": _subscription,
    "eticket": _eticket,
    "checkout_abandoned": _abandoned,
}


def delivery_key(v: Verified) -> str | None:
    """The queue's id of one chain of attempts; bare objects have none."""
    envelope = record(v.payload)
    return text(envelope.get("request_id")) if _unwrapped(envelope) is not envelope else None


def _start(_cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """The sales of the last days; what the webhooks told of them already is told once."""
    today = now.astimezone(ZoneInfo(BRAZIL)).date()
    window = {"ordered_at_ini": today - timedelta(days=2), "ordered_at_end": today}
    return Fetch(name="transactions", url=f"{API}/transactions?{urlencode(window)}")


def _read(answer: Any, cursor: Mapping[str, Any]) -> Page:
    following = text(dig(answer, "next_cursor"))
    more = {"cursor": following} if following and flag(dig(answer, "has_more_pages")) else {}
    return Page(items=tuple(records(dig(answer, "data"))), cursor=cursor, more=more)


def _polled(item: Any, now: datetime) -> Inbound:
    body = codec.dumps({"webhook_type": "transaction", **item})
    return Inbound("GET", {"content-type": ("application/json",)}, {}, body, now)


DRIVER = Driver(
    slug="digital_manager_guru",
    id="01ke7rhnt6fhb6tsbbhcdpepya",
    name="Digital Manager Guru",
    description={
        "pt": "A Digital Manager Guru é uma plataforma completa de gestão de vendas: receba suas "
        "vendas, reembolsos, assinaturas, ingressos e checkouts abandonados.",
        "en": "Sales, refunds, subscriptions, e-tickets and abandoned checkouts of Digital Manager "
        "Guru, a platform for managing online sales.",
    },
    docs_url="https://docs.digitalmanager.guru/configuracoes-gerais/configuracao-de-webhook",
    scheme=Token(at=(Field("api_token"), Field("payload.api_token"))),
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
        "order.updated",
        "subscription.created",
        "subscription.renewed",
        "subscription.past_due",
        "subscription.canceled",
        "subscription.updated",
        "checkout.abandoned",
        "provider.event",
    ),
    credentials=(Credential(name="access_token", label="User API token"),),
    secret_fields=("api_token",),
    api=Api(
        base_url=API,
        credentials=("access_token",),
        authorize=bearer,
        per_minute=360,
        probe=lambda _settings: Fetch(name="contacts", url=f"{API}/contacts?email=a@example.com"),
    ),
    polls=(
        Poll(name="transactions", start=_start, read=_read, inbound=_polled, interval_minutes=60),
    ),
)
