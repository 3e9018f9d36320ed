"""FindMyPack: one POST for every new occurrence of a parcel, as JSON or as a form of `txt_` fields;
nothing is signed, the shop's fixed token may come along in the body.

The vendor publishes no page about its notifications: names of fields are inferred from its
registration API and from https://docs.integracoesinteligentes.xyz/integrations/findmypack/order/.
`settings.status_map` gives the meaning of the shop's numeric status codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from drivers.base import Driver, fact
from drivers.people import customer, plain
from drivers.read import instant, record, text
from drivers.verify import Choice, Claim, Field, Token, UrlOnly
from schemas.errors import MalformedError
from schemas.events import FAMILIES, Event
from schemas.order import Order, Shipment, ShipmentEvent, commerce
from schemas.request import Grant, Verified

# The states that are published, and what more than their event's name they say.
STATES: Mapping[str, tuple[str, str | None]] = {
    "fulfilled": ("shipment.created", "created"),
    "in_transit": ("shipment.in_transit", "in_transit"),
    "in_destination_analysis": ("shipment.in_transit", "in_destination_analysis"),
    "out_for_delivery": ("shipment.out_for_delivery", "out_for_delivery"),
    "out_for_delivery_to_sender": ("shipment.updated", "returning"),
    "withdrawal_available": ("shipment.updated", "available_for_pickup"),
    "delivered": ("shipment.delivered", "delivered"),
    "not_delivered": ("shipment.delivery_failed", "delivery_failed"),
    "failed": ("shipment.delivery_failed", "delivery_failed"),
    "refused": ("shipment.delivery_failed", "refused"),
    "returned": ("shipment.returned", "returned"),
    "delayed": ("shipment.delayed", "delayed"),
    "stopped_in_inspection": ("shipment.updated", "held"),
    "customs_inspection_completed": ("shipment.in_transit", "customs_inspection_completed"),
    "lost": ("shipment.lost", "lost"),
    "misplaced": ("shipment.lost", "lost"),
    "object_destroyed": ("shipment.lost", "destroyed"),
    "canceled": ("shipment.updated", "canceled"),
}
NOW = r"(?<!\bser )(?<!\bsera )\b"  # not something yet to come
# The words that give a state away, without accents. What is denied, goes back or waits comes before
# what is done: "não entregue" is not "entregue".
WORDS = (
    (r"\bnao\b[^,.;-]*\bentreg", "not_delivered"),
    (rf"{NOW}(devolvid|entregue).*ao remetente", "returned"),
    (r"ao remetente", "out_for_delivery_to_sender"),
    (r"(aguardando|disponivel|liberad\w*)( para)? retirada", "withdrawal_available"),
    (r"fiscalizacao concluida|liberad", "customs_inspection_completed"),
    (r"fiscalizacao|\bretid", "stopped_in_inspection"),
    (r"analise no destino", "in_destination_analysis"),
    (r"saiu para entrega", "out_for_delivery"),
    (r"recusad", "refused"),
    (r"tentativa|ausente", "failed"),
    (r"extravi", "lost"),
    (r"destruid", "object_destroyed"),
    (r"cancelad", "canceled"),
    (rf"{NOW}devolvid", "returned"),
    (rf"{NOW}entregue", "delivered"),
    (r"atras", "delayed"),
    (r"postad|coletad", "fulfilled"),
    (r"em transito|encaminhad", "in_transit"),
)
UNKNOWN: tuple[str, str | None] = ("shipment.updated", None)


def normalize(v: Verified) -> Sequence[Event]:
    """The one occurrence that a delivery tells of."""
    body = record(v.payload)
    order, parcel = _told(body, "pedido"), _shipment(body)
    name, parcel.status = _meaning(v, body)
    happened = parcel.events[0]
    happened.status, code = parcel.status, parcel.tracking_code
    key = order or code
    if key is None:
        raise MalformedError("missing:localizador")
    told = parcel.raw_status or "occurrence"
    return [
        Event(
            name=name,
            key=key,
            dedupe_key=fact(code or order, plain(told), happened.occurred_at),
            provider_event=told,
            occurred_at=happened.occurred_at,
            data=commerce(
                order=Order(id=order, number=order) if order else None,
                customer=_recipient(body),
                shipments=[parcel],
            ),
            drift=() if parcel.status else (f"unknown_status:{told}",),
        )
    ]


def _told(body: dict[str, Any], *names: str) -> str | None:
    """The text of the first of these fields, also with the `txt_` of the registration API."""
    spelled = [s for name in names for s in (name, f"txt_{name}")]
    return next((t for t in (text(body.get(s)) for s in spelled) if t), None)


def _meaning(v: Verified, body: dict[str, Any]) -> tuple[str, str | None]:
    """The event and the state: a code that the shop has mapped wins over the words."""
    code = _told(body, "status", "codigo_status") or ""
    mapped = text(record(v.settings.get("status_map")).get(code)) or ""
    if mapped in FAMILIES["shipment"]:
        return mapped, mapped.removeprefix("shipment.")
    words = plain(f"{_description(body) or ''} {code}")
    found = next((state for pattern, state in WORDS if re.search(pattern, words)), plain(code))
    return STATES.get(mapped) or STATES.get(found, UNKNOWN)


def _description(body: dict[str, Any]) -> str | None:
    return _told(body, "descricao", "ocorrencia")


def _shipment(body: dict[str, Any]) -> Shipment:
    code = _told(body, "status", "codigo_status")
    place = filter(None, (_told(body, "cidade"), _told(body, "estado")))
    return Shipment(
        carrier=_told(body, "transportadora"),
        method=_told(body, "servico"),
        tracking_code=_told(body, "localizador", "codigo", "tracking_code"),
        raw_status=code or _description(body),
        estimated_delivery=instant(_told(body, "previsao_entrega")),
        events=[
            ShipmentEvent(
                raw_status=code,
                description=_description(body),
                location=" - ".join(place) or None,
                occurred_at=instant(_told(body, "data")),
            )
        ],
    )


def _recipient(body: dict[str, Any]) -> Any:
    """Who the parcel is for: an object of its own, or fields with its name before theirs."""
    inner = record(body.get("destinatario"))
    name, mail, number = (
        _told(inner, part) or _told(body, f"destinatario_{part}")
        for part in ("nome", "email", "telefone")
    )
    return customer(name=name, email_address=mail, phone_number=number)


def _token_came(claim: Claim, grant: Grant) -> bool:
    return any(grant.secrets) and any(place.read(claim) for place in TOKEN.at)


TOKEN = Token(at=(Field("txt_token"), Field("token")), required=False)

DRIVER = Driver(
    slug="findmypack",
    id="01ke7rhnt6fhb6tsbbhcdpepfm",
    name="FindMyPack",
    description={
        "pt": "Acompanhe cada ocorrência de entrega rastreada pelo FindMyPack: postagem, trânsito, "
        "saída para entrega, atrasos, tentativas, entrega, devolução e extravio.",
        "en": "Every occurrence of the parcels FindMyPack tracks: posted, in transit, out for "
        "delivery, delayed, attempted, delivered, returned and lost.",
    },
    docs_url="https://docs.integracoesinteligentes.xyz/integrations/findmypack/order/",
    scheme=Choice(options=((_token_came, TOKEN),), otherwise=UrlOnly()),
    normalize=normalize,
    delivery_key=lambda _v: None,
    supported_events=FAMILIES["shipment"],
    secret_fields=("txt_token", "token"),
)
