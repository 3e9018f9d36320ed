"""Stripe: one signed event a request, its object shaped by the endpoint's API version.

https://docs.stripe.com/webhooks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from drivers import stripe_hooks
from drivers.base import Credential, Driver, raw_event
from drivers.describe import (
    OAUTH_SETTINGS,
    Api,
    Fetch,
    OAuth,
    Page,
    Poll,
    Token,
    bearer,
    granted,
)
from drivers.read import dig, need, record, records, text
from drivers.stripe_billing import invoice_failed, invoice_paid, subscription_changed
from drivers.stripe_events import (
    Told,
    charge_refunded,
    deauthorized,
    dispute_created,
    intent_changed,
    session_changed,
    session_expired,
)
from drivers.stripe_objects import ident
from drivers.verify import Header, TimestampedHmac
from schemas import codec
from schemas.events import Event
from schemas.request import Inbound, Verified

API = "https://api.stripe.com"
API_VERSION = "2026-06-24.dahlia"
PAGE = 100
OVERLAP = 300  # seconds: what happened then may be listed only now

# https://docs.stripe.com/api/events/types
READERS: Mapping[str, Callable[[Told], list[Event]]] = {
    "checkout.session.completed": session_changed,
    "checkout.session.async_payment_succeeded": session_changed,
    "checkout.session.async_payment_failed": session_changed,
    "checkout.session.expired": session_expired,
    "payment_intent.created": intent_changed,
    "payment_intent.requires_action": intent_changed,
    "payment_intent.processing": intent_changed,
    "payment_intent.succeeded": intent_changed,
    "payment_intent.payment_failed": intent_changed,
    "payment_intent.canceled": intent_changed,
    "charge.refunded": charge_refunded,
    "charge.dispute.created": dispute_created,
    "invoice.paid": invoice_paid,
    "invoice.payment_succeeded": invoice_paid,
    "invoice.payment_failed": invoice_failed,
    "customer.subscription.created": subscription_changed,
    "customer.subscription.updated": subscription_changed,
    "customer.subscription.deleted": subscription_changed,
    "customer.subscription.paused": subscription_changed,
    "customer.subscription.resumed": subscription_changed,
}
DEAUTHORIZED = "account.application.deauthorized"
# What other events tell already, or tells nothing of an order.
IGNORED = {
    "charge.succeeded",
    "charge.failed",
    "charge.captured",
    "charge.expired",
    "charge.pending",
    "charge.updated",
    "charge.dispute.closed",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "refund.created",
    "refund.updated",
    "customer.subscription.trial_will_end",
}
# A refund that failed (a Pix one may) is nobody's event, but somebody has to see it.
REFUNDS = {"charge.refund.updated", "refund.failed"}
THIN = "v2.core.event"


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery, by its type."""
    kind, thing = need(v.payload, "type"), record(dig(v.payload, "data", "object"))
    told = Told(v, kind, thing)
    if v.payload.get("object") == THIN:
        return [_raw(told, ident(v.payload.get("related_object")))]
    if kind == DEAUTHORIZED:
        return deauthorized(told)
    if kind in READERS:
        return READERS[kind](told)
    if kind in REFUNDS:
        return [_raw(told, ident(thing))] if thing.get("status") == "failed" else []
    if kind in IGNORED:
        return []
    return [_raw(told, ident(thing), (f"unknown_event:{kind}",))]


def _raw(told: Told, key: str | None, drift: tuple[str, ...] = ()) -> Event:
    return raw_event(
        told.verified,
        provider_event=told.kind,
        key=key,
        drift=drift,
        occurred_at=told.at,
        provider_event_id=told.id,
        test=told.is_test,
    )


def needs(v: Verified) -> tuple[Fetch, ...]:
    """A session's lines, and the voucher or code of one that is still to be paid."""
    kind, session = text(v.payload.get("type")) or "", record(dig(v.payload, "data", "object"))
    if not kind.startswith("checkout.session.") or session.get("mode") == "setup":
        return ()
    wanted = {"line_items": f"checkout/sessions/{_quoted(session)}/line_items?limit=100"}
    intent = session.get("payment_intent")
    if session.get("payment_status") == "unpaid" and ident(intent):
        wanted["payment_intent"] = f"payment_intents/{_quoted(intent)}"
    account = text(v.payload.get("account"))
    headers = {"Stripe-Account": account} if account else {}
    return tuple(
        Fetch(name=name, url=f"{API}/v1/{path}", headers=headers, optional=True)
        for name, path in wanted.items()
        if name not in v.enrichment
    )


def _quoted(thing: Any) -> str:
    return quote(ident(thing) or "", safe="")


def start_poll(cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """Events since a little before the cursor (Stripe keeps them 30 days); at first since an hour
    ago.
    """
    hour_ago, known = int((now - timedelta(hours=1)).timestamp()), cursor.get("since")
    first = known - OVERLAP if known else hour_ago
    query = {"limit": PAGE, "created[gte]": first, "types[]": list(READERS)}
    url = f"{API}/v1/events?{urlencode(query, doseq=True)}"
    return Fetch(name="events", url=url, cursor={"since": known or hour_ago})


def read_poll(answer: Any, cursor: Mapping[str, Any]) -> Page:
    """One page, the newest event first."""
    events = records(record(answer).get("data"))
    times = [e["created"] for e in events if isinstance(e.get("created"), int)]
    since = max([*times, cursor.get("since") or 0]) or None
    last = ident(events[-1]) if events else None
    more = {"starting_after": last} if record(answer).get("has_more") and last else {}
    return Page(items=tuple(events), cursor={"since": since}, more=more)


def polled(event: Any, now: datetime) -> Inbound:
    """A listed event is what a delivery of it would be."""
    return Inbound("POST", {}, {}, codec.dumps(event), now)


def authorize(credentials: Mapping[str, str]) -> Mapping[str, str]:
    """Headers of a call, with the version this module was written for."""
    return {**bearer(credentials), "Stripe-Version": API_VERSION}


def read_token(answer: Any, now: datetime) -> Token:
    """The token of a connected account, with the account's id: it never ends by itself.

    https://docs.stripe.com/connect/oauth-reference
    """
    told = record(answer)
    implied = {"read_write": "read_write read_only"}
    scope = told.get("scope")
    token = granted(told | {"scope": implied.get(text(scope) or "", scope)}, now)
    account = text(told.get("stripe_user_id"))
    return replace(token, extra={"account": account} if account else {})


DRIVER = Driver(
    slug="stripe",
    id="01ke7rhnt6fhb6tsbbhcdpepst",
    name="Stripe",
    description={
        "pt": "Pagamentos com cartão, boleto e Pix, checkouts abandonados, reembolsos, "
        "contestações e assinaturas da sua conta Stripe.",
        "en": "Card, boleto and Pix payments, abandoned checkouts, refunds, disputes and "
        "subscriptions of your Stripe account.",
    },
    docs_url="https://docs.stripe.com/webhooks",
    scheme=TimestampedHmac(signature=Header("stripe-signature")),
    normalize=normalize,
    delivery_key=lambda v: text(v.payload.get("id")),
    supported_events=(
        "order.created",
        "order.pending",
        "order.paid",
        "order.failed",
        "order.expired",
        "order.canceled",
        "order.refunded",
        "order.partially_refunded",
        "order.chargeback",
        "order.updated",
        "checkout.abandoned",
        "subscription.created",
        "subscription.renewed",
        "subscription.past_due",
        "subscription.canceled",
        "subscription.updated",
        "installation.updated",
        "provider.event",
    ),
    available_settings=OAUTH_SETTINGS,
    credentials=(
        Credential(name="access_token", label="Secret or restricted API key (sk_…, rk_…)"),
    ),
    secret_fields=("client_secret",),
    api=Api(
        base_url=API,
        credentials=("access_token",),
        authorize=authorize,
        needs=needs,
        per_minute=1200,
        webhooks=stripe_hooks.webhooks((*READERS, *sorted(REFUNDS)), API_VERSION),
        probe=lambda _: Fetch(name="account", url=f"{API}/v1/account"),
    ),
    oauth=OAuth(
        authorize_url="https://connect.stripe.com/oauth/authorize",
        token_url="https://connect.stripe.com/oauth/token",  # noqa: S106 - an address
        scopes=("read_only",),
        redirect_uri="authorize",
        # Not documented (https://docs.stripe.com/connect/oauth-reference), and taken: Nango sends
        # it here, and leaves it out for Stripe Apps, whose endpoints are others and refuse it.
        # https://github.com/NangoHQ/nango/blob/master/packages/providers/providers.yaml
        pkce=True,
        read_token=read_token,
    ),
    polls=(
        Poll(
            name="events",
            start=start_poll,
            read=read_poll,
            inbound=polled,
            interval_minutes=60,
            newest_first=True,
            since=lambda at: {"since": int(at.timestamp())},
        ),
    ),
)
