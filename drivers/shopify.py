"""Shopify: REST-shaped resources, one topic a request; the topic is in a header, the proof over the
raw body.

https://shopify.dev/docs/apps/build/webhooks/delivery-structure
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from drivers import shopify_hooks
from drivers.base import Credential, Driver
from drivers.describe import OAUTH_SETTINGS, Api, Fetch, OAuth, Page, Poll, Token, granted
from drivers.read import instant, latest, need, record, records, text
from drivers.shopify_order import ident
from drivers.shopify_topics import (
    BILLING,
    ORDER_TOPICS,
    POLLED_CHECKOUT,
    billing_event,
    checkout_event,
    contract_event,
    dispute_event,
    fulfillment_event,
    order_event,
    polled_event,
    raw,
    refund_event,
    uninstalled_event,
)
from drivers.verify import Choice, Claim, Header, Hmac, Refuse, same
from schemas import codec
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.request import Grant, Inbound, Verified

API_VERSION = "2026-07"
PAGE = 250  # orders or checkouts, the most that one answer holds
POLLED = "orders/polled"  # our own word for an order that a list told of
OVERLAP = timedelta(minutes=5)  # what changed then may be listed only now
# https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance: somebody has to act.
PRIVACY = {"customers/data_request", "customers/redact", "shop/redact"}
IGNORED = {
    "orders/delete",
    "orders/risk_assessment_changed",
    "checkouts/delete",
    "order_transactions/create",
}
TOPICS: Mapping[str, Callable[[Verified, str, dict[str, Any]], list[Event]]] = {
    **dict.fromkeys((*ORDER_TOPICS, "orders/updated", "orders/edited"), order_event),
    POLLED: polled_event,
    "refunds/create": refund_event,
    **dict.fromkeys(("fulfillments/create", "fulfillments/update"), fulfillment_event),
    "fulfillment_events/create": fulfillment_event,
    **dict.fromkeys(("checkouts/create", "checkouts/update", POLLED_CHECKOUT), checkout_event),
    **dict.fromkeys(("disputes/create", "disputes/update"), dispute_event),
    **dict.fromkeys(
        ("subscription_contracts/create", "subscription_contracts/update"), contract_event
    ),
    **dict.fromkeys(BILLING, billing_event),
    "app/uninstalled": uninstalled_event,
}


def topic_of(v: Verified) -> str:
    """The topic, which the signature does not cover. Raises MalformedError without one."""
    topic = v.header("x-shopify-topic") or v.header("shopify-topic")
    if topic is None:
        raise MalformedError("missing:x-shopify-topic")
    return topic.lower()


def normalize(v: Verified) -> Sequence[Event]:
    """The event of one delivery, by its topic."""
    topic, body = topic_of(v), record(v.payload)
    read = TOPICS.get(topic)
    if v.header("x-shopify-topic") is None:
        # The newer Events product: each app chooses its own GraphQL shape.
        return [raw(v, topic, v.header("shopify-resource-id"))]
    if read is not None:
        return read(v, topic, body)
    if topic in IGNORED:
        return []
    drift = () if topic in PRIVACY else (f"unknown_event:{topic}",)
    return [raw(v, topic, ident(body), drift)]


def settles(v: Verified) -> tuple[str, ...]:
    """An order ends the wait for its checkout, and so does the checkout's own completion."""
    topic, body = topic_of(v), record(v.payload)
    if topic.startswith("orders/"):
        return tuple(filter(None, (text(body.get(k)) for k in ("checkout_token", "checkout_id"))))
    if topic.startswith("checkouts/") and body.get("completed_at"):
        return tuple(filter(None, (text(body.get(k)) for k in ("token", "id"))))
    return ()


def delivery_key(v: Verified) -> str | None:
    """The same on every retry."""
    return v.header("x-shopify-webhook-id") or v.header("shopify-webhook-id")


# The official library's rule for a shop's domain.
_SHOP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_]*\.myshopify\.com")


def shop_of(settings: Mapping[str, Any], told: str | None = None) -> str | None:
    """The shop's domain: what the installation says, else what an unsigned header tells."""
    shop = text(settings.get("shop")) or told or ""
    shop = shop if "." in shop else f"{shop}.myshopify.com"
    return shop.lower() if _SHOP.fullmatch(shop) else None


def is_of_another_shop(claim: Claim, grant: Grant) -> bool:
    """The signature does not cover the shop, and all shops of an app share its secret."""
    expected = shop_of(grant.settings) if grant.settings.get("shop") else None
    told = claim.inbound.header("x-shopify-shop-domain")
    return expected is not None and told is not None and told.lower() != expected


def needs(v: Verified) -> tuple[Fetch, ...]:
    """The order of a refund, which alone says whether all of it was paid back."""
    shop = shop_of(v.settings, v.header("x-shopify-shop-domain"))
    if topic_of(v) != "refunds/create" or "order" in v.enrichment or shop is None:
        return ()
    order = quote(need(v.payload, "order_id"), safe="")
    return (Fetch(name="order", url=f"{_api(shop, v.settings)}/orders/{order}.json"),)


def probe(settings: Mapping[str, Any]) -> Fetch | None:
    """One order: what every token of ours may read."""
    shop = shop_of(settings)
    url = f"{_api(shop, settings)}/orders.json?status=any&limit=1" if shop else None
    return Fetch(name="orders", url=url) if url else None


def _api(shop: str, settings: Mapping[str, Any]) -> str:
    version = text(settings.get("api_version")) or API_VERSION
    return f"https://{shop}/admin/api/{quote(version, safe='')}"


def _api_of(settings: Mapping[str, Any]) -> str:
    """Raises MalformedError where no shop is named."""
    shop = shop_of(settings)
    if shop is None:
        raise MalformedError("missing:settings.shop")
    return _api(shop, settings)


def _changed(name: str, **query: Any) -> Any:
    """Asks a list for what changed since the cursor; at first since an hour ago: history is no
    news.
    """

    def start(cursor: Mapping[str, Any], now: datetime, settings: Mapping[str, Any]) -> Fetch:
        known, hour_ago = instant(cursor.get("since")), now - timedelta(hours=1)
        first = (known - OVERLAP if known else hour_ago).isoformat()
        asked = {**query, "updated_at_min": first}
        url = f"{_api_of(settings)}/{name}.json?{urlencode(asked)}"
        return Fetch(name=name, url=url, cursor={"since": (known or hour_ago).isoformat()})

    return start


def _read(name: str) -> Any:
    """Reads one page; a Link header names the next."""

    def read(answer: Any, cursor: Mapping[str, Any]) -> Page:
        items = records(record(answer).get(name))
        since = latest(
            instant(cursor.get("since")), *(instant(item.get("updated_at")) for item in items)
        )
        return Page(items=tuple(items), cursor={"since": since.isoformat()} if since else {})

    return read


def _polled(topic: str) -> Any:
    """Makes what a list holds a delivery."""

    def inbound(item: Any, now: datetime) -> Inbound:
        return Inbound("POST", {"x-shopify-topic": (topic,)}, {}, codec.dumps(item), now)

    return inbound


def read_token(answer: Any, now: datetime) -> Token:
    """Shopify separates the granted scopes by commas, and leaves out what another one implies."""
    told = text(record(answer).get("scope"))
    scopes = told.split(",") if told is not None else []
    implied = [scope.replace("write_", "read_", 1) for scope in scopes]
    every = " ".join(dict.fromkeys((*scopes, *implied)))
    return granted(answer | {"scope": every if scopes else None}, now)


def check_callback(query: Mapping[str, str], client_secret: str, now: datetime) -> bool:
    """Shopify's own proof on the OAuth callback.

    https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/authorization-code-grant
    """
    signed = sorted((k, v) for k, v in query.items() if k not in {"hmac", "signature"})
    # As JavaScript's encodeURIComponent writes it.
    message = urlencode(signed, quote_via=quote, safe="!'()*").encode()
    digest = hmac.new(client_secret.encode(), message, hashlib.sha256).hexdigest()
    stamp = query.get("timestamp", "")
    # The official library's tolerance, in seconds.
    is_fresh = stamp.isascii() and stamp.isdigit() and abs(now.timestamp() - int(stamp[:12])) <= 90
    is_shop = _SHOP.fullmatch(query.get("shop", "")) is not None
    return is_fresh and is_shop and same(query.get("hmac", ""), digest)


DRIVER = Driver(
    slug="shopify",
    id="01ke7rhnt6fhb6tsbbhcdpepsh",
    name="Shopify",
    description={
        "pt": "Receba pedidos, pagamentos, cancelamentos, reembolsos, contestações, envios, "
        "assinaturas e carrinhos abandonados da sua loja Shopify.",
        "en": "Orders, payments, cancellations, refunds, chargebacks, shipments, subscriptions and "
        "abandoned checkouts of your Shopify store.",
    },
    docs_url="https://shopify.dev/docs/apps/build/webhooks",
    scheme=Choice(
        options=((is_of_another_shop, Refuse("the delivery is of another shop")),),
        otherwise=Hmac(
            at=(Header("x-shopify-hmac-sha256"), Header("shopify-hmac-sha256")), encoding="base64"
        ),
    ),
    normalize=normalize,
    settles=settles,
    delivery_key=delivery_key,
    supported_events=(
        "order.created",
        "order.paid",
        "order.canceled",
        "order.expired",
        "order.refunded",
        "order.partially_refunded",
        "order.chargeback",
        "order.shipped",
        "order.delivered",
        "order.updated",
        "checkout.abandoned",
        "subscription.created",
        "subscription.renewed",
        "subscription.past_due",
        "subscription.canceled",
        "subscription.updated",
        "shipment.in_transit",
        "shipment.out_for_delivery",
        "shipment.delayed",
        "shipment.delivery_failed",
        "shipment.updated",
        "installation.updated",
        "provider.event",
    ),
    available_settings=OAUTH_SETTINGS,
    credentials=(Credential(name="access_token", label="Admin API access token"),),
    api=Api(
        base_url="https://admin.shopify.com",
        credentials=("access_token",),
        authorize=lambda c: {"X-Shopify-Access-Token": c["access_token"]},
        needs=needs,
        per_minute=120,
        burst=20,  # of 40: other programs may ask with the same token
        webhooks=shopify_hooks.webhooks(_api_of),
        probe=probe,
    ),
    oauth=OAuth(
        authorize_url="https://{shop}/admin/oauth/authorize",
        token_url="https://{shop}/admin/oauth/access_token",  # noqa: S106 - an address
        scopes=("read_orders", "read_customers", "read_fulfillments"),
        scope_separator=",",
        shop=shop_of,
        redirect_uri="authorize",
        # Not documented, and taken: Nango sends it to both endpoints, as it does wherever it is not
        # refused. https://github.com/NangoHQ/nango/blob/master/packages/providers/providers.yaml
        pkce=True,
        client_auth="json",
        token_params={"expiring": "1"},
        read_token=read_token,
        check_callback=check_callback,
    ),
    polls=(
        # https://shopify.dev/docs/api/admin-rest/latest/resources/order
        Poll(
            name="orders",
            start=_changed("orders", status="any", limit=PAGE, order="updated_at asc"),
            read=_read("orders"),
            inbound=_polled(POLLED),
            interval_minutes=60,
            links=True,
            since=lambda at: {"since": at.isoformat()},
        ),
        # https://shopify.dev/docs/api/admin-rest/latest/resources/abandoned-checkouts
        Poll(
            name="checkouts",
            start=_changed("checkouts", status="open", limit=PAGE),
            read=_read("checkouts"),
            inbound=_polled(POLLED_CHECKOUT),
            links=True,
        ),
    ),
)
