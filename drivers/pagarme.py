"""Pagar.me: JSON events of the core API (v5), signed by its Hub or sent with Basic credentials, and
the form-encoded postbacks of versions 1 to 4, signed with the API key.

https://docs.pagar.me/reference/visão-geral-sobre-webhooks
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from drivers.base import Credential, Driver, fact, raw_event
from drivers.describe import Api, Fetch, Page, Poll, link_query
from drivers.jwks import Rs256
from drivers.pagarme_data import STATUS, Sale, refunded, sale_data, subscription
from drivers.pagarme_v4 import postback
from drivers.read import cents, dig, first, flag, instant, latest, need, record, records, text
from drivers.verify import Basic, Choice, Claim, Header, Hmac, Refuse, UrlOnly, has_header
from schemas import codec
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.order import Checkout, OrderStatus
from schemas.request import Grant, Inbound, Verified

# https://docs.pagar.me/docs/lista-de-events and https://docs.pagar.me/reference/eventos-de-webhook-1
ORDER = {
    "order.created": "order.created",
    "order.paid": "order.paid",
    "order.payment_failed": "order.failed",
    "order.canceled": "order.canceled",
}
CHARGE = {
    "charge.created": "order.pending",
    "charge.pending": "order.pending",
    "charge.processing": "order.pending",
    "charge.paid": "order.paid",
    "charge.underpaid": "order.paid",  # a boleto paid with another amount
    "charge.overpaid": "order.paid",
    "charge.payment_failed": "order.failed",
    "charge.refunded": "order.refunded",
    "charge.partial_canceled": "order.partially_refunded",
    "charge.chargedback": "order.chargeback",
    "charge.antifraud_reproved": "order.canceled",
    "chargeback.received": "order.chargeback",
}
SUBSCRIPTION = {
    "subscription.created": "subscription.created",
    "subscription.canceled": "subscription.canceled",
    "invoice.paid": "subscription.renewed",
    "invoice.payment_failed": "subscription.past_due",
}
CHECKOUT = {"checkout.canceled", "checkout.closed"}
# What an order in a polled list tells by its status.
POLLED = {"paid": "order.paid", "failed": "order.payment_failed", "canceled": "order.canceled"}
# Nothing that an order's follower must know.
IGNORED = set(
    "order.closed order.updated charge.updated charge.antifraud_approved charge.antifraud_manual "
    "charge.antifraud_pending subscription.updated invoice.created invoice.canceled "
    "checkout.created".split()
)
IGNORED_FAMILIES = set(
    "order_item payment-link customer card address plan recipient transfer bank_account usage "
    "discount increment".split()
)
STATUS_OF: Mapping[str, OrderStatus] = {
    "order.created": "created",
    "order.pending": "pending",
    "order.paid": "paid",
    "order.failed": "failed",
    "order.canceled": "canceled",
    "order.refunded": "refunded",
    "order.partially_refunded": "partially_refunded",
    "order.chargeback": "chargeback",
}
KEY_SET = "https://hubapi.pagar.me/.well-known/jwks.json"
API = "https://api.pagar.me/core/v5"
UNPAID = timedelta(days=4)  # that a boleto may be, and be paid after all


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one notification, of either generation."""
    body = record(v.payload)
    if "type" not in body and ("current_status" in body or "transaction" in body):
        return postback(v, body)
    kind, data = need(body, "type"), record(body.get("data"))
    if kind in IGNORED or kind.partition(".")[0] in IGNORED_FAMILIES:
        return []
    if kind in ORDER or kind in CHARGE:
        return _sale_event(body, _sale(v, kind, data), kind)
    if kind in SUBSCRIPTION:
        return [_subscription_event(body, data, kind)]
    if kind in CHECKOUT:
        return _expired(body, data)
    key = text(first(dig(data, "order", "id"), data.get("id")))
    return [raw_event(v, provider_event=kind, key=key, drift=(f"unknown_event:{kind}",))]


def _sale(v: Verified, kind: str, data: dict[str, Any]) -> Sale:
    """The sale: an order with its charges, or a charge with a little of its order inside.

    A chargeback is an object around its charge. A charge of a subscription has no order, and stands
    for one. An order read back from the API is believed before the one that was sent.
    """
    confirmed = record(v.enrichment.get("order"))
    if confirmed and (ORDER | CHARGE)[kind] == "order.paid":
        charges = records(confirmed.get("charges"))
        if confirmed.get("status") != "paid" and not any(c.get("paid_at") for c in charges):
            raise MalformedError("unconfirmed:order.paid")
    if kind in ORDER:
        order = confirmed or data
        return Sale(order, records(order.get("charges")), text(order.get("status")))
    charge = record(data.get("charge")) or data
    order = confirmed or record(first(charge.get("order"), data.get("order")))
    if not order and (charge is not data or kind != "chargeback.received"):
        order = {"id": charge.get("id")}
    same = [c for c in records(confirmed.get("charges")) if c.get("id") == charge.get("id")]
    return Sale(order, same or [charge], text((same or [charge])[0].get("status")))


def _name(kind: str, sale: Sale) -> str | None:
    """What became of the order; None where the fate of one charge is not the order's."""
    name, status = ORDER.get(kind) or CHARGE[kind], sale.order.get("status")
    if kind == "order.created":
        waits = any(
            c.get("payment_method") in {"boleto", "pix"} and c.get("status") == "pending"
            for c in sale.charges
        )
        return "order.pending" if waits else name
    if kind == "charge.payment_failed" and status not in {"failed", "canceled"}:
        # Only the last charge fails the order: a closed one takes no further charge.
        goes_on = status == "paid" or not sale.is_whole or sale.order.get("closed") is False
        return None if goes_on else name
    if kind in CHARGE and not sale.is_whole:
        if name == "order.paid" and status != "paid":
            return "order.updated"
        return "order.partially_refunded" if name == "order.refunded" else name
    return name


def _sale_event(body: dict[str, Any], sale: Sale, kind: str) -> list[Event]:
    name = _name(kind, sale)
    if name is None:
        return []
    status = STATUS_OF.get(name) or STATUS.get(str(sale.order.get("status")))
    known, facts, at = _known(body, sale, name)
    data = sale_data(sale, status, **known)
    if kind in {"charge.underpaid", "charge.overpaid"}:
        data["extra"]["amount_differs"] = kind.removeprefix("charge.")
    word = sale.raw_status
    drift = () if word is None or word in STATUS else (f"unknown_status:{word}",)
    ident = need({"data": sale.order}, "data", "id")
    told = {"name": name, "key": ident, "occurred_at": at, "data": data, "drift": drift}
    return [_event(body, (ident, *facts), **told)]


def _known(
    body: dict[str, Any], sale: Sale, name: str
) -> tuple[dict[str, Any], tuple[Any, ...], datetime | None]:
    """Further fields of the order, what beside its id names the fact, and the time of it."""
    charge, at = sale.last, instant(body.get("created_at"), "UTC")
    last, ended = record(charge.get("last_transaction")), instant(charge.get("canceled_at"), "UTC")
    ident = text(charge.get("id"))
    if name in {"order.refunded", "order.partially_refunded"}:
        back = first(
            refunded(sale), cents(charge.get("amount")) if "partially" not in name else None
        )
        return {"refunded": back, "refunded_at": ended or at}, (ident, back), ended or at
    if name == "order.canceled":
        return {"canceled_at": ended or at}, (), ended or at
    if name == "order.failed":
        why = first(
            last.get("acquirer_message"), dig(last, "gateway_response", "errors", 0, "message")
        )
        return {"cancel_reason": text(why)}, (ident,), at
    if name == "order.paid":
        return {}, (), latest(*(instant(c.get("paid_at"), "UTC") for c in sale.charges)) or at
    return {}, (ident,) if name in {"order.pending", "order.updated"} else (), at


def _subscription_event(body: dict[str, Any], data: dict[str, Any], kind: str) -> Event:
    """An invoice is one cycle; its charge, where it shows one, is what the buyer paid."""
    is_invoice, charge = kind.startswith("invoice."), record(data.get("charge"))
    told = record(data.get("subscription")) if is_invoice else data
    told = {"id": data.get("subscriptionId"), **told} if is_invoice else told
    plan = subscription(told, data.get("cycle"))
    if plan is None:
        raise MalformedError("missing:data.subscription.id")
    at = instant(body.get("created_at"), "UTC")
    if kind == "subscription.canceled":
        plan.canceled_at = plan.canceled_at or at
    order = {**data, "id": first(dig(charge, "order", "id"), charge.get("id")), "code": None}
    sale = Sale(order, [charge] if charge else [], text(data.get("status")))
    status = STATUS.get(sale.raw_status or "") if is_invoice else None
    facts = (plan.id, data.get("id"), charge.get("id")) if is_invoice else (plan.id,)
    content = sale_data(sale, status)
    content["subscription"] = plan
    key = text(order["id"]) or str(plan.id)
    return _event(body, facts, name=SUBSCRIPTION[kind], key=key, occurred_at=at, data=content)


def _expired(body: dict[str, Any], data: dict[str, Any]) -> list[Event]:
    """A checkout that ends unpaid expires its order; one without an order concerns nobody."""
    order = record(data.get("order"))
    ident = text(first(order.get("id"), data.get("order_id")))
    charges = records(first(order.get("charges"), data.get("charges")))
    words = {o.get("status") for o in (data, order, *charges)}
    if ident is None or "paid" in words:
        return []
    sale = Sale({**data, **order, "id": ident}, charges, text(data.get("status")))
    content = sale_data(sale, "expired")
    content["checkout"] = Checkout(id=text(data.get("id")), url=text(data.get("payment_url")))
    at = instant(body.get("created_at"), "UTC")
    return [_event(body, (ident,), name="order.expired", key=ident, occurred_at=at, data=content)]


def _event(body: dict[str, Any], facts: tuple[Any, ...], **fields: Any) -> Event:
    return Event(
        dedupe_key=fact(*facts),
        provider_event=need(body, "type"),
        provider_event_id=text(body.get("id")),
        **fields,
    )


def _hub_signature(claim: Claim) -> tuple[str, str] | None:
    """Key id and signature of `alg=RS256; kid=…; signature=…`."""
    value = claim.inbound.header("x-webhook-asymmetric-signature") or ""
    parts = dict(p.strip().partition("=")[::2] for p in value.split(";"))
    if parts.get("alg") != "RS256" or not parts.get("kid") or not parts.get("signature"):
        return None
    return parts["kid"], parts["signature"]


def _has_secret(_claim: Claim, grant: Grant) -> bool:
    return any(grant.secrets)


def _is_postback(claim: Claim, grant: Grant) -> bool:
    return "x-hub-signature" in claim.inbound.headers and any(grant.secrets)


def _may_be_unsigned(_claim: Claim, grant: Grant) -> bool:
    return flag(grant.settings.get("unsigned")) is True


def _is_sha256(claim: Claim, _grant: Grant) -> bool:
    return (claim.inbound.header("x-hub-signature") or "").startswith("sha256=")


# https://docs.pagar.me/v1/reference/validando-um-postback
POSTBACK = Choice(
    options=((_is_sha256, Hmac(at=(Header("x-hub-signature"),), prefix="sha256=")),),
    otherwise=Hmac(at=(Header("x-hub-signature"),), prefix="sha1=", digest="sha1"),
)
SCHEME = Choice(
    options=(
        (has_header("x-webhook-asymmetric-signature"), Rs256(KEY_SET, _hub_signature)),
        (_is_postback, POSTBACK),
        (_has_secret, Basic()),
        (_may_be_unsigned, UrlOnly()),
    ),
    otherwise=Refuse(),
)


def _needs(v: Verified) -> tuple[Fetch, ...]:
    """What nobody signed is read back from the API."""
    kind, data = text(dig(v.payload, "type")), dig(v.payload, "data")
    if flag(v.settings.get("unsigned")) is not True or "order" in v.enrichment:
        return ()
    if kind in ORDER:
        ident = text(dig(data, "id"))
    elif kind in CHARGE:
        ident = text(first(dig(data, "order", "id"), dig(data, "charge", "order", "id")))
    else:
        ident = None
    return (Fetch(name="order", url=f"{API}/orders/{quote(ident, safe='')}"),) if ident else ()


def _authorize(credentials: Mapping[str, str]) -> Mapping[str, str]:
    pair = b64encode(f"{credentials['secret_key']}:".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def start_poll(cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """Orders that may have been paid since the last sweep: there is no list of changes, and a
    boleto takes days. At first those of the last day: history is no news.

    https://docs.pagar.me/reference/listar-pedidos-1
    """
    known = instant(cursor.get("since"))
    since = instant(cursor.get("from")) or (known - UNPAID if known else now - timedelta(days=1))
    query = urlencode({"created_since": since.strftime("%Y-%m-%dT%H:%M:%SZ"), "size": 30})
    kept = {"since": (known or now).isoformat()}
    return Fetch(name="orders", url=f"{API}/orders?{query}", cursor=kept)


def read_poll(answer: Any, cursor: Mapping[str, Any]) -> Page:
    """One page of orders, newest or oldest first."""
    orders = records(dig(answer, "data"))
    times = (instant(o.get("created_at"), "UTC") for o in orders)
    known = latest(instant(cursor.get("since")), *times)
    return Page(
        items=tuple(orders),
        cursor={"since": known.isoformat()} if known else {},
        more=link_query(dig(answer, "paging", "next")),
    )


def polled(order: Any, now: datetime) -> Inbound:
    """An order of a list as the notification of its state."""
    body = {
        "type": POLLED.get(order.get("status"), "order.created"),
        "created_at": order.get("updated_at"),
        "data": order,
    }
    return Inbound("POST", {}, {}, codec.dumps(body), now)


def delivery_key(v: Verified) -> str | None:
    """The notification's id; postbacks have none."""
    return text(dig(v.payload, "id")) if "type" in record(v.payload) else None


DRIVER = Driver(
    slug="pagarme",
    id="01ke7rhnt6fhb6tsbbhcdpepgm",
    name="Pagar.me",
    description={
        "pt": "Pedidos, cobranças no cartão, boleto e Pix, reembolsos, chargebacks e assinaturas "
        "da Pagar.me, da API v5 e dos postbacks antigos.",
        "en": "Orders, card, boleto and Pix charges, refunds, chargebacks and subscriptions of "
        "Pagar.me, from API v5 and from its older postbacks.",
    },
    docs_url="https://docs.pagar.me/reference/visão-geral-sobre-webhooks",
    scheme=SCHEME,
    normalize=normalize,
    delivery_key=delivery_key,
    key_set_url=KEY_SET,
    supported_events=tuple(
        "order.created order.pending order.paid order.failed order.canceled order.expired "
        "order.refunded order.partially_refunded order.chargeback order.updated "
        "subscription.created subscription.renewed subscription.past_due subscription.canceled "
        "subscription.updated provider.event".split()
    ),
    credentials=(Credential(name="secret_key", label="Secret key (sk_…)"),),
    api=Api(
        base_url="https://api.pagar.me",
        credentials=("secret_key",),
        authorize=_authorize,
        needs=_needs,
        probe=lambda _: Fetch(name="orders", url=f"{API}/orders?size=1"),
    ),
    polls=(
        Poll(
            name="orders",
            start=start_poll,
            read=read_poll,
            inbound=polled,
            interval_minutes=60,
            since=lambda at: {"from": at.isoformat()},
        ),
    ),
)
