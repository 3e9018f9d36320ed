"""What Troquecommerce's return says, as canonical data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.base import leftovers
from drivers.paying import method_of
from drivers.people import address, customer, plain
from drivers.read import dig, first, instant, money, need, quantity, record, records, text
from schemas.order import (
    Item,
    Order,
    Payment,
    Return,
    ReturnType,
    Shipment,
    Voucher,
    commerce,
)

TYPES: Mapping[str, ReturnType] = {
    "troca": "exchange",
    "devolucao": "refund",
    "sem reembolso": "no_refund",
    "troca e devolucao": "mixed",
}
KEPT = (
    "is_complete", "is_exception", "is_second_reverse", "retained_value", "retained_bonus",
    "retention_level", "reverse_shipping_cost", "history",
)  # fmt: skip


def plain_label(value: Any) -> str:
    """A label of the panel, or the word that the API's filter has for it."""
    return plain(text(value) or "").replace("_", " ")


def return_data(body: dict[str, Any], code: str, state: str | None) -> Any:
    """The canonical data of a return in the state that `state` (a word of ours) says."""
    number, paid = text(body.get("ecommerce_number")), record(body.get("reverse_payment"))
    back = instant(paid.get("created_at"))
    person = _person(body)
    return commerce(
        order=Order(
            id=number,
            number=number,
            currency="BRL",
            refunded_at=back,
            cancel_reason=text(body.get("cancel_reason")),
        ),
        items=[_item(line) for line in records(body.get("items"))],
        customer=_customer(person),
        shipping_address=_address(record(_any(person, "address", "endereco"))),
        payments=[_payment(paid)] if text(paid.get("value")) else [],
        shipments=_shipments(record(body.get("tracking"))),
        return_=_return(body, state),
        extra=leftovers(
            {
                **{key: body.get(key) for key in KEPT},
                "event": code,
                "lines": [_line(line) for line in records(body.get("items"))],
            }
        ),
    )


def _return(body: dict[str, Any], state: str | None) -> Return:
    coupon = record(body.get("coupon"))
    voucher = Voucher(
        code=text(coupon.get("code")),
        amount=money(coupon.get("value"), "BRL"),
        expires_at=instant(coupon.get("expires_at")),
    )
    return Return(
        id=need(body, "id"),
        type=TYPES.get(plain_label(body.get("reverse_type"))),
        status=state,
        raw_status=text(body.get("status")),
        order_id=text(body.get("ecommerce_number")),
        currency="BRL",
        total=money(body.get("price"), "BRL"),
        requested_refund=money(body.get("refund_value"), "BRL"),
        paid_refund=money(dig(body, "reverse_payment", "value"), "BRL"),
        exchange_value=money(body.get("exchange_value"), "BRL"),
        voucher=voucher if voucher != Voucher() else None,
        reason=text(dig(body, "items", 0, "reason", "description")),
    )


def _item(line: dict[str, Any]) -> Item:
    return Item(
        id=text(line.get("id")),
        sku=text(line.get("sku")),
        name=text(line.get("description")),
        quantity=quantity(line.get("quantity")),
        unit_price=money(line.get("price"), "BRL"),
        image_url=text(line.get("image_url")),
    )


def _line(line: dict[str, Any]) -> dict[str, Any]:
    """What only a return knows of its lines: why, and what comes instead."""
    names = "sku is_exchange is_received is_retained replaced_item_sku replaced_item_description"
    return leftovers({**{n: line.get(n) for n in names.split()}, "reason": line.get("reason")})


def _payment(paid: dict[str, Any]) -> Payment:
    return Payment(
        method=method_of(paid.get("method")),
        status="refunded",
        amount=money(paid.get("value"), "BRL"),
        paid_at=instant(paid.get("created_at")),
    )


def _shipments(tracking: dict[str, Any]) -> list[Shipment]:
    parcel = Shipment(
        carrier=text(tracking.get("carrier")),
        tracking_code=text(tracking.get("code")),
        tracking_url=text(tracking.get("url")),
        raw_status=text(tracking.get("status")),
    )
    return [parcel] if parcel != Shipment() else []


def _any(holder: dict[str, Any], *names: str) -> Any:
    """The field under the first of the names it may have: those of people are not published."""
    return first(*(holder.get(name) for name in names))


def _person(body: dict[str, Any]) -> dict[str, Any]:
    return record(_any(body, "client", "customer", "cliente"))


def _customer(person: dict[str, Any]) -> Any:
    return customer(
        id=person.get("id"),
        name=_any(person, "name", "nome"),
        email_address=person.get("email"),
        document_number=_any(person, "document", "cpf", "cnpj"),
        phone_number=_any(person, "phone", "telefone"),
    )


def _address(place: dict[str, Any]) -> Any:
    return address(
        street=_any(place, "street", "rua", "logradouro"),
        number=_any(place, "number", "numero"),
        complement=_any(place, "complement", "complemento"),
        district=_any(place, "district", "neighborhood", "bairro"),
        city=_any(place, "city", "cidade"),
        state=_any(place, "state", "uf", "estado"),
        postal_code=_any(place, "zip_code", "zipcode", "cep"),
    )
