"""Kiwify: the order itself is the body, and a query parameter signs it with HMAC-SHA1.

https://docs.kiwify.com.br/api-reference/webhooks/receiving
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from drivers.base import Credential, Driver, fact, leftovers, raw_event
from drivers.describe import Api, Fetch, bearer, granted
from drivers.kiwify_data import buyer, order_data, order_part, subscription
from drivers.people import email
from drivers.read import BRAZIL, dig, instant, need, record, text, tracking
from drivers.verify import Choice, Claim, Field, Hmac, Query
from schemas import codec
from schemas.errors import UnparsableError
from schemas.events import Event
from schemas.order import Checkout, Item, Order, OrderStatus, commerce
from schemas.request import Grant, Verified

# `webhook_event_type`: our name, and what it says of the order (None: `order_status` tells).
# https://docs.kiwify.com.br/api-reference/webhooks/subscription-events
EVENTS: Mapping[str, tuple[str, OrderStatus | None]] = {
    "billet_created": ("order.pending", "pending"),
    "pix_created": ("order.pending", "pending"),
    "order_approved": ("order.paid", "paid"),
    "order_rejected": ("order.failed", "failed"),
    "order_refunded": ("order.refunded", "refunded"),
    "chargeback": ("order.chargeback", "chargeback"),
    "subscription_renewed": ("subscription.renewed", None),
    "subscription_late": ("subscription.past_due", None),
    "subscription_canceled": ("subscription.canceled", None),
}
# `order_status`, which decides alone only where no event is named.
# https://docs.kiwify.com.br/api-reference/sales/list
STATUS: Mapping[str, tuple[str, OrderStatus]] = {
    "waiting_payment": ("order.pending", "pending"),
    "pending": ("order.pending", "pending"),
    "processing": ("order.pending", "pending"),
    "authorized": ("order.pending", "pending"),
    "paid": ("order.paid", "paid"),
    "approved": ("order.paid", "paid"),
    "refused": ("order.failed", "failed"),
    "pending_refund": ("order.updated", "paid"),
    "refund_requested": ("order.updated", "paid"),
    "refunded": ("order.refunded", "refunded"),
    "chargedback": ("order.chargeback", "chargeback"),
}
TEST_BUYER = "johndoe@example.com"


def _is_wrapped(claim: Claim, _grant: Grant) -> bool:
    """Whether the order comes as `{url, signature, order}`, as two public integrations see it."""
    try:
        body = record(claim.payload())
    except UnparsableError:
        return False
    return _unwrapped(body) is not body


def _unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    """The order of a wrapped body; what names its own order is not wrapped."""
    inner = body.get("order")
    return inner if isinstance(inner, dict) and "order_id" not in body else body


def _order_alone(claim: Claim) -> Iterator[bytes]:
    """What may be signed of a wrapped order: all of it, the order as written, or as JavaScript
    would write it.
    """
    yield claim.inbound.body
    yield _as_written(claim.inbound.body.decode("utf-8-sig"), "order").encode()
    yield codec.dumps(claim.payload()["order"])


_KEY = re.compile(r'\s*[{,]\s*("(?:[^"\\]|\\.)*")\s*:\s*')


def _as_written(body: str, name: str) -> str:
    """The text of one value of a JSON object, which must have it."""
    value, end, found = "", 0, ""
    while found != name and (match := _KEY.match(body, end)):
        end = json.JSONDecoder().raw_decode(body, match.end())[1]
        found, value = json.loads(match[1]), body[match.end() : end]
    return value


WRAPPED = Hmac(
    at=(Query("signature"), Field("signature")),
    digest="sha1",
    messages=_order_alone,
    binds_body=False,
)


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one order, one abandoned cart, or a list of them."""
    bodies = v.payload if isinstance(v.payload, list) else [v.payload]
    return [event for body in bodies for event in _one(v, record(body))]


def _one(v: Verified, body: dict[str, Any]) -> list[Event]:
    body = _unwrapped(body)
    kind, status = text(body.get("webhook_event_type")), text(body.get("order_status"))
    if kind is None and text(body.get("status")) == "abandoned":
        return [_cart(body)]
    known = EVENTS.get(kind) if kind else STATUS.get(status or need(body, "webhook_event_type"))
    if known is None:
        what = f"unknown_event:{kind}" if kind else f"unknown_status:{status}"
        key = text(body.get("order_id"))
        return [raw_event(v, provider_event=kind or str(status), key=key, drift=(what,))]
    zone = text(v.settings.get("timezone")) or BRAZIL
    return _order_events(body, kind or str(status), *known, zone)


def _order_events(
    body: dict[str, Any], word: str, name: str, status: OrderStatus | None, zone: str
) -> list[Event]:
    ident = need(body, "order_id")
    said = text(body.get("order_status"))
    told = STATUS.get(said or "")
    order = order_part(body, status or (told[1] if told else None), zone)
    plan = subscription(body)
    if name == "subscription.canceled" and plan:
        plan.canceled_at = order.updated_at
    at = {
        "order.pending": order.created_at,
        "order.paid": order.paid_at,
        "order.refunded": order.refunded_at,
        "subscription.renewed": order.paid_at,
    }.get(name)
    event = Event(
        name=name,
        key=ident,
        dedupe_key=fact(ident, *_told(name, word, order)),
        provider_event=word,
        occurred_at=at or order.updated_at,
        data=order_data(body, order, plan, zone),
        test=email(dig(body, "Customer", "email")) == TEST_BUYER,
        drift=() if told or not said else (f"unknown_status:{said}",),
    )
    if name == "order.paid" and plan and plan.id and plan.cycle == 1:
        return [event, replace(event, name="subscription.created", dedupe_key=fact(plan.id))]
    return [event]


def _told(name: str, word: str, order: Order) -> tuple[Any, ...]:
    """What beside the order names the fact: every retry of a charge fails anew."""
    if name in {"order.failed", "subscription.past_due", "order.updated"}:
        return (order.updated_at,)
    return (word,) if name == "order.pending" else ()


def _cart(body: dict[str, Any]) -> Event:
    ident, link = need(body, "id"), text(body.get("checkout_link"))
    at, product = instant(body.get("created_at")), text(body.get("product_id"))
    url = link if link is None or "://" in link else f"https://pay.kiwify.com.br/{link}"
    return Event(
        name="checkout.abandoned",
        key=ident,
        dedupe_key=fact(ident),
        provider_event="carrinho_abandonado",
        occurred_at=at,
        data=commerce(
            checkout=Checkout(id=ident, url=url, abandoned_at=at, raw_status="abandoned"),
            items=[Item(id=product, product_id=product, name=text(body.get("product_name")))],
            customer=buyer(body),
            tracking=tracking(body.get("TrackingParameters"), body),
            extra=leftovers(
                {k: body.get(k) for k in ("offer_name", "subscription_plan", "store_id")}
            ),
        ),
        test=email(body.get("email")) == TEST_BUYER,
    )


def _login(credentials: Mapping[str, str]) -> Fetch:
    # https://docs.kiwify.com.br/api-reference/auth/oauth
    body = urlencode({name: credentials[name] for name in ("client_id", "client_secret")})
    return Fetch(
        name="token",
        method="POST",
        url="https://public-api.kiwify.com/v1/oauth/token",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=body.encode(),
    )


def _authorize(credentials: Mapping[str, str]) -> Mapping[str, str]:
    return {**bearer(credentials), "x-kiwify-account-id": credentials["account_id"]}


DRIVER = Driver(
    slug="kiwify",
    id="01ke7rhnt6fhb6tsbbhcdpepkw",
    name="Kiwify",
    description={
        "pt": "Compras aprovadas e recusadas, boletos e Pix gerados, reembolsos, chargebacks, "
        "assinaturas e carrinhos abandonados da Kiwify.",
        "en": "Approved and refused purchases, boletos and Pix charges, refunds, chargebacks, "
        "subscriptions and abandoned carts of Kiwify.",
    },
    docs_url="https://docs.kiwify.com.br/api-reference/webhooks/receiving",
    scheme=Choice(
        options=((_is_wrapped, WRAPPED),),
        otherwise=Hmac(at=(Query("signature"),), digest="sha1"),
    ),
    normalize=normalize,
    delivery_key=lambda _: None,  # Kiwify gives a delivery no id
    supported_events=tuple(
        "order.pending order.paid order.failed order.refunded order.chargeback order.updated "
        "checkout.abandoned subscription.created subscription.renewed subscription.past_due "
        "subscription.canceled provider.event".split()
    ),
    credentials=(
        Credential(name="client_id", label="Client ID", secret=False),
        Credential(name="client_secret", label="Client secret"),
        Credential(name="account_id", label="Account ID", secret=False),
    ),
    api=Api(
        base_url="https://public-api.kiwify.com",
        credentials=("client_id", "client_secret", "account_id"),
        authorize=_authorize,
        login=_login,
        token=granted,
        per_minute=100,
    ),
)
