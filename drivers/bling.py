"""Bling: thin JSON events of a whole application's accounts, signed over the raw body, to be
completed through API v3; and the retired API v2's form callbacks, proven by a secret in the URL.

https://developer.bling.com.br/webhooks
Bling knows no payment status: `settings.status_map` gives the meaning of an account's sales-order
situations, by id or name (`{"447110": "order.delivered", "15": "none"}`).
`settings.company_id` leaves out events of the application's other accounts;
`settings.resolve_payment_methods: true` asks the API for the names of payment methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from drivers.base import Credential, Driver, fact, raw_event
from drivers.bling_data import answer, as_v3, full_order, invoice_data, known_id, order_data
from drivers.body import parse_body
from drivers.describe import OAUTH_SETTINGS, Api, Fetch, OAuth, Page, Poll, bearer
from drivers.people import plain
from drivers.read import (
    BRAZIL,
    day,
    dig,
    first,
    flag,
    instant,
    integer,
    need,
    record,
    records,
    text,
)
from drivers.verify import Choice, Claim, Header, Hmac, Query, Refuse, Token, has_header
from schemas import codec
from schemas.events import Event
from schemas.request import Grant, Inbound, Reply, Verified

API = "https://api.bling.com.br/Api/v3"
# The situations every account starts with. Those without an event are drafts and checks of ours.
SITUATIONS = {
    "6": "order.pending",
    "9": "order.paid",
    "12": "order.canceled",
    "15": "order.paid",
    "18": "order.paid",
    "21": None,
    "24": None,
    "em aberto": "order.pending",
    "atendido": "order.paid",
    "cancelado": "order.canceled",
    "em andamento": "order.paid",
    "venda agenciada": "order.paid",
    "em digitacao": None,
    "verificado": None,
}
# What a situation may be mapped to.
STATES = tuple(
    "order.pending order.paid order.failed order.canceled order.expired order.refunded "
    "order.partially_refunded order.chargeback order.invoiced order.shipped order.delivered "
    "order.updated".split()
)
INVOICES = {"invoice": "nfe", "consumer_invoice": "nfce"}
AUTHORIZED = {"5", "6"}  # Autorizada, Emitida DANFE
INVENTORY = {"stock", "virtual_stock", "product", "product_supplier"}
POLLED = "order.polled"  # our own word for an order that a list told of
PAGE = 100
JWT = {"enable-jwt": "1"}  # tokens that are not JWTs are being phased out
OVERLAP = timedelta(minutes=5)


def parse(inbound: Inbound) -> Any:
    """The body; an API v2 callback is a form whose field `data` holds JSON."""
    body = parse_body(inbound)
    inner = body.get("data") if isinstance(body, dict) else None
    if not isinstance(inner, str):
        return body
    return codec.loads(inner.encode("utf-8", "surrogatepass"))


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery, by the resource it is about."""
    body = record(v.payload)
    if "retorno" in body:
        orders = records(dig(body, "retorno", "pedidos")) or [{}]
        return [event for told in orders for event in _callback(v, record(told.get("pedido")))]
    event, company = need(body, "event"), text(v.settings.get("company_id"))
    if company and text(body.get("companyId")) not in {company, None}:
        return []
    resource, _, action = event.partition(".")
    data = record(body.get("data"))
    if resource == "order" and action in {"created", "updated", "deleted", "polled"}:
        return _order(v, event, data)
    if resource in INVOICES:
        return [_invoice(v, event, data)]
    drift = () if resource in INVENTORY else (f"unknown_event:{event}",)
    key = text(dig(data, "produto", "id")) or text(data.get("id"))
    return [_raw(v, event, key, drift)]


def _raw(v: Verified, event: str, key: str | None, drift: tuple[str, ...] = ()) -> Event:
    return raw_event(v, provider_event=event, key=key, drift=drift, **_told(v))


def _told(v: Verified) -> dict[str, Any]:
    return {
        "provider_event_id": text(dig(v.payload, "eventId")),
        "occurred_at": instant(dig(v.payload, "date"), "UTC"),
    }


def _order(v: Verified, event: str, data: dict[str, Any]) -> list[Event]:
    """An order's creation, and what its situation means: it may be born in any."""
    if event == "order.deleted":
        return [_event(v, event, data, "order.canceled")]
    full = full_order(v, data)
    name, drift = _state(v, full)
    if event == "order.updated":
        return [_event(v, event, full, name, drift)] if name else []
    is_new = event == "order.created" or _is_of_today(v, full)
    created = [_event(v, event, full, "order.created", drift)] if is_new else []
    if name is None or (is_new and name in {"order.pending", "order.updated"}):
        return created
    return [*created, _event(v, event, full, name, drift)]


def _is_of_today(v: Verified, order: dict[str, Any]) -> bool:
    """Whether an order of a list is a new one: `data` is its day, without a time."""
    made = day(order.get("data"))
    today = v.received_at.astimezone(ZoneInfo(BRAZIL)).date()
    return made is not None and today - made <= timedelta(days=1)


def _event(
    v: Verified, event: str, order: dict[str, Any], name: str, drift: tuple[str, ...] = ()
) -> Event:
    ident, told = need({"data": order}, "data", "id"), _told(v)
    situation = text(dig(order, "situacao", "id"))
    # No state has a time of its own: an order reaches each of them once.
    facts = (situation, told["occurred_at"]) if name == "order.updated" else ()
    content = order_data(v, order, name)
    if event == "order.deleted":
        content["extra"]["deleted"] = True
    return Event(
        name=name,
        key=ident,
        dedupe_key=fact(ident, *facts),
        provider_event=event,
        data=content,
        drift=drift,
        **told,
    )


def _state(v: Verified, order: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """What the situation means to the account: by its id, by the one it inherits from, by its name.

    None where it means nothing; an unknown one is an update, and a sign of something new.
    """
    situation, resolved = record(order.get("situacao")), answer(v, "situation")
    own = {plain(k): x for k, x in record(v.settings.get("status_map")).items()}
    word = text(situation.get("id")) or text(situation.get("nome"))
    if word is None:
        return "order.updated", ()
    names = (situation.get("nome"), resolved.get("nome"))
    codes = (situation.get("id"), known_id(resolved.get("idHerdado")), *names)
    for code in (plain(text(c) or "") for c in codes):
        if code in own:
            mapped = text(own[code])
            return (mapped if mapped in STATES else None), ()
        if code in SITUATIONS:
            return SITUATIONS[code], ()
    return "order.updated", (f"unknown_status:{word}",)


def _callback(v: Verified, told: dict[str, Any]) -> list[Event]:
    """An order of an API v2 callback: the whole order, with the name of its situation."""
    order = as_v3(told)
    name, drift = _state(v, order)
    return [_event(v, "pedido", order, name, drift)] if name else []


def _invoice(v: Verified, event: str, data: dict[str, Any]) -> Event:
    """An invoice once it is authorized; no invoice names its order's id."""
    ident = need({"data": data}, "data", "id")
    full = {**data, **answer(v, "invoice")}
    situation = text(first(data.get("situacao"), full.get("situacao")))
    if event.endswith(".deleted") or situation not in AUTHORIZED:
        return _raw(v, event, ident)
    return Event(
        name="order.invoiced",
        key=ident,
        dedupe_key=fact(event.partition(".")[0], ident),
        provider_event=event,
        data=invoice_data(full),
        **_told(v),
    )


def delivery_key(v: Verified) -> str | None:
    """The event's id, the same on every retry; v2 callbacks have none."""
    return text(dig(v.payload, "eventId"))


def _needs(v: Verified) -> tuple[Fetch, ...]:
    """The order and its buyer, the invoice; then what their ids stand for."""
    event, data = text(dig(v.payload, "event")) or "", record(dig(v.payload, "data"))
    ident, resource = text(data.get("id")), event.partition(".")[0]
    if ident is None or event.endswith(".deleted"):
        return ()
    if resource in INVOICES:
        is_wanted = text(data.get("situacao")) in {*AUTHORIZED, None}
        return _lacking(v, {"invoice": (INVOICES[resource], ident)}) if is_wanted else ()
    if resource != "order":
        return ()
    order = full_order(v, data)
    wanted = {
        "order": ("pedidos/vendas", ident),
        "contact": ("contatos", dig(order, "contato", "id")),
    }
    return _lacking(v, wanted) or _lacking(v, _meanings(v, order))


def _meanings(v: Verified, order: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Where an order's own situation and, if wanted, its payment methods are explained."""
    wanted = {}
    if _state(v, order)[1]:
        wanted["situation"] = ("situacoes", dig(order, "situacao", "id"))
    if flag(v.settings.get("resolve_payment_methods")):
        methods = [dig(part, "formaPagamento", "id") for part in records(order.get("parcelas"))]
        wanted |= {f"method:{text(ident)}": ("formas-pagamentos", ident) for ident in methods}
    return wanted


def _lacking(v: Verified, wanted: Mapping[str, tuple[str, Any]]) -> tuple[Fetch, ...]:
    """Requests for resources that are there and not asked for yet."""
    return tuple(
        Fetch(name=name, url=f"{API}/{path}/{quote(ident, safe='')}", optional=True)
        for name, (path, told) in wanted.items()
        if name not in v.enrichment and (ident := known_id(told))
    )


def start_poll(cursor: Mapping[str, Any], now: datetime, _settings: Mapping[str, Any]) -> Fetch:
    """Orders changed since the last sweep, at first those of the last day; Brasília wall time.

    A sweep that was cut short goes on where it was.
    """
    until, page = instant(cursor.get("until")) or now, integer(cursor.get("page")) or 1
    since = (instant(cursor.get("since")) or until - timedelta(days=1)) - OVERLAP
    first, last = (
        end.astimezone(ZoneInfo(BRAZIL)).strftime("%Y-%m-%d %H:%M:%S") for end in (since, until)
    )
    query = {
        "pagina": page,
        "limite": PAGE,
        "dataAlteracaoInicial": first,
        "dataAlteracaoFinal": last,
    }
    url = f"{API}/pedidos/vendas?{urlencode(query)}"
    return Fetch(name="orders", url=url, cursor={"until": until.isoformat(), "page": page})


def read_poll(found: Any, cursor: Mapping[str, Any]) -> Page:
    """A full page has a next one; the cursor moves on with the last.

    An order that changes again leaves the window and draws the rows after it to the page before:
    what took several pages is read twice before it counts.
    """
    items, here = tuple(records(dig(found, "data"))), integer(cursor.get("page")) or 1
    if len(items) >= PAGE:
        following = {**cursor, "page": here + 1}
        return Page(items=items, cursor=following, more={"pagina": str(here + 1)})
    if here > 1 and not cursor.get("again"):
        return Page(items=items, cursor={"since": cursor.get("since"), "again": True})
    return Page(items=items, cursor={"since": cursor.get("until")})


def polled(row: Any, now: datetime) -> Inbound:
    """A row of the list as the thin event of its situation; it does not say when it changed."""
    body = {"event": POLLED, "data": row}
    return Inbound("GET", {"content-type": ("application/json",)}, {}, codec.dumps(body), now)


def handshake(inbound: Inbound, _grant: Grant) -> Reply | None:
    """The panel may look whether the address answers before it saves it."""
    return Reply(200) if inbound.method in {"GET", "HEAD"} else None


def _is_callback(claim: Claim, _grant: Grant) -> bool:
    return "k" in claim.inbound.query


DRIVER = Driver(
    slug="bling",
    id="01ke7rhnt6fhb6tsbbhcdpepyb",
    name="Bling",
    description={
        "pt": "Integração com a plataforma Bling para gestão de vendas: pedidos e suas situações, "
        "notas fiscais e estoque.",
        "en": "Sales orders and their situations, invoices and stock of the Bling ERP.",
    },
    docs_url="https://developer.bling.com.br/webhooks",
    scheme=Choice(
        options=(
            (
                has_header("x-bling-signature-256"),
                Hmac(at=(Header("x-bling-signature-256"),), prefix="sha256="),
            ),
            (_is_callback, Token(at=(Query("k"),))),
        ),
        otherwise=Refuse(),
    ),
    parse=parse,
    normalize=normalize,
    delivery_key=delivery_key,
    handshake=handshake,
    supported_events=("order.created", *STATES, "provider.event"),
    available_settings=OAUTH_SETTINGS,
    credentials=(Credential(name="access_token", label="API v3 access token"),),
    api=Api(
        base_url=API,
        credentials=("access_token",),
        authorize=lambda c: {**bearer(c), **JWT},
        needs=_needs,
        per_minute=180,
        probe=lambda _settings: Fetch(name="company", url=f"{API}/empresas/me/dados-basicos"),
    ),
    oauth=OAuth(
        authorize_url="https://www.bling.com.br/Api/v3/oauth/authorize",
        token_url="https://www.bling.com.br/Api/v3/oauth/token",  # noqa: S106 - an address
        redirect_uri="never",  # the one stored in the application
        client_auth="basic",
        token_headers=JWT,
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
