"""Troquecommerce: one return (a `reversa`) a request, as a whole object; what happened to it is a
number in the header `event`, and nothing is signed: the merchant may add a header of their own.

https://ajuda.troquecommerce.com.br/pt/article/webhooks-troquecommerce-9o6xdb
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from drivers.base import Credential, Driver, fact
from drivers.describe import Api, Fetch, Page, Poll
from drivers.read import BRAZIL, dig, instant, integer, money, need, record, records, text
from drivers.troquecommerce_data import plain_label, return_data
from drivers.verify import Header, Token
from schemas import codec
from schemas.events import FAMILIES, Event
from schemas.request import Inbound, Verified

API = "https://www.troquecommerce.com.br/api/public"
STATUS_CHANGED = "14"
CODES = {
    "2": "return.requested",
    "3": "return.approved",
    "4": "return.canceled",
    "5": "return.updated",  # finished
    "6": "return.delivered",  # items received
    "7": "return.updated",  # a product edited
    "8": "return.updated",  # a product added
    "9": "return.updated",  # the return's invoice informed
    "10": "return.refunded",
    "11": "return.voucher_issued",
    "12": "return.updated",  # coupon unlinked
    "15": "return.updated",  # the customer's address
    "16": "return.updated",  # payment unlinked
    "17": "return.updated",  # reopened
    "18": "return.canceled",  # by the customer
    "19": "return.updated",  # refund failed
    "20": "return.updated",  # exchange order reserved
    "21": "return.exchange_approved",
    "22": "return.updated",  # exchange order canceled in the shop
    "23": "return.updated",  # coupon updated
    "25": "return.updated",  # refund value saved
    "26": "return.updated",  # exchange value saved
    "27": "return.updated",  # values removed
    "28": "return.updated",  # refund failed
    "29": "return.updated",  # failed refund closed
    "30": "return.updated",  # a product removed
    "32": "return.delivered",  # to the store
    "33": "return.in_transit",
}
# Labels of the panel, in lower case and without accents.
STATUS = {
    "em analise": "return.requested",
    "aguardando envio": "return.approved",
    "em transito": "return.in_transit",
    "aguardando recebimento": "return.in_transit",
    "entrega realizada": "return.delivered",
    "aguardando pagamento": "return.updated",
    "processando pagamento": "return.updated",
    "aguardando nfd": "return.updated",
    "falha pagamento": "return.updated",
    "problemas no envio": "return.updated",
    "finalizado": "return.updated",
    "cancelado": "return.canceled",
    "cancelada": "return.canceled",
    "recusado": "return.canceled",
    "recusada": "return.canceled",
}
OVERLAP = timedelta(minutes=10)


def normalize(v: Verified) -> Sequence[Event]:
    """What the header says happened; in a polled list, what its state and its values say."""
    body, code = _reverse(v), _code(v)
    ident = need(body, "id")
    label = plain_label(body.get("status"))
    named = STATUS.get(label, "return.updated")
    name = named if code in {"", STATUS_CHANGED} else CODES.get(code, "return.updated")
    names = [name, *_restated(body)] if _is_polled(v) else [name]
    drift = []
    if code not in {"", STATUS_CHANGED, *CODES}:
        drift.append(f"unknown_event:{code}")
    if label and label not in STATUS:
        drift.append(f"unknown_status:{label}")
    return [
        Event(
            name=what,
            key=text(body.get("ecommerce_number")) or ident,
            dedupe_key=fact(ident, *_facts(body, what, code)),
            provider_event=code or label or "reverse",
            occurred_at=_time(body, what),
            data=return_data(body, code, _state(what, label)),
            drift=tuple(drift),
        )
        for what in names
    ]


def _reverse(v: Verified) -> dict[str, Any]:
    """The return; what a delivery leaves out is completed by the API's detail."""
    body, detail = record(v.payload), record(v.enrichment.get("order"))
    return {**detail, **{k: x for k, x in body.items() if x is not None or k not in detail}}


def _code(v: Verified) -> str:
    return (v.header("event") or "").strip()


def _is_polled(v: Verified) -> bool:
    return v.inbound.method == "GET"


def _state(name: str, label: str) -> str | None:
    """Where the return stands after it: what happened, or what the label says, if either tells."""
    states = (n.removeprefix("return.") for n in (name, STATUS.get(label, "return.updated")))
    return next((s for s in states if s != "updated"), None)


def _restated(body: dict[str, Any]) -> list[str]:
    """What a list's row tells beside its state; told before, it is told once."""
    told = {
        "return.refunded": dig(body, "reverse_payment", "value"),
        "return.voucher_issued": dig(body, "coupon", "code"),
    }
    return [name for name, value in told.items() if text(value)]


def _facts(body: dict[str, Any], name: str, code: str) -> tuple[Any, ...]:
    """What beside the return's id names a fact. A reopened return is posted with a new code."""
    if name in {"return.approved", "return.in_transit", "return.delivered"}:
        return (text(dig(body, "tracking", "code")),)
    if name == "return.refunded":
        paid = record(body.get("reverse_payment"))
        return money(paid.get("value"), "BRL"), instant(paid.get("created_at"))
    if name == "return.voucher_issued":
        return (text(dig(body, "coupon", "code")),)
    if name == "return.updated":
        return code, plain_label(body.get("status")), instant(body.get("updated_at"))
    return ()


def _time(body: dict[str, Any], name: str) -> datetime | None:
    own = {
        "return.requested": body.get("created_at"),
        "return.in_transit": dig(body, "tracking", "posted_date"),
        "return.refunded": dig(body, "reverse_payment", "created_at"),
    }
    return instant(own.get(name)) or instant(body.get("updated_at"))


def delivery_key(v: Verified) -> str | None:
    """Two events may come with the same body, so that the header belongs to the key."""
    ident, updated = text(dig(v.payload, "id")), text(dig(v.payload, "updated_at"))
    code = _code(v)
    if ident is None or updated is None:
        return hashlib.sha256(code.encode() + b"\n" + v.inbound.body).hexdigest()
    told = plain_label(dig(v.payload, "status")) if code in {"", STATUS_CHANGED} else ""
    return f"{ident}:{code}:{updated}:{told}".rstrip(":")


def _needs(v: Verified) -> tuple[Fetch, ...]:
    """The detail, for what only it has: the parcel, the items, the history."""
    ident = text(dig(v.payload, "id"))
    if ident is None or "order" in v.enrichment or {"tracking", "items"} <= set(v.payload):
        return ()
    return (Fetch(name="order", url=f"{API}/order?id={quote(ident, safe='')}", optional=True),)


def start_poll(cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """Returns changed since the last sweep, at first those of the last day.

    Both ends are needed: a range with one end is ignored in silence, one with offsets fails. A
    sweep that was cut short goes on where it was.
    """
    until, page = instant(cursor.get("until")) or now, integer(cursor.get("page")) or 1
    since = (instant(cursor.get("since")) or until - timedelta(days=1)) - OVERLAP
    first, last = (
        end.astimezone(ZoneInfo(BRAZIL)).strftime("%Y-%m-%dT%H:%M:%S") for end in (since, until)
    )
    query = urlencode({"page": page, "updated_from": first, "updated_to": last})
    kept = {"until": until.isoformat(), "page": page}
    return Fetch(name="returns", url=f"{API}/order/list?{query}", cursor=kept)


def read_poll(answer: Any, cursor: Mapping[str, Any]) -> Page:
    """One of `total_pages`; the cursor moves on with the last of them."""
    here, last = (integer(dig(answer, k)) or 1 for k in ("page", "total_pages"))
    items = tuple(records(dig(answer, "list")))
    if here < last:
        following = here + 1
        return Page(
            items=items, cursor={**cursor, "page": following}, more={"page": str(following)}
        )
    return Page(items=items, cursor={"since": cursor.get("until")})


def polled(row: Any, now: datetime) -> Inbound:
    """A row of the list is a return without a header that says what happened."""
    return Inbound("GET", {"content-type": ("application/json",)}, {}, codec.dumps(row), now)


DRIVER = Driver(
    slug="troquecommerce",
    id="01ke7rhnt6fhb6tsbbhcdpeptq",
    name="Troquecommerce",
    description={
        "pt": "Trocas e devoluções da Troquecommerce: solicitação, aprovação, postagem, "
        "recebimento, reembolso, vale-troca e cancelamento. Acrescente ao webhook o cabeçalho "
        "x-gateway-token com o segredo da instalação.",
        "en": "Exchanges and returns of Troquecommerce: requested, approved, posted, received, "
        "refunded, exchanged for a voucher, canceled. Add the header x-gateway-token with the "
        "installation's secret to the webhook.",
    },
    docs_url="https://ajuda.troquecommerce.com.br/pt/article/webhooks-troquecommerce-9o6xdb",
    scheme=Token(at=(Header("x-gateway-token"),), required=False),
    normalize=normalize,
    delivery_key=delivery_key,
    supported_events=FAMILIES["return"],
    credentials=(Credential(name="access_token", label="Store token (Automações → API)"),),
    api=Api(
        base_url=API,
        credentials=("access_token",),
        authorize=lambda c: {"token": c["access_token"]},
        needs=_needs,
        per_minute=240,
        probe=lambda _settings: Fetch(name="returns", url=f"{API}/order/list?page=1"),
    ),
    polls=(Poll(name="returns", start=start_poll, read=read_poll, inbound=polled),),
)
