"""Cakto: `{secret, event, data}`, signed over time and body; older webhooks only repeat the secret.
Webhooks of version 2 put a list into `data`.

https://docs.cakto.com.br/conceitos/webhooks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any
from urllib.parse import urlencode

from drivers.base import Credential, Driver, fact, raw_event
from drivers.cakto_data import item, order_data, order_part, subscription
from drivers.cakto_hooks import WEBHOOKS
from drivers.describe import Api, Fetch, Page, Poll, bearer, granted, link_query
from drivers.people import customer
from drivers.read import (
    dig,
    first,
    flag,
    instant,
    latest,
    money,
    need,
    record,
    records,
    text,
    tracking,
)
from drivers.verify import Choice, Claim, Field, Header, Refuse, TimestampedHmac, Token, has_header
from schemas import codec
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.order import Checkout, OrderStatus, Subscription, commerce
from schemas.request import Grant, Inbound, Verified

# The event decides; None: what it says of the order is in `data.status`.
# https://docs.cakto.com.br/conceitos/webhooks
EVENTS: Mapping[str, tuple[str, OrderStatus | None]] = {
    "purchase_approved": ("order.paid", "paid"),
    "pix_gerado": ("order.pending", "pending"),
    "boleto_gerado": ("order.pending", "pending"),
    "picpay_gerado": ("order.pending", "pending"),
    "openfinance_nubank_gerado": ("order.pending", "pending"),
    "purchase_refused": ("order.failed", "failed"),
    "refund_requested": ("order.updated", "paid"),
    "refund": ("order.refunded", "refunded"),
    "chargeback": ("order.chargeback", "chargeback"),
    "subscription_created": ("subscription.created", None),
    "subscription_renewed": ("subscription.renewed", None),
    "subscription_late_recovered": ("subscription.renewed", None),
    "subscription_renewal_refused": ("subscription.past_due", None),
    "subscription_late": ("subscription.past_due", None),
    "subscription_resumed": ("subscription.updated", None),
    "subscription_paused": ("subscription.updated", None),
    "subscription_canceled": ("subscription.canceled", None),
}
# Names that circulate in integrations.
ALIASES = {
    "pix_generated": "pix_gerado",
    "boleto_generated": "boleto_gerado",
    "purchase_refunded": "refund",
    "subscription_cancelled": "subscription_canceled",
}
# Steps of the funnel: no order yet.
FUNNEL = {"initiate_checkout"}
STATUS: Mapping[str, OrderStatus] = {
    "waiting_payment": "pending",
    "processing": "pending",
    "scheduled": "pending",
    "paid": "paid",
    "refused": "failed",
    "canceled": "canceled",
    "refunded": "refunded",
    "chargedback": "chargeback",
}
API = "https://api.cakto.com.br/public_api"
HAPPENED = ("paidAt", "refundedAt", "canceledAt", "chargedbackAt", "createdAt")
# The panel's test shows every way to pay at once.
BLOCKS = {"card", "boleto", "pix", "picpay"}


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery: one for each element of `data`."""
    body = record(v.payload)
    word, data = need(body, "event"), body.get("data")
    kind = ALIASES.get(word, word)
    if kind not in EVENTS and kind != "checkout_abandonment":
        drift = () if kind in FUNNEL else (f"unknown_event:{word}",)
        return [raw_event(v, provider_event=word, key=text(dig(data, "id")), drift=drift)]
    sales = records(data) if isinstance(data, list) else [record(data)]
    if not any(sales):
        raise MalformedError("missing:data")
    if kind == "checkout_abandonment":
        return [_cart(word, sale) for sale in sales]
    return [_sale_event(v, word, kind, sale) for sale in sales]


def _sale_event(v: Verified, word: str, kind: str, sale: dict[str, Any]) -> Event:
    name, status = EVENTS[kind]
    if kind == "subscription_paused" and flag(v.settings.get("paused_is_past_due")):
        name = "subscription.past_due"
    said, plan = text(sale.get("status")), subscription(sale)
    order = order_part(sale, status or STATUS.get(said or ""))
    ident = order.id or (plan.id if plan and status is None else None)
    if ident is None:
        raise MalformedError("missing:data.id")
    if plan and name == "subscription.canceled":
        plan.canceled_at = plan.canceled_at or order.canceled_at
    times = {
        "order.pending": order.created_at,
        "order.paid": order.paid_at,
        "order.refunded": order.refunded_at,
        "order.chargeback": instant(sale.get("chargedbackAt")),
        "subscription.renewed": order.paid_at,
        "subscription.canceled": plan.canceled_at if plan else order.canceled_at,
    }
    return Event(
        name=name,
        key=ident,
        dedupe_key=fact(*_facts(name, kind, sale, plan)),
        provider_event=word,
        occurred_at=times.get(name),
        data=order_data(sale, order, plan),
        test=sale.keys() >= BLOCKS,
        drift=() if said is None or said in STATUS else (f"unknown_status:{said}",),
    )


def _facts(
    name: str, kind: str, sale: dict[str, Any], plan: Subscription | None
) -> tuple[Any, ...]:
    """What names the fact: of an order its id, of a subscription the cycle or the time of it."""
    ident = text(sale.get("id"))
    if name in {"order.pending", "order.updated"}:
        return (ident, kind)
    if name.startswith("order.") or plan is None:
        return (ident,)
    more: dict[str, tuple[Any, ...]] = {
        "subscription.created": (),
        "subscription.renewed": (first(plan.cycle, ident),),
        "subscription.past_due": (kind, ident),
        "subscription.updated": (kind, instant(dig(sale, "subscription", "updatedAt")), ident),
        "subscription.canceled": (first(plan.canceled_at, ident),),
    }
    return (plan.id, *more[name])


def _cart(word: str, data: dict[str, Any]) -> Event:
    """An abandoned checkout: it has no id, and the buyer is flat or an object."""
    who = record(data.get("customer"))
    mail = text(first(data.get("customerEmail"), who.get("email")))
    number = text(first(data.get("customerCellphone"), data.get("customerPhone"), who.get("phone")))
    contact = mail or number
    if contact is None:
        raise MalformedError("missing:data.customerEmail")
    offer, at = text(dig(data, "offer", "id")), instant(data.get("createdAt"))
    return Event(
        name="checkout.abandoned",
        key=fact(contact, offer),
        dedupe_key=fact(contact, offer, at),
        provider_event=word,
        occurred_at=at,
        data=commerce(
            checkout=Checkout(
                url=text(data.get("checkoutUrl")),
                currency="BRL",
                total=money(dig(data, "offer", "price"), "BRL"),
                abandoned_at=at,
            ),
            items=[item(data)],
            customer=customer(
                name=first(data.get("customerName"), who.get("name")),
                email_address=mail,
                document_number=first(data.get("customerDocNumber"), who.get("docNumber")),
                phone_number=number,
            ),
            tracking=tracking(data, data.get("checkoutUrl")),
        ),
    )


def _must_be_signed(_claim: Claim, grant: Grant) -> bool:
    return flag(grant.settings.get("body_secret")) is False


# Either header alone is a broken proof and not a missing one. Older webhooks send neither:
# `settings.body_secret: false` refuses them.
SCHEME = Choice(
    options=(
        (
            has_header("x-cakto-signature", "x-cakto-timestamp"),
            TimestampedHmac(Header("x-cakto-signature"), timestamp=Header("x-cakto-timestamp")),
        ),
        (_must_be_signed, Refuse()),
    ),
    otherwise=Token(at=(Field("secret"),)),
)


def _login(credentials: Mapping[str, str]) -> Fetch:
    body = urlencode({name: credentials[name] for name in ("client_id", "client_secret")})
    return Fetch(
        name="token",
        method="POST",
        url=f"{API}/token/",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=body.encode(),
    )


def _start(cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """The history, at first of the last hour only.

    https://docs.cakto.com.br/api-reference/webhooks/event-history
    """
    hour_ago = None if cursor.get("last") else (now - timedelta(hours=1)).isoformat()
    return Fetch(
        name="event_history",
        url=f"{API}/webhook/event_history/",
        cursor={"since": cursor.get("since") or hour_ago},
    )


def _read(answer: Any, cursor: Mapping[str, Any]) -> Page:
    """The newest deliveries come first: a sweep ends where the last one began, or with a page of
    what is older than it wants.
    """
    found = records(dig(answer, "results"))
    is_first = dig(answer, "previous") is None
    until = cursor.get("last") if is_first else cursor.get("until")
    newest = text(dig(found, 0, "id")) if is_first else cursor.get("last")
    unseen = list(takewhile(lambda told: text(told.get("id")) != until, found))
    since = instant(cursor.get("since"))
    fresh = [told for told in unseen if not _is_older(told, since)]
    goes_on = (until or since) is not None and bool(fresh) and len(unseen) == len(found)
    kept = {"last": newest or until, "until": until, "since": cursor.get("since")}
    more = link_query(dig(answer, "next")) if goes_on else {}
    return Page(
        items=tuple(fresh),
        cursor=kept if more else {"last": newest or until},
        more=more,
    )


def _is_older(told: dict[str, Any], since: datetime | None) -> bool:
    """Whether everything that a delivery tells had happened before."""
    data = dig(told, "payload", "data")
    sales = records(data) if isinstance(data, list) else [record(data)]
    times = latest(*(instant(sale.get(name)) for sale in sales for name in HAPPENED))
    return since is not None and times is not None and times < since


def _again(told: Any, now: datetime) -> Inbound:
    """A delivery out of the history, without its secret."""
    payload = {k: v for k, v in record(told.get("payload")).items() if k != "secret"}
    return Inbound("POST", {}, {}, codec.dumps(payload), now)


DRIVER = Driver(
    slug="cakto",
    id="01ke7rhnt6fhb6tsbbhcdpepck",
    name="Cakto",
    description={
        "pt": "Vendas aprovadas e recusadas, Pix e boletos gerados, reembolsos, chargebacks, "
        "assinaturas e carrinhos abandonados da Cakto.",
        "en": "Approved and refused sales, Pix and boleto charges, refunds, chargebacks, "
        "subscriptions and abandoned checkouts of Cakto.",
    },
    docs_url="https://docs.cakto.com.br/conceitos/webhooks",
    scheme=SCHEME,
    normalize=normalize,
    delivery_key=lambda _: None,  # Cakto gives a delivery no id
    secret_fields=("secret",),
    supported_events=tuple(
        "order.pending order.paid order.failed order.updated order.refunded order.chargeback "
        "checkout.abandoned subscription.created subscription.renewed subscription.past_due "
        "subscription.updated subscription.canceled provider.event".split()
    ),
    credentials=(
        Credential(name="client_id", label="Client ID", secret=False),
        Credential(name="client_secret", label="Client secret"),
    ),
    api=Api(
        base_url="https://api.cakto.com.br",
        credentials=("client_id", "client_secret"),
        authorize=bearer,
        login=_login,
        token=granted,
        burst=10,
        webhooks=WEBHOOKS,
    ),
    polls=(
        Poll(
            name="event_history",
            start=_start,
            read=_read,
            inbound=_again,
            interval_minutes=30,
            newest_first=True,
            since=lambda at: {"since": at.isoformat()},
        ),
    ),
)
