"""Monetizze: postbacks as PHP forms that repeat all in a `json` field, proven by a static key.

https://github.com/Monetizze/ExemploPOSTCallback
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivers.base import Driver, fact, raw_event
from drivers.body import parse_body
from drivers.claim import Field
from drivers.monetizze_data import data_of, order_id
from drivers.people import plain
from drivers.read import dig, first, instant, integer, money, record, text
from drivers.verify import Token
from schemas import codec
from schemas.errors import MalformedError, UnparsableError
from schemas.events import Event
from schemas.order import Checkout, Order, OrderStatus, Shipment, Subscription
from schemas.request import Inbound, Verified

# `tipoEvento.codigo`: https://github.com/Monetizze/ExemploPOSTCallback
PENDING, PAID, CANCELED, REFUNDED, BLOCKED, COMPLETE = 1, 2, 3, 4, 5, 6
ABANDONED, HIDDEN, TRACKED = 7, 8, 120
# Filters of the postback's configuration, no events: the sale's own status tells.
FILTERS = {98, 99}
RECOVERED_INSTALMENTS = {105, 106}
SALE: Mapping[int, str] = {
    PENDING: "order.pending",
    PAID: "order.paid",
    CANCELED: "order.canceled",
    REFUNDED: "order.refunded",
    BLOCKED: "order.chargeback",
    COMPLETE: "order.updated",  # the guarantee is over: the order was paid long before
}
SUBSCRIPTION: Mapping[int, str] = {
    101: "subscription.renewed",
    102: "subscription.past_due",
    103: "subscription.canceled",
    104: "subscription.updated",
}
ORDER_STATUS: Mapping[int | None, OrderStatus] = {
    PENDING: "pending",
    PAID: "paid",
    CANCELED: "canceled",
    REFUNDED: "refunded",
    BLOCKED: "chargeback",
    COMPLETE: "paid",
}
# `venda.status`, where no code is told.
STATUS_WORDS = {
    "aguardando pagamento": PENDING,
    "finalizada": PAID,
    "cancelada": CANCELED,
    "devolvida": REFUNDED,
    "bloqueada": BLOCKED,
    "completa": COMPLETE,
    "abandono de checkout": ABANDONED,
}
# `rastreio.status`: https://github.com/Monetizze/ExemploPOSTCallback/blob/master/rastreio/exemplo.php
TRACKING: Mapping[int | None, tuple[str, str]] = {
    2: ("order.shipped", "shipped"),
    3: ("shipment.lost", "lost"),
    4: ("shipment.returned", "returned"),
    5: ("shipment.out_for_delivery", "out_for_delivery"),
    6: ("order.delivered", "delivered"),
    7: ("shipment.in_transit", "in_transit"),
    8: ("shipment.updated", "awaiting_pickup"),
}
PANEL_TEST = "X-Wing"  # the product of the panel's test button


def parse(inbound: Inbound) -> Any:
    """The payload: the tree of the `json` field, which keeps nulls and numbers, else the form's.

    Both carry the account's key; where they disagree neither counts.
    """
    form = parse_body(inbound)
    whole = form.pop("json", None) if isinstance(form, dict) else None
    if not isinstance(whole, str):
        return form
    try:
        tree = codec.loads(whole.encode())
    except UnparsableError:
        return form
    if not isinstance(tree, dict):
        return form
    agreed = tree.get("chave_unica") == form.get("chave_unica")
    return tree if agreed else {**tree, "chave_unica": None}


def normalize(v: Verified) -> Sequence[Event]:
    """The event of one postback, by its code."""
    body = record(v.payload)
    told = integer(first(dig(body, "tipoEvento", "codigo"), body.get("postback_evento")))
    code = _status(body) if told is None or told in FILTERS else told
    if code is None and order_id(body) is None and body.get("venda"):
        code = ABANDONED
    if code is None and told is None:
        raise MalformedError("missing:tipoEvento.codigo")
    word = str(code if told is None else told)
    if code == HIDDEN:
        return []
    if code == TRACKED:
        return [_tracked(body, word)]
    if code == ABANDONED or (code in {PENDING, CANCELED} and order_id(body) is None):
        return [_abandoned(body, word)]
    if code is not None and code in SUBSCRIPTION:
        return [_subscription(body, code, word)]
    if code is not None and code in SALE:
        return [_sale(body, code, word)]
    fault = f"unknown_event:{word}"
    if code is None:
        fault = f"unknown_status:{text(dig(body, 'venda', 'status'))}"
    drift = () if code in RECOVERED_INSTALMENTS else (fault,)
    return [raw_event(v, provider_event=word, key=order_id(body), drift=drift)]


def _status(body: dict[str, Any]) -> int | None:
    """The code of the sale's status."""
    sale = record(body.get("venda"))
    code = integer(first(sale.get("codigo_status"), body.get("codigo_status")))
    return STATUS_WORDS.get(plain(text(sale.get("status")) or "")) if code is None else code


def _is_test(body: dict[str, Any]) -> bool:
    return bool(dig(body, "produto", "nome") == PANEL_TEST)


def _sale(body: dict[str, Any], code: int, word: str) -> Event:
    ident = order_id(body)
    if ident is None:
        raise MalformedError("missing:venda.codigo")
    data = data_of(body, ORDER_STATUS[code])
    order = data["order"] or Order()
    times = {PENDING: order.created_at, PAID: order.paid_at}
    return Event(
        name=SALE[code],
        key=ident,
        dedupe_key=fact(ident, code) if code == COMPLETE else fact(ident),
        provider_event=word,
        occurred_at=times.get(code),
        data=data,
        test=_is_test(body),
    )


def _subscription(body: dict[str, Any], code: int, word: str) -> Event:
    data = data_of(body, ORDER_STATUS.get(_status(body)))
    order, plan = data["order"] or Order(), data["subscription"] or Subscription()
    whose = plan.id or order.id
    if whose is None:
        raise MalformedError("missing:assinatura.codigo")
    name, charge = SUBSCRIPTION[code], plan.cycle
    was_charged = name == "subscription.renewed"
    if was_charged and charge == 1:
        name = "subscription.created"
    return Event(
        name=name,
        key=order.id or whose,
        dedupe_key=fact(whose, order.id if charge is None else charge),
        provider_event=word,
        occurred_at=order.paid_at if was_charged else None,
        data=data,
        test=_is_test(body),
    )


def _abandoned(body: dict[str, Any], word: str) -> Event:
    """A checkout that was left: it has no number yet."""
    sale, data = record(body.get("venda")), data_of(body, None)
    buyer, at = data["customer"], instant(sale.get("dataInicio"))
    key = fact(
        buyer and (buyer.email or buyer.phone_raw),
        dig(body, "produto", "codigo"),
        dig(body, "plano", "codigo"),
    )
    data["checkout"] = Checkout(
        url=text(body.get("url_recuperacao")),
        currency="BRL",
        total=money(sale.get("valor"), "BRL"),
        abandoned_at=at,
        raw_status=text(sale.get("status")),
    )
    data["order"], data["payments"] = None, []
    return Event(
        name="checkout.abandoned",
        key=key,
        dedupe_key=fact(key, at),
        provider_event=word,
        occurred_at=at,
        data=data,
        test=_is_test(body),
    )


def _tracked(body: dict[str, Any], word: str) -> Event:
    """News of a parcel: the body has no `venda`."""
    told, ident = record(body.get("rastreio")), order_id(body)
    code, parcel = text(told.get("status")), text(told.get("codigo"))
    key = ident or parcel
    if code is None or key is None:
        raise MalformedError("missing:rastreio.status" if code is None else "missing:codigo_venda")
    name, status = TRACKING.get(integer(code), ("shipment.updated", None))
    data = data_of(body, ORDER_STATUS.get(_status(body)))
    order = data["order"] or Order()
    order.fulfillment_status, order.raw_status = status, text(told.get("descricao"))
    data["payments"] = []
    data["shipments"] = [
        Shipment(
            tracking_code=parcel, status=status, raw_status=text(told.get("descricao")) or code
        )
    ]
    return Event(
        name=name,
        key=key,
        dedupe_key=fact(ident, code, parcel),
        provider_event=word,
        data=data,
        drift=() if status else (f"unknown_status:{code}",),
        test=_is_test(body),
    )


DRIVER = Driver(
    slug="monetizze",
    id="01ke7rhnt6fhb6tsbbhcdpepmz",
    name="Monetizze",
    description={
        "pt": "Vendas, boletos, Pix, reembolsos, assinaturas, rastreios e checkouts da Monetizze.",
        "en": "Sales, boletos, Pix, refunds, subscriptions, parcels and checkouts of Monetizze.",
    },
    docs_url="https://github.com/Monetizze/ExemploPOSTCallback",
    scheme=Token(at=(Field("chave_unica"),)),
    parse=parse,
    normalize=normalize,
    delivery_key=lambda _v: None,  # postbacks carry no number of their own
    supported_events=(
        *dict.fromkeys(SALE.values()),
        *("subscription.created", *SUBSCRIPTION.values()),
        *("order.shipped", "order.delivered"),
        "shipment.in_transit",
        "shipment.out_for_delivery",
        "shipment.returned",
        "shipment.lost",
        "shipment.updated",
        "checkout.abandoned",
        "provider.event",
    ),
    secret_fields=("chave_unica", "chave"),
)
