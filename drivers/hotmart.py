"""Hotmart: one event a request, proven by the account's static hottok; 2.0.0 is JSON, 1.0.0 a form.

https://developers.hotmart.com/docs/pt-BR/2.0.0/webhook/purchase-webhook/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from drivers.base import Credential, Driver, fact, leftovers, raw_event
from drivers.describe import Api, Fetch, bearer, granted
from drivers.hotmart_data import Told, buyer, order_data, plan_item, subscriber, subscription
from drivers.hotmart_v1 import retell
from drivers.read import currency, dig, first, instant, money, need, record, text, tracking
from drivers.verify import Field, Header, Token
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.order import Checkout, Item, Order, OrderStatus, Subscription, commerce
from schemas.request import Verified

# `purchase.status` of 2.0.0 in lower case, and `status` of 1.0.0 with its misspelling.
# https://developers.hotmart.com/docs/pt-BR/2.0.0/webhook/purchase-webhook/
STATUS: Mapping[str, tuple[str, OrderStatus | None]] = {
    "billet_printed": ("order.pending", "pending"),
    "waiting_payment": ("order.pending", "pending"),
    "wayting_payment": ("order.pending", "pending"),
    "started": ("order.pending", "pending"),
    "approved": ("order.paid", "paid"),
    # The guarantee period is over: the order was paid long before.
    "completed": ("order.updated", "paid"),
    "complete": ("order.updated", "paid"),
    "canceled": ("order.canceled", "canceled"),
    "expired": ("order.expired", "expired"),
    "delayed": ("order.pending", "pending"),
    # The buyer asks for the money back and has not got it.
    "dispute": ("order.updated", "paid"),
    "protested": ("order.updated", "paid"),
    "blocked": ("order.updated", None),
    "refunded": ("order.refunded", "refunded"),
    "chargeback": ("order.chargeback", "chargeback"),
}
PURCHASE = {
    "PURCHASE_BILLET_PRINTED": "billet_printed",
    "PURCHASE_WAITING_PAYMENT": "waiting_payment",
    "PURCHASE_APPROVED": "approved",
    "PURCHASE_COMPLETE": "completed",
    "PURCHASE_CANCELED": "canceled",
    "PURCHASE_EXPIRED": "expired",
    "PURCHASE_DELAYED": "delayed",
    "PURCHASE_PROTEST": "dispute",
    "PURCHASE_REFUNDED": "refunded",
    "PURCHASE_CHARGEBACK": "chargeback",
}
SUBSCRIPTION = {
    "SUBSCRIPTION_CANCELLATION": "subscription.canceled",
    "SWITCH_PLAN": "subscription.updated",
    "UPDATE_SUBSCRIPTION_CHARGE_DATE": "subscription.updated",
}
MEMBERS_AREA = {"CLUB_FIRST_ACCESS", "CLUB_MODULE_COMPLETED"}


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery of either version."""
    body = record(v.payload)
    told = _told(body)
    status = PURCHASE.get(told.word, told.word.lower())
    if status in STATUS:
        return _purchase(told, status)
    if told.word in SUBSCRIPTION:
        return [_subscription_change(told, SUBSCRIPTION[told.word])]
    if told.word == "PURCHASE_OUT_OF_SHOPPING_CART":
        return [_cart(told)]
    if told.word in MEMBERS_AREA:
        return []
    what = "event" if "event" in body else "status"
    key = text(dig(told.data, "purchase", "transaction")) or told.id
    drift = (f"unknown_{what}:{told.word}",)
    return [raw_event(v, provider_event=told.word, key=key, occurred_at=told.at, drift=drift)]


def _told(body: dict[str, Any]) -> Told:
    data = body.get("data")
    if isinstance(data, dict):
        # Some events spell it in camelCase.
        at = instant(first(body.get("creation_date"), body.get("creationDate")))
        return Told(need(body, "event"), data, text(body.get("id")), at)
    if "version" in body:
        raise MalformedError("missing:data")
    return Told(*retell(body))


def _purchase(told: Told, word: str) -> list[Event]:
    name, status = STATUS[word]
    purchase = record(told.data.get("purchase"))
    ident, plan = need(told.data, "purchase", "transaction"), subscription(told.data)
    if word == "delayed" and plan:
        name = "subscription.past_due"
    paid = instant(purchase.get("approved_date"))
    at = paid or told.at if name == "order.paid" else told.at
    known = (text(purchase.get("status")) or word).lower() in STATUS
    event = Event(
        name=name,
        key=ident,
        dedupe_key=fact(ident, word),
        provider_event=told.word,
        provider_event_id=told.id,
        occurred_at=at,
        data=order_data(told, status, plan),
        test=text(dig(told.data, "product", "id")) == "0",
        drift=() if known else (f"unknown_status:{purchase.get('status')}",),
    )
    if name != "order.paid" or not plan or not plan.id or not plan.cycle:
        return [event]
    return [event, _cycle(event, plan)]


def _cycle(paid: Event, plan: Subscription) -> Event:
    """What a paid charge means for its subscription."""
    if plan.cycle == 1:
        return replace(paid, name="subscription.created", dedupe_key=fact(plan.id))
    return replace(paid, name="subscription.renewed", dedupe_key=fact(plan.id, plan.cycle))


def _subscription_change(told: Told, name: str) -> Event:
    data, plan = told.data, subscription(told.data)
    if plan is None or plan.id is None:
        raise MalformedError("missing:subscriber.code")
    at = instant(first(data.get("cancellation_date"), data.get("switch_plan_date"))) or told.at
    if name == "subscription.canceled":
        plan.canceled_at, plan.status = at, "canceled"
    value, money_is = data.get("actual_recurrence_value"), currency(data.get("currency"))
    return Event(
        name=name,
        key=plan.id,
        dedupe_key=fact(plan.id, told.word, at),
        provider_event=told.word,
        provider_event_id=told.id,
        occurred_at=at,
        data=commerce(
            order=Order(currency=money_is, total=money(value, money_is)),
            items=[plan_item(data, plan)],
            customer=subscriber(data),
            subscription=plan,
            extra=leftovers({k: data.get(k) for k in ("plans", "plan")}),
        ),
    )


def _cart(told: Told) -> Event:
    data, who = told.data, record(told.data.get("buyer"))
    contact = text(who.get("email")) or need(data, "buyer", "phone")
    offer, ident = text(dig(data, "offer", "code")), text(dig(data, "product", "id"))
    name = text(dig(data, "product", "name"))
    return Event(
        name="checkout.abandoned",
        key=fact(contact, ident, offer),
        dedupe_key=fact(contact, ident, offer, told.at),
        provider_event=told.word,
        provider_event_id=told.id,
        occurred_at=told.at,
        data=commerce(
            checkout=Checkout(abandoned_at=told.at),
            items=[Item(id=ident, product_id=ident, variant_id=offer, name=name)],
            customer=buyer(who, data),
            tracking=tracking(ip=data.get("buyer_ip")),
            extra=leftovers({k: data.get(k) for k in ("affiliate", "checkout_country")}),
        ),
    )


def delivery_key(v: Verified) -> str | None:
    """The envelope's id, the same on every resend; 1.0.0 has none."""
    return text(dig(v.payload, "id"))


def _login(credentials: Mapping[str, str]) -> Fetch:
    # https://developers.hotmart.com/docs/pt-BR/start/app-auth
    query = {"grant_type": "client_credentials"} | {
        name: credentials[name] for name in ("client_id", "client_secret")
    }
    return Fetch(
        name="token",
        method="POST",
        url=f"https://api-sec-vlc.hotmart.com/security/oauth/token?{urlencode(query)}",
        headers={"Authorization": f"Basic {credentials['basic'].removeprefix('Basic ')}"},
    )


DRIVER = Driver(
    slug="hotmart",
    id="01ke7rhnt6fhb6tsbbhcdpepht",
    name="Hotmart",
    description={
        "pt": "Vendas, boletos e Pix gerados, reembolsos, chargebacks, assinaturas e carrinhos "
        "abandonados dos seus produtos na Hotmart.",
        "en": "Sales, boletos and Pix charges, refunds, chargebacks, subscriptions and abandoned "
        "carts of your Hotmart products.",
    },
    docs_url="https://developers.hotmart.com/docs/pt-BR/2.0.0/webhook/purchase-webhook/",
    scheme=Token(at=(Header("x-hotmart-hottok"), Field("hottok"))),
    normalize=normalize,
    delivery_key=delivery_key,
    supported_events=tuple(
        "order.pending order.paid order.updated order.canceled order.expired order.refunded "
        "order.chargeback checkout.abandoned subscription.created subscription.renewed "
        "subscription.past_due subscription.canceled subscription.updated provider.event".split()
    ),
    credentials=(
        Credential(name="client_id", label="Client ID", secret=False),
        Credential(name="client_secret", label="Client secret"),
        Credential(name="basic", label="Basic"),
    ),
    secret_fields=("hottok",),
    api=Api(
        base_url="https://developers.hotmart.com",
        credentials=("client_id", "client_secret", "basic"),
        authorize=bearer,
        login=_login,
        token=granted,
        per_minute=500,
    ),
)
