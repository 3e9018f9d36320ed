"""Irroba: orders in OpenCart's words, pushed whole or as a bare id and status, and lists to be
polled; nothing is signed, so that the API is asked to confirm whatever is pushed.

https://www.irroba.com.br/dev/docs.html (the API; no page describes its notifications).
Every store has order statuses of its own: `settings.status_map` gives their meaning by id.
`settings.abandoned_max_age_hours` leaves out carts older than that: the first poll of the list
brings every cart that was ever abandoned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from drivers.base import Credential, Driver, fact
from drivers.describe import Api, Fetch, Page, Poll, Token
from drivers.irroba_data import cart_data, order_data
from drivers.people import plain
from drivers.read import (
    BRAZIL,
    dig,
    first,
    flag,
    instant,
    latest,
    need,
    number,
    record,
    records,
    text,
)
from drivers.verify import UrlOnly
from schemas import codec
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.request import Inbound, Verified

API = "https://api.irroba.com.br/v1"
# OpenCart's own statuses: a guess, for stores that have mapped none.
STATUS = {
    "1": "order.pending",
    "2": "order.paid",
    "3": "order.shipped",
    "5": "order.delivered",
    "7": "order.canceled",
    "8": "order.failed",
    "10": "order.failed",
    "11": "order.refunded",
    "12": "order.refunded",
    "13": "order.chargeback",
    "14": "order.expired",
    "15": "order.paid",
    "16": "order.canceled",
}
# Words of a status' name, without accents. What is denied says nothing about what is.
WORDS = (
    (r"\bnao (foi )?(aprovad|autorizad)|recusad|negad", "order.failed"),
    (r"\bnao\b", None),
    (r"chargeback|contestad", "order.chargeback"),
    (r"estornad|reembolsad|devolvid", "order.refunded"),
    (r"cancelad", "order.canceled"),
    (r"expirad|vencid", "order.expired"),
    (r"entregue", "order.delivered"),
    (r"enviad|despachad", "order.shipped"),
    (r"faturad", "order.invoiced"),
    (r"aprovad|\bpago\b", "order.paid"),
    (r"aguardando(?! (envio|retirada|coleta|despacho))|pendente", "order.pending"),
)
NAMES = tuple(
    "order.pending order.paid order.failed order.canceled order.expired order.refunded "
    "order.chargeback order.invoiced order.shipped order.delivered".split()
)
TOKEN_LIFE = timedelta(minutes=30)
LATE_CARTS = timedelta(days=2)  # that a cart may be listed after it was left


def normalize(v: Verified) -> Sequence[Event]:
    """The event of each order, by its status; or of an abandoned cart that a list told of."""
    if "abandoned_cart_id" in record(v.payload):
        return _abandoned(v, v.payload)
    return [event for pushed in _orders(v.payload) for event in _order(v, pushed)]


def _orders(payload: Any) -> list[dict[str, Any]]:
    """The orders of a push: bare, or wrapped as the API wraps its answers."""
    if "order_id" in record(payload):
        return [payload]
    found = _rows(payload) or records(payload)
    if not found:
        raise MalformedError("missing:order_id")
    return found


def refusal(answer: Any) -> str | None:
    """Why the API refused, which it also does with a 200."""
    body = record(answer)
    if flag(body.get("success")) is not False:
        return None
    return f"Irroba refused: {text(body.get('error')) or 'no reason given'}"


def _rows(answer: Any) -> list[dict[str, Any]]:
    """What the API's envelope holds; `data` is an object, or a list that may have one element.

    Raises ValueError for a refusal, which comes as a 200, too.
    """
    refused = refusal(answer)
    if refused is not None:
        raise ValueError(refused)
    data = record(answer).get("data")
    return records(data) or ([data] if isinstance(data, dict) and data else [])


def _order(v: Verified, pushed: dict[str, Any]) -> list[Event]:
    ident = need(pushed, "order_id")
    known = next(iter(_rows(v.enrichment.get(f"order:{ident}"))), {})
    order = {**pushed, **known}
    name, changed = _name(v, order), instant(order.get("date_modified"))
    if name is None:
        return []
    # A parcel's code may be told later than that it left.
    parcel = text(order.get("code_tracking")) if name == "order.shipped" else None
    return [
        Event(
            name=name,
            key=ident,
            dedupe_key=fact(ident, parcel),
            provider_event=text(first(order.get("order_status"), order.get("order_status_id")))
            or "order",
            occurred_at=changed,
            data=order_data(order, name),
        )
    ]


def _name(v: Verified, order: dict[str, Any]) -> str | None:
    """What a status means: by the store's map, else by its name, else as OpenCart ships it."""
    code, own = text(order.get("order_status_id")) or "", record(v.settings.get("status_map"))
    if code in own:
        mapped = text(own[code])
        return mapped if mapped in NAMES else None
    words = plain(text(order.get("order_status")) or "")
    found = next((name for pattern, name in WORDS if re.search(pattern, words)), None)
    return found or (None if own else STATUS.get(code))


def _abandoned(v: Verified, cart: dict[str, Any]) -> list[Event]:
    ident, added = need(cart, "abandoned_cart_id"), instant(cart.get("date_added"))
    hours = number(v.settings.get("abandoned_max_age_hours"))
    if hours is not None and added and v.received_at - added > timedelta(hours=float(hours)):
        return []
    return [
        Event(
            name="checkout.abandoned",
            key=ident,
            dedupe_key=fact(ident),
            provider_event="abandoned_cart",
            occurred_at=added,
            data=cart_data(cart),
        )
    ]


def delivery_key(v: Verified) -> str | None:
    """An order's state at a time; a push without that time has no name of its own."""
    names = ("order_id", "order_status_id", "date_modified")
    parts = [text(dig(v.payload, name)) for name in names]
    return ":".join(map(str, parts)) if all(parts) else None


def _needs(v: Verified) -> tuple[Fetch, ...]:
    """Each pushed order as the API has it; a polled one only where its row is bare."""
    if "abandoned_cart_id" in record(v.payload):
        return ()
    is_polled = v.inbound.method == "GET"
    idents = [
        need(order, "order_id")
        for order in _orders(v.payload)
        if not (is_polled and "order_product" in order)
    ]
    return tuple(
        Fetch(name=f"order:{ident}", url=f"{API}/order/{quote(ident, safe='')}")
        for ident in idents
        if f"order:{ident}" not in v.enrichment
    )


def login(credentials: Mapping[str, str]) -> Fetch:
    """The token of a store's API user."""
    pair = {name: credentials[name] for name in ("username", "password")}
    headers = {"Content-Type": "application/json"}
    url = f"{API}/getToken"
    return Fetch(name="token", url=url, method="POST", headers=headers, body=codec.dumps(pair))


def read_token(answer: Any, now: datetime) -> Token:
    """A token lasts half an hour at most, whatever its `date_expire` says in whatever zone.

    Raises KeyError or ValueError when there is none.
    """
    granted = next(iter(_rows(answer)), {})
    told = instant(granted.get("date_expire"))
    latest = now + TOKEN_LIFE
    return Token(
        access_token=str(granted["authorization"]),
        expires_at=told if told and now < told < latest else latest,
    )


def _added(days: int) -> Any:
    """Asks for the orders added since so many days ago: there is no list of changes."""

    def start(_cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
        today = now.astimezone(ZoneInfo(BRAZIL)).date()
        since = today - timedelta(days=days)
        return Fetch(name="orders", url=f"{API}/order/added/{since}/{today}")

    return start


def _carts(_cursor: Mapping[str, Any], _now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    return Fetch(name="abandoned_carts", url=f"{API}/customer/abandoned_cart")


def _read(answer: Any, cursor: Mapping[str, Any]) -> Page:
    return Page(items=tuple(_rows(answer)), cursor=cursor)


def _read_carts(answer: Any, cursor: Mapping[str, Any]) -> Page:
    """The list holds every cart there ever was: those of days before the newest known are no news,
    however long ago they were told.
    """
    carts, known = _rows(answer), instant(cursor.get("added"))
    added = [instant(cart.get("date_added")) for cart in carts]
    items = [
        cart
        for cart, at in zip(carts, added, strict=True)
        if known is None or at is None or at > known - LATE_CARTS
    ]
    newest = latest(known, *added)
    return Page(items=tuple(items), cursor={"added": newest.isoformat()} if newest else {})


def _polled(row: Any, now: datetime) -> Inbound:
    return Inbound("GET", {"content-type": ("application/json",)}, {}, codec.dumps(row), now)


DRIVER = Driver(
    slug="irroba",
    id="01ke7rhnt6fhb6tsbbhcdpeprr",
    name="Irroba",
    description={
        "pt": "Pedidos, pagamentos, envios, entregas e carrinhos abandonados da sua loja Irroba. "
        "Informe em status_map o que significa cada status da loja.",
        "en": "Orders, payments, shipments, deliveries and abandoned carts of your Irroba store. "
        "Say in status_map what each of the store's statuses means.",
    },
    docs_url="https://www.irroba.com.br/dev/docs.html",
    scheme=UrlOnly(),
    normalize=normalize,
    delivery_key=delivery_key,
    supported_events=(*NAMES, "checkout.abandoned"),
    credentials=(
        Credential(name="username", label="API user (APS → Usuários → Usuário API)", secret=False),
        Credential(name="password", label="API password"),
    ),
    api=Api(
        base_url=API,
        credentials=("username", "password"),
        # The bare token: this API knows no "Bearer".
        authorize=lambda c: {
            "Authorization": c["access_token"],
            "Content-Type": "application/json",
        },
        needs=_needs,
        login=login,
        token=read_token,
        refusal=refusal,
        per_minute=30,
        probe=lambda _settings: Fetch(name="status", url=f"{API}/status"),
    ),
    polls=(
        Poll(name="orders", start=_added(1), read=_read, inbound=_polled),
        # Orders that are still under way.
        Poll(
            name="open_orders",
            start=_added(30),
            read=_read,
            inbound=_polled,
            interval_minutes=60,
        ),
        Poll(name="abandoned_carts", start=_carts, read=_read_carts, inbound=_polled),
    ),
)
