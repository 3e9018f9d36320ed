"""WooCommerce: the order as the store's REST API shows it, signed over the raw body; every save
sends it again, so its status says what happened.

https://developer.woocommerce.com/docs/apis/rest-api/v3/webhooks/
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from drivers import woocommerce_hooks
from drivers.base import Credential, Driver, fact, raw_event
from drivers.describe import Api, Fetch, Page, Poll
from drivers.read import currency, instant, integer, money, need, record, records, text
from drivers.verify import Choice, Claim, Header, Hmac, UrlOnly
from drivers.woocommerce_cart import CARTFLOWS, SIGNATURE, cart_event, is_cartflows
from drivers.woocommerce_order import head_of, is_unpaid, moment, order_data, refunded, unwrapped
from schemas import codec
from schemas.errors import MalformedError
from schemas.events import FAMILIES, Event
from schemas.order import Order, OrderStatus, Subscription
from schemas.request import Grant, Inbound, Reply, Verified

PAGE = 100  # orders, the most that one answer holds
OVERLAP = timedelta(minutes=5)  # what changed then may be listed only now
TOPIC = "x-wc-webhook-topic"

# https://woocommerce.com/document/managing-orders/order-statuses/ and, below, words of plugins in
# wide use; a store's own words are in its `status_map`.
STATUS = {
    "pending": "order.pending",
    "on-hold": "order.pending",
    "processing": "order.paid",
    "completed": "order.paid",
    "cancelled": "order.canceled",
    "refunded": "order.refunded",
    "failed": "order.failed",
    "shipped": "order.shipped",
    "partial-shipped": "order.shipped",
    "enviado": "order.shipped",
    "em-transporte": "order.shipped",
    "delivered": "order.delivered",
    "entregue": "order.delivered",
}
NO_ORDER_YET = {"checkout-draft", "auto-draft", "draft", "trash"}
# What a later status says of the order itself: a parcel on its way is paid for.
STATE: Mapping[str, OrderStatus] = {
    "order.created": "created",
    "order.pending": "pending",
    "order.paid": "paid",
    "order.failed": "failed",
    "order.canceled": "canceled",
    "order.expired": "expired",
    "order.refunded": "refunded",
    "order.partially_refunded": "partially_refunded",
    "order.chargeback": "chargeback",
    "order.invoiced": "paid",
    "order.shipped": "paid",
    "order.delivered": "paid",
}
# WooCommerce Subscriptions: on-hold is every renewal for a moment, so it is no news of a debt.
SUBSCRIPTION = {
    "pending",
    "active",
    "on-hold",
    "pending-cancel",
    "cancelled",
    "expired",
    "switched",
}
OTHER_RESOURCES = ("product.", "customer.", "coupon.", "action.")
IGNORED = {"order.deleted", "subscription.deleted"}


def topic_of(v: Verified) -> str:
    """What the delivery is about; the signature does not cover it."""
    whole = v.header(TOPIC)
    parts = [v.header("x-wc-webhook-resource"), v.header("x-wc-webhook-event")]
    topic = whole or ".".join(part for part in parts if part)
    if not topic:
        raise MalformedError(f"missing:{TOPIC}")
    return topic.lower()


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery, by its topic."""
    if is_cartflows(v.inbound):
        return [cart_event(v, record(v.payload))]
    topic, order = topic_of(v), unwrapped(v.payload)
    if topic in IGNORED or text(order.get("status")) in NO_ORDER_YET:
        return []
    if topic.startswith("order."):
        return _order(v, topic, order)
    if topic.startswith("subscription."):
        return [_subscription(v, topic, order)]
    known = topic.startswith(OTHER_RESOURCES)
    drift = () if known else (f"unknown_event:{topic}",)
    return [raw_event(v, provider_event=topic, key=text(order.get("id")), drift=drift)]


def _order(v: Verified, topic: str, order: dict[str, Any]) -> list[Event]:
    word = (text(order.get("status")) or "").removeprefix("wc-")
    mapped = _own_words(v.settings).get(word)
    name = mapped or STATUS.get(word, "order.updated")
    if mapped is None:
        name = _corrected(name, word, topic, order)
    is_known = mapped or word in STATUS or not word
    drift = () if is_known else (f"unknown_status:{word}",)
    events = [_fact(v, topic, order, name, drift)]
    if name == "order.paid" and word == "completed":
        events.append(_fact(v, topic, order, "order.updated", ()))
    return events


def _own_words(settings: Mapping[str, Any]) -> dict[str, str]:
    """The store's own statuses, by `settings.status_map`."""
    told = record(settings.get("status_map"))
    named = {str(k).removeprefix("wc-"): str(v) for k, v in told.items()}
    return {word: name for word, name in named.items() if name in FAMILIES["order"]}


def _corrected(name: str, word: str, topic: str, order: dict[str, Any]) -> str:
    """What the status alone does not tell."""
    back, total = refunded(order), money(order.get("total"), currency(order.get("currency")))
    if name == "order.paid" and back:
        return "order.partially_refunded" if back < (total or 0) else "order.refunded"
    if word == "processing" and is_unpaid(order):
        return "order.created"
    return "order.created" if word == "pending" and topic == "order.created" else name


def _fact(
    v: Verified, topic: str, order: dict[str, Any], name: str, drift: tuple[str, ...]
) -> Event:
    key, changed = need(order, "id"), moment(order, "date_modified", "updated_at")
    head = _head(order, name, changed)
    facts: dict[str, tuple[Any, ...]] = {
        "order.updated": (changed,),
        "order.failed": (text(order.get("transaction_id")),),
        "order.refunded": (head.refunded,),
        "order.partially_refunded": (head.refunded,),
    }
    times = {"order.created": head.created_at, "order.paid": head.paid_at}
    return Event(
        name=name,
        key=key,
        dedupe_key=fact(key, *facts.get(name, ())),
        provider_event=topic,
        provider_event_id=v.header("x-wc-webhook-delivery-id"),
        occurred_at=times.get(name) or changed,
        data=order_data(order, head),
        drift=drift,
    )


def _head(order: dict[str, Any], name: str, changed: datetime | None) -> Order:
    head = head_of(order, status=STATE.get(name))
    if name == "order.updated" and head.raw_status == "completed":
        head.status = "paid"
    if name == "order.refunded" and head.refunded is None:
        head.refunded = head.total
    if name == "order.failed":
        head.cancel_reason = "payment_failed"
    times = {
        "order.canceled": "canceled_at",
        "order.refunded": "refunded_at",
        "order.partially_refunded": "refunded_at",
        "order.shipped": "shipped_at",
        "order.delivered": "delivered_at",
    }
    if name in times:
        setattr(head, times[name], changed)
    return head


def _subscription(v: Verified, topic: str, order: dict[str, Any]) -> Event:
    """https://woocommerce.github.io/subscriptions-rest-api-docs/."""
    key, word = need(order, "id"), text(order.get("status")) or ""
    changed = moment(order, "date_modified")
    name = "subscription.created" if topic == "subscription.created" else "subscription.updated"
    name = "subscription.canceled" if word == "cancelled" else name
    head = head_of(order)
    data = order_data(order, head)
    data["order"] = Order(id=head.parent_id, currency=head.currency, total=head.total)
    data["subscription"] = Subscription(
        id=key,
        status=word or None,
        period_start=moment(order, "last_payment_date", "start_date"),
        period_end=moment(order, "next_payment_date", "end_date"),
        canceled_at=moment(order, "cancelled_date", "end_date") if word == "cancelled" else None,
    )
    is_known = not word or word in SUBSCRIPTION
    return Event(
        name=name,
        key=key,
        dedupe_key=fact(key, changed) if name == "subscription.updated" else fact(key),
        provider_event=topic,
        provider_event_id=v.header("x-wc-webhook-delivery-id"),
        occurred_at=changed,
        data=data,
        drift=() if is_known else (f"unknown_status:{word}",),
    )


def _is_allowed_plugin(claim: Claim, grant: Grant) -> bool:
    allowed = grant.settings.get("unsigned_plugins")
    return isinstance(allowed, str | list) and CARTFLOWS in allowed and is_cartflows(claim.inbound)


def handshake(inbound: Inbound, _grant: Grant) -> Reply | None:
    """The unsigned ping when a webhook is first saved wants exactly 200."""
    is_ping = re.fullmatch(rb"webhook_id=\d+", inbound.body.strip())
    return Reply(200) if is_ping and SIGNATURE not in inbound.headers else None


def delivery_key(v: Verified) -> str | None:
    """WooCommerce's own delivery id is the same for all of one second."""
    told = (v.header("x-wc-webhook-source") or "", v.header(TOPIC) or "")
    return hashlib.sha256("|".join(told).encode() + b"|" + v.inbound.body).hexdigest()


def _store(settings: Mapping[str, Any]) -> str:
    """Where the store's API is. Raises MalformedError when nobody said so."""
    store = urlsplit(text(settings.get("store_url")) or text(settings.get("api_base_url")) or "")
    if not store.netloc:
        raise MalformedError("missing:settings.store_url")
    return f"{store.scheme}://{store.netloc}{store.path.rstrip('/')}/wp-json/wc/v3"


def probe(settings: Mapping[str, Any]) -> Fetch | None:
    """One order: the smallest thing that wants a key."""
    try:
        return Fetch(name="orders", url=f"{_store(settings)}/orders?per_page=1")
    except MalformedError:
        return None


def start_poll(cursor: Mapping[str, Any], now: datetime, settings: Mapping[str, Any]) -> Fetch:
    """Orders changed since the cursor; at first since an hour ago: history is no news."""
    hour_ago = (now - timedelta(hours=1)).replace(tzinfo=None, microsecond=0)
    known = _naive(cursor.get("since"))
    after = (known - OVERLAP if known else hour_ago).isoformat()
    query = {
        "modified_after": after,
        "dates_are_gmt": "true",
        "orderby": "modified",
        "order": "asc",
        "per_page": PAGE,
    }
    return Fetch(
        name="orders",
        url=f"{_store(settings)}/orders?{urlencode(query)}",
        cursor={"since": (known or hour_ago).isoformat(), "after": after, "page": 1},
    )


def read_poll(answer: Any, cursor: Mapping[str, Any]) -> Page:
    """One page, the oldest change first. The next begins with the last second of this one, which
    may have more orders than a page has room for.
    """
    orders = records(answer)
    since, after = cursor.get("since"), _naive(cursor.get("after"))
    last = _naive(orders[-1].get("date_modified_gmt")) if orders else None
    if last is None or len(orders) < PAGE:
        return Page(items=tuple(orders), cursor={"since": last.isoformat() if last else since})
    step, page = last - timedelta(seconds=1), 1  # `modified_after` leaves its own second out
    if after is not None and step <= after:
        step, page = after, (integer(cursor.get("page")) or 1) + 1
    kept = {"since": last.isoformat(), "after": step.isoformat(), "page": page}
    more = {"modified_after": step.isoformat(), "page": str(page)}
    return Page(items=tuple(orders), cursor=kept, more=more)


def _naive(value: Any) -> datetime | None:
    """A time of the API, which is UTC and does not say so, as it is written there."""
    told = instant(value, "UTC")
    return told.replace(tzinfo=None, microsecond=0) if told else None


def polled(order: Any, now: datetime) -> Inbound:
    """A listed order is what a delivery of its last change would be."""
    return Inbound("POST", {TOPIC: ("order.updated",)}, {}, codec.dumps(order), now)


def authorize(credentials: Mapping[str, str]) -> Mapping[str, str]:
    """Headers of a call: HTTP Basic with a REST API key."""
    pair = f"{credentials['consumer_key']}:{credentials['consumer_secret']}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


DRIVER = Driver(
    slug="woocommerce",
    id="01ke7rhnt6fhb6tsbbhcdpepwc",
    name="WooCommerce",
    description={
        "pt": "Pedidos, pagamentos, reembolsos, envios, assinaturas e carrinhos abandonados da sua "
        "loja WooCommerce, com CPF, CNPJ e endereço brasileiros.",
        "en": "Orders, payments, refunds, shipments, subscriptions and abandoned carts of your "
        "WooCommerce store, with Brazilian tax ids and addresses.",
    },
    docs_url="https://developer.woocommerce.com/docs/apis/rest-api/v3/webhooks/",
    scheme=Choice(
        options=((_is_allowed_plugin, UrlOnly()),),
        otherwise=Hmac(at=(Header(SIGNATURE),), encoding="base64"),
        requires_secret=True,
    ),
    normalize=normalize,
    delivery_key=delivery_key,
    handshake=handshake,
    supported_events=(
        *FAMILIES["order"],
        "checkout.abandoned",
        "checkout.updated",
        "subscription.created",
        "subscription.canceled",
        "subscription.updated",
        "provider.event",
    ),
    credentials=(
        Credential(name="consumer_key", label="REST API consumer key (ck_…)"),
        Credential(name="consumer_secret", label="REST API consumer secret (cs_…)"),
    ),
    api=Api(
        base_url="https://store.invalid",
        credentials=("consumer_key", "consumer_secret"),
        authorize=authorize,
        per_minute=120,  # a limit of ours: the store has none, and its host may
        burst=10,
        webhooks=woocommerce_hooks.webhooks(_store),
        probe=probe,
    ),
    polls=(
        Poll(
            name="orders",
            start=start_poll,
            read=read_poll,
            inbound=polled,
            since=lambda at: {"since": at.isoformat()},
        ),
    ),
)
