"""Appmax: one JSON event a request, in the content model that the merchant picked for the webhook;
nothing is signed, so that the order can be read back from the API.

https://lp.appmax.com.br/pt-br/central-de-conhecimento/como-configurar-apphooks
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from drivers.appmax_data import checkout_data, order_data, standard, subscription_data
from drivers.base import Credential, Driver, fact, raw_event
from drivers.body import parse_body
from drivers.describe import Api, Fetch
from drivers.read import dig, first, money, need, record, text
from drivers.verify import Query, Token
from schemas import codec
from schemas.errors import MalformedError, UnparsableError
from schemas.events import Event
from schemas.order import PaymentMethod
from schemas.request import Grant, Inbound, Reply, Verified

# In lower case without underscores: today's names are OrderPaid, those of old accounts order_paid.
# https://github.com/appmaxbrasil/appstore-backend-example/blob/main/docs/appmax/webhooks.md
ORDER = {
    "orderauthorized": "order.pending",  # the antifraud is still at work
    "orderauthorizedwithdelay": "order.pending",
    "paymentauthorizedwithdelay": "order.pending",
    "orderbilletcreated": "order.pending",
    "orderpixcreated": "order.pending",
    "pixgenerated": "order.pending",
    "orderapproved": "order.paid",
    "orderpaid": "order.paid",
    "orderpaidbypix": "order.paid",
    "orderupsold": "order.paid",
    "orderintegrated": "order.paid",  # restated: it is paid, and may be shipped
    "splitorders": "order.paid",
    "orderbilletoverdue": "order.expired",
    "orderpixexpired": "order.expired",
    "pixexpired": "order.expired",
    "paymentnotauthorized": "order.failed",
    "paymentnotauthorizedwithdelay": "order.failed",
    "orderrefund": "order.refunded",
    "orderpartialrefund": "order.partially_refunded",
    "orderchargebackintreatment": "order.chargeback",
}
SUBSCRIPTION = {
    "createdsubscription": "subscription.created",
    "chargesuccess": "subscription.renewed",
    "subscriptionchargesuccess": "subscription.renewed",
    "chargefailed": "subscription.past_due",
    "subscriptiondelayedevent": "subscription.past_due",
    "subscriptiondelayed": "subscription.past_due",
    "canceledsubscription": "subscription.canceled",
    "subscriptioncancellationevent": "subscription.canceled",
    "subscriptioncancelation": "subscription.canceled",
}
ABANDONED = "customerinterested"
IGNORED = {"customercreated", "customercontacted", "orderpendingintegration", "orderchargebackgain"}
UPSELL = "orderupsold"
# Where the event says how it is paid, though the delivery may hold an id only.
METHODS: Mapping[str, PaymentMethod] = {
    "orderauthorized": "credit_card",
    "orderauthorizedwithdelay": "credit_card",
    "paymentauthorizedwithdelay": "credit_card",
    "orderbilletcreated": "boleto",
    "orderbilletoverdue": "boleto",
    "orderpixcreated": "pix",
    "orderpixexpired": "pix",
    "orderpaidbypix": "pix",
    "pixgenerated": "pix",
    "pixexpired": "pix",
}
STATUSES = set(
    "pendente autorizado aprovado integrado pendente_integracao pendente_integracao_em_analise "
    "cancelado estornado recusado_por_risco chargeback_em_tratativa chargeback_em_disputa "
    "chargeback_perdido chargeback_vencido".split()
)
UNPAID = {"pendente", "cancelado", "recusado_por_risco"}
API = "https://admin.appmax.com.br/api/v3"


def parse(inbound: Inbound) -> Any:
    """The body; `data` may be JSON inside a text."""
    body = parse_body(inbound)
    inner = body.get("data") if isinstance(body, dict) else None
    if not isinstance(inner, str) or not inner.strip():
        return body
    return {**body, "data": codec.loads(inner.encode("utf-8", "surrogatepass"))}


def normalize(v: Verified) -> Sequence[Event]:
    """The event of one delivery, by its name; states inside test deliveries contradict it."""
    kind, word = _kind(v.payload), need(v.payload, "event").partition("|")[0].strip()
    if kind in IGNORED:
        return []
    data = standard(record(v.payload))
    if kind in ORDER:
        return [_order(v, kind, word, data)]
    if kind in SUBSCRIPTION:
        return [_subscription(v, kind, word, data)]
    if kind == ABANDONED:
        return [_abandoned(word, data)]
    key = text(first(data.get("id"), data.get("customer_id")))
    return [raw_event(v, provider_event=word, key=key, drift=(f"unknown_event:{word}",))]


def _kind(payload: Any) -> str:
    """The event's name without what differs between its spellings, and without a reason."""
    return need(payload, "event").partition("|")[0].strip().lower().replace("_", "")


def _reason(payload: Any) -> str | None:
    """What follows the name of a failure: `PaymentNotAuthorized | Reason: …`."""
    told = need(payload, "event").partition("|")[2].strip()
    return told.removeprefix("Reason:").strip() or None


def _order(v: Verified, kind: str, word: str, data: dict[str, Any]) -> Event:
    name, ident = ORDER[kind], need({"data": data}, "data", "id")
    if "order" in v.enrichment:
        found = record(dig(v.enrichment, "order", "data"))
        _confirm(name, found)
        data = {**data, **{k: x for k, x in found.items() if x is not None}}
    content = order_data(data, name, method=METHODS.get(kind), reason=_reason(v.payload))
    order, status = content["order"], text(data.get("status"))
    if kind == UPSELL:
        content["extra"]["upsell"] = True
    # OrderPaid comes at the authorization and again at the approval, which alone has a time.
    facts: dict[str, tuple[Any, ...]] = {
        "order.pending": (content["payments"][0].method if content["payments"] else None,),
        "order.refunded": (order.refunded or order.refunded_at,),
        "order.partially_refunded": (order.refunded or order.refunded_at,),
        "order.paid": ("upsell", order.total) if kind == UPSELL else (),
    }
    times = {
        "order.pending": order.created_at,
        "order.paid": order.paid_at,
        "order.refunded": order.refunded_at,
        "order.partially_refunded": order.refunded_at,
    }
    return Event(
        name=name,
        key=ident,
        dedupe_key=fact(ident, *facts.get(name, ())),
        provider_event=word,
        occurred_at=times.get(name),
        data=content,
        drift=() if status is None or status in STATUSES else (f"unknown_status:{status}",),
    )


def _confirm(name: str, found: dict[str, Any]) -> None:
    """Money is believed when the API says so, too. Raises MalformedError when it says otherwise."""
    status, back = text(found.get("status")), money(found.get("total_refunded"), "BRL")
    is_doubtful = {
        "order.paid": status is None or status in UNPAID,
        "order.refunded": status != "estornado" and not back,
        "order.partially_refunded": status != "estornado" and not back,
    }
    if is_doubtful.get(name):
        raise MalformedError(f"unconfirmed:{name}")


def _subscription(v: Verified, kind: str, word: str, data: dict[str, Any]) -> Event:
    name, content = SUBSCRIPTION[kind], subscription_data(data, SUBSCRIPTION[kind])
    plan, order, buyer = content["subscription"], content["order"], content["customer"]
    buyer_id = buyer.id if buyer else None
    ident = plan.id or buyer_id or (order.id if order else None)
    if ident is None:
        raise MalformedError("missing:data.subscription.id")
    times = {
        "subscription.created": plan.period_start,
        "subscription.renewed": order.paid_at if order else None,
        "subscription.canceled": plan.canceled_at,
    }
    charge = (order.id, order.paid_at) if order else ()
    # A charge may come without anything of its own: then one a day is told.
    repeated = charge if any(charge) else (v.received_at.date(),)
    facts = repeated if name in {"subscription.renewed", "subscription.past_due"} else ()
    return Event(
        name=name,
        key=(order.id if order else None) or ident,
        dedupe_key=fact(ident, *facts),
        provider_event=word,
        occurred_at=times.get(name),
        data=content,
    )


def _abandoned(word: str, data: dict[str, Any]) -> Event:
    """A customer who signed up an hour ago and ordered nothing."""
    ident = need({"data": data}, "data", "customer_id")
    content = checkout_data(data)
    return Event(
        name="checkout.abandoned",
        key=ident,
        dedupe_key=fact(ident, content["checkout"].url),
        provider_event=word,
        data=content,
    )


def _needs(v: Verified) -> tuple[Fetch, ...]:
    """The order itself: nobody signed what was sent, and old models hold its id only."""
    data = standard(record(v.payload))
    ident = text(data.get("id"))
    if "order" in v.enrichment or ident is None or _kind(v.payload) not in ORDER:
        return ()
    return (Fetch(name="order", url=f"{API}/order/{quote(ident, safe='')}"),)


def handshake(inbound: Inbound, _grant: Grant) -> Reply | None:
    """The health check when an app is installed wants a UUID, the same at every call.

    https://github.com/appmaxbrasil/appstore-backend-example/blob/main/docs/integration/guide.md
    """
    if b'"external_key"' not in inbound.body:
        return None
    try:
        body = record(parse_body(inbound))
    except UnparsableError:
        return None
    if "event" in body or not text(body.get("app_id")) or not text(body.get("external_key")):
        return None
    told = f"{text(body.get('app_id'))}:{text(body.get('external_key'))}"
    raw = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()
    ident = f"{raw[:8]}-{raw[8:12]}-8{raw[13:16]}-8{raw[17:20]}-{raw[20:32]}"
    return Reply(200, codec.dumps({"external_id": ident}), "application/json")


DRIVER = Driver(
    slug="appmax",
    id="01ke7rhnt6fhb6tsbbhcdpepax",
    name="Appmax",
    description={
        "pt": "Pedidos, Pix, boletos, cartões recusados, reembolsos, chargebacks, assinaturas e "
        "carrinhos abandonados da Appmax, em qualquer modelo de conteúdo dos Apphooks.",
        "en": "Orders, Pix, boletos, refused cards, refunds, chargebacks, subscriptions and "
        "abandoned carts of Appmax, in every content model of its Apphooks.",
    },
    docs_url="https://lp.appmax.com.br/pt-br/central-de-conhecimento/como-configurar-apphooks",
    scheme=Token(at=(Query("token"),), required=False),
    parse=parse,
    normalize=normalize,
    delivery_key=lambda _v: None,
    handshake=handshake,
    supported_events=(
        "order.pending",
        "order.paid",
        "order.failed",
        "order.expired",
        "order.refunded",
        "order.partially_refunded",
        "order.chargeback",
        "checkout.abandoned",
        "subscription.created",
        "subscription.renewed",
        "subscription.past_due",
        "subscription.canceled",
        "provider.event",
    ),
    credentials=(Credential(name="access_token", label="API token (access-token)"),),
    api=Api(
        base_url=API,
        credentials=("access_token",),
        authorize=lambda _credentials: {"Accept": "application/json"},
        query=lambda c: {"access-token": c["access_token"]},
        needs=_needs,
    ),
)
