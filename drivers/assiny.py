"""Assiny: one named event a request, in three layouts; proven by what the merchant sets up itself.

https://assiny.gitbook.io/assiny-docs/webhooks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from drivers.assiny_data import Told, data_of, read, when
from drivers.base import Driver, fact, raw_event
from drivers.claim import Claim, Draft, Header, Location, Query
from drivers.read import cents, dig, first, flag, need, record, text
from drivers.verify import Choice, Hmac, Token, has_header
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.order import Checkout, Order, OrderStatus, Subscription
from schemas.request import Grant, Inbound, Reply, Verified

# https://assiny.gitbook.io/assiny-docs/webhooks (names differ between accounts)
EVENTS: Mapping[str, str] = {
    "approved_purchase": "order.paid",
    # The guarantee is over: tells of the same payment again.
    "completed_purchase": "order.paid",
    "refunded_purchase": "order.refunded",
    "request_refund": "order.updated",
    "refund_requested": "order.updated",
    "charged_back": "order.chargeback",
    "chargeback_purchase": "order.chargeback",
    "chargeback": "order.chargeback",
    "refused": "order.failed",
    "refused_purchase": "order.failed",
    "denied_purchase": "order.failed",
    "bank_slip_generated": "order.pending",
    "boleto_gerado": "order.pending",
    "pix_generated": "order.pending",
    "pix_gerado": "order.pending",
    "pending_purchase": "order.pending",
    "pix_expired": "order.expired",
    "pix_expirado": "order.expired",
    "expired_purchase": "order.expired",
    "abandoned_checkout": "checkout.abandoned",
    "abandoned_purchase": "checkout.abandoned",
    "abandoned_cart": "checkout.abandoned",
    "subscription_canceled": "subscription.canceled",
    "subscription_cancelled": "subscription.canceled",
    "assinatura_cancelada": "subscription.canceled",
}
LATE = ("past_due", "overdue", "delayed")  # parts of names that no account has confirmed
STATUS: Mapping[str, OrderStatus] = {
    "order.paid": "paid",
    "order.refunded": "refunded",
    "order.chargeback": "chargeback",
    "order.failed": "failed",
    "order.pending": "pending",
    "order.expired": "expired",
}
# `transaction.status`: what it says by itself.
# https://assiny.gitbook.io/assiny-docs/webhooks/estrutura-dos-dados/transaction
WORDS: Mapping[str, OrderStatus] = {
    "paid": "paid",
    "approved": "paid",
    "completed": "paid",
    "refunded": "refunded",
    "chargedback": "chargeback",
    "charged_back": "chargeback",
    "chargeback": "chargeback",
    "pending": "pending",
}
MONEY_MOVED = {"order.paid", "order.refunded", "order.chargeback"}


@dataclass(frozen=True, slots=True)
class Bearer:
    """The token of an Authorization header of that kind (RFC 6750)."""

    def read(self, claim: Claim) -> str | None:
        """See Location."""
        kind, _, token = (claim.inbound.header("authorization") or "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else None

    def write(self, draft: Draft, value: str) -> None:
        """See Location."""
        Header("authorization").write(draft, f"Bearer {value}")


def _places(settings: Mapping[str, Any]) -> tuple[Location, ...]:
    """Where the shared secret may stand; the header's name is the merchant's own choice."""
    chosen = (text(settings.get("header_name")) or "x-assiny-token").lower()
    return (Header(chosen), Query("token"), Query("secret"), Bearer())


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A static secret in the header that `settings.header_name` names, in the URL, or as Bearer.

    Assiny sends nothing of the kind by itself: without a secret the installation's URL protects.
    """

    binds_body: bool = field(default=False, init=False)
    window: int | None = field(default=None, init=False)
    needs_secret: bool = field(default=False, init=False)
    reveals_secret: bool = field(default=True, init=False)

    def check(self, claim: Claim, grant: Grant) -> None:
        """See verify.Scheme."""
        self._token(grant.settings).check(claim, grant)

    def sign(self, draft: Draft) -> None:
        """See verify.Scheme."""
        self._token({}).sign(draft)

    def _token(self, settings: Mapping[str, Any]) -> Token:
        return Token(at=_places(settings), required=False)


@dataclass(frozen=True, slots=True)
class OptionalHmac(Hmac):
    """A signature that nobody has to send; without a secret it is not looked at."""

    needs_secret: bool = field(default=False, init=False)


_is_signed = has_header("x-assiny-signature")


def _only_signed(claim: Claim, grant: Grant) -> bool:
    """Assiny is not known to sign, so a signature counts where no shared secret is presented."""
    presented = any(place.read(claim) for place in _places(grant.settings))
    return _is_signed(claim, grant) and any(grant.secrets) and not presented


def normalize(v: Verified) -> Sequence[Event]:
    """The event of one delivery, by its name."""
    body = record(v.payload)
    word = need(body, "event").lower()
    told = read(body)
    _check_owner(v, told)
    name = EVENTS.get(word) or ("subscription.past_due" if any(w in word for w in LATE) else None)
    if name is None:
        drift = (f"unknown_event:{word}",)
        return [raw_event(v, provider_event=word, key=told.id, drift=drift)]
    if name == "checkout.abandoned":
        return [_abandoned(told, word)]
    if name.startswith("subscription."):
        return [_subscription(told, word, name)]
    return [_order(told, word, name)]


def _check_owner(v: Verified, told: Told) -> None:
    """Nothing is signed, so what is told must at least be of the organization that was set up."""
    ours = text(v.settings.get("organization_id"))
    theirs = text(dig(told.sale, "project", "organization", "id"))
    if ours and theirs and ours != theirs:
        raise MalformedError("the sale is of another organization than settings.organization_id")


def _drift(told: Told, word: str, name: str) -> tuple[str, ...]:
    """What the sale's own status makes of an event that moves money.

    Raises MalformedError where they disagree: a wrong order.paid costs more than a late one.
    """
    status = (text(told.sale.get("status")) or "").lower()
    if name not in MONEY_MOVED or not status or WORDS.get(status) == STATUS[name]:
        return ()
    if name == "order.paid" or status in WORDS:
        raise MalformedError(f"{word} with transaction.status {status[:40]}")
    return (f"unknown_status:{status}",)


def _event(told: Told, word: str, name: str, **known: Any) -> Event:
    return Event(name=name, provider_event=word, test=bool(flag(told.body.get("test"))), **known)


def _order(told: Told, word: str, name: str) -> Event:
    if told.id is None:
        raise MalformedError("missing:transaction.id")
    drift, data = _drift(told, word, name), data_of(told, STATUS.get(name))
    order, plan = data["order"] or Order(), data["subscription"] or Subscription()
    parts: tuple[Any, ...] = (told.id,)
    if name == "order.paid" and ((plan.cycle or 0) > 1 or told.is_renewal):
        name, parts = "subscription.renewed", (told.id, plan.id, plan.cycle)
    if name == "order.updated":
        data["extra"]["refund_requested"] = True
    return _event(
        told,
        word,
        name,
        key=told.id,
        dedupe_key=fact(*parts),
        occurred_at=order.updated_at or order.created_at,
        data=data,
        drift=drift,
    )


def _subscription(told: Told, word: str, name: str) -> Event:
    status = WORDS.get((text(told.sale.get("status")) or "").lower())
    data = data_of(told, status)
    order, plan = data["order"] or Order(), data["subscription"] or Subscription()
    whose = plan.id or told.id
    if whose is None:
        raise MalformedError("missing:subscription.id")
    at = order.updated_at or order.created_at
    plan.status = name.removeprefix("subscription.")
    plan.canceled_at = at if name == "subscription.canceled" else None
    data["subscription"] = plan
    return _event(
        told,
        word,
        name,
        key=told.id or whose,
        dedupe_key=fact(whose, plan.cycle, told.id),
        occurred_at=at,
        data=data,
    )


def _abandoned(told: Told, word: str) -> Event:
    """A checkout that was left; only one variant gives it an id."""
    data = data_of(told, None)
    order, buyer = data["order"] or Order(), data["customer"]
    at: datetime | None = when(first(told.data.get("created_at"), told.body.get("created_at")))
    at = at or order.updated_at or order.created_at
    offer, who = text(told.offer.get("id")), buyer and (buyer.id or buyer.email)
    if told.id is None and who is None:
        raise MalformedError("missing:client.email")
    prices = [item.unit_price for item in data["items"] if item.unit_price is not None]
    told_total = cents(told.sale.get("amount"))
    data["checkout"] = Checkout(
        id=told.id,
        url=order.checkout_url,
        currency=order.currency,
        total=sum(prices) if told_total is None and prices else told_total,
        abandoned_at=at,
        raw_status=text(told.sale.get("status")),
    )
    data["order"], data["payments"] = None, []
    key = told.id or fact(offer, who)
    return _event(
        told,
        word,
        "checkout.abandoned",
        key=key,
        dedupe_key=key if told.id else fact(key, at),
        occurred_at=at,
        data=data,
    )


def handshake(inbound: Inbound, _grant: Grant) -> Reply | None:
    """Some receivers are known to be looked at with GET before they are used."""
    return Reply(body=b"ok") if inbound.method == "GET" else None


DRIVER = Driver(
    slug="assiny",
    id="01ke7rhnt6fhb6tsbbhcdpepas",
    name="Assiny",
    description={
        "pt": "Vendas, boletos, Pix, reembolsos, assinaturas e checkouts abandonados da Assiny.",
        "en": "Sales, boletos, Pix, refunds, subscriptions and abandoned checkouts of Assiny.",
    },
    docs_url="https://assiny.gitbook.io/assiny-docs/webhooks",
    scheme=Choice(
        options=(
            (_only_signed, OptionalHmac(at=(Header("x-assiny-signature"),), prefix="sha256=")),
        ),
        otherwise=SharedSecret(),
    ),
    normalize=normalize,
    delivery_key=lambda _v: None,  # deliveries carry no number
    handshake=handshake,
    supported_events=(
        "order.pending",
        "order.paid",
        "order.failed",
        "order.expired",
        "order.refunded",
        "order.chargeback",
        "order.updated",
        "subscription.renewed",
        "subscription.past_due",
        "subscription.canceled",
        "checkout.abandoned",
        "provider.event",
    ),
)
