"""Bling's orders and invoices as canonical data: decimal reais, ids of 0 for none, days without a
time, `0000-00-00` for no day.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drivers.base import leftovers
from drivers.paying import method_of
from drivers.people import address, customer
from drivers.read import dig, first, instant, money, number, quantity, record, records, text
from schemas.order import (
    Invoice,
    Item,
    Order,
    OrderStatus,
    Payment,
    Shipment,
    commerce,
)
from schemas.request import Verified

REAL = "BRL"
STATUS: dict[str, OrderStatus] = {
    "order.created": "created",
    "order.pending": "pending",
    "order.paid": "paid",
    "order.failed": "failed",
    "order.canceled": "canceled",
    "order.expired": "expired",
    "order.refunded": "refunded",
    "order.partially_refunded": "partially_refunded",
    "order.chargeback": "chargeback",
}
GOODS = {"order.invoiced": "invoiced", "order.shipped": "shipped", "order.delivered": "delivered"}


def known_id(value: Any) -> str | None:
    """An id; 0 is none."""
    found = text(value)
    return None if found == "0" else found


def answer(v: Verified, name: str) -> dict[str, Any]:
    """What the API answered to the request of this name."""
    return record(dig(v.enrichment, name, "data"))


def full_order(v: Verified, data: dict[str, Any]) -> dict[str, Any]:
    """The order as it is now, in the situation that the delivery tells."""
    now = answer(v, "order")
    return {**data, **now, "situacao": first(data.get("situacao"), now.get("situacao"))}


def order_data(v: Verified, order: dict[str, Any], name: str) -> Any:
    """The canonical data of an order about which the event `name` tells."""
    moved, label = record(order.get("transporte")), dig(order, "transporte", "etiqueta")
    contact = {**record(order.get("contato")), **answer(v, "contact")}
    return commerce(
        order=_order(v, order, name),
        items=[_item(line) for line in records(order.get("itens"))],
        customer=_customer(contact),
        shipping_address=_address(record(label)),
        billing_address=_address(record(dig(contact, "endereco", "cobranca")))
        or _address(record(dig(contact, "endereco", "geral"))),
        payments=_payments(v, order),
        shipments=_shipments(moved, order),
        extra=leftovers(
            {
                "external_number": text(order.get("numeroLoja")),
                "store_id": known_id(dig(order, "loja", "id")),
                "seller_id": known_id(dig(order, "vendedor", "id")),
                "invoice_id": known_id(dig(order, "notaFiscal", "id")),
                "intermediary": leftovers(record(order.get("intermediador"))),
                "other_costs": money(order.get("outrasDespesas"), REAL),
                "freight_cost": money(dig(order, "taxas", "custoFrete"), REAL),
            }
        ),
    )


def _order(v: Verified, order: dict[str, Any], name: str) -> Order:
    situation = record(order.get("situacao"))
    at = instant(dig(v.payload, "date"), "UTC")
    return Order(
        id=text(order.get("id")),
        number=text(order.get("numero")),
        status=STATUS.get(name),
        fulfillment_status=GOODS.get(name),
        raw_status=text(situation.get("id")) or text(situation.get("nome")),
        currency=REAL,
        total=money(order.get("total"), REAL),
        subtotal=money(order.get("totalProdutos"), REAL),
        discount=_discount(order),
        shipping=money(dig(order, "transporte", "frete"), REAL),
        fee=money(dig(order, "taxas", "taxaComissao"), REAL),
        created_at=instant(order.get("data")),
        updated_at=at,
        canceled_at=at if name == "order.canceled" else None,
        shipped_at=instant(order.get("dataSaida")),
        note=text(order.get("observacoes")),
    )


def _discount(order: dict[str, Any]) -> int | None:
    """An amount, or a share of the products."""
    told = number(dig(order, "desconto", "valor"))
    if told is not None and text(dig(order, "desconto", "unidade")) == "PERCENTUAL":
        products = number(order.get("totalProdutos"))
        return None if products is None else money(products * told / Decimal(100), REAL)
    return money(told, REAL)


def _item(line: dict[str, Any]) -> Item:
    return Item(
        id=known_id(line.get("id")),
        product_id=known_id(dig(line, "produto", "id")),
        sku=text(line.get("codigo")),
        name=text(line.get("descricao")),
        quantity=quantity(line.get("quantidade")),
        unit_price=money(line.get("valor"), REAL),
    )


def _customer(contact: dict[str, Any]) -> Any:
    return customer(
        id=known_id(contact.get("id")),
        name=contact.get("nome"),
        email_address=contact.get("email"),
        document_number=contact.get("numeroDocumento"),
        phone_number=first(contact.get("celular"), contact.get("telefone")),
    )


def _address(place: dict[str, Any]) -> Any:
    return address(
        name=place.get("nome"),
        street=place.get("endereco"),
        number=place.get("numero"),
        complement=place.get("complemento"),
        district=place.get("bairro"),
        city=place.get("municipio"),
        state=place.get("uf"),
        country=first(place.get("nomePais"), place.get("pais")),
        postal_code=place.get("cep"),
    )


def _payments(v: Verified, order: dict[str, Any]) -> list[Payment]:
    """The instalments by their payment method."""
    parts: dict[str | None, list[dict[str, Any]]] = {}
    for part in records(order.get("parcelas")):
        parts.setdefault(known_id(dig(part, "formaPagamento", "id")), []).append(part)
    return [
        Payment(
            method=method_of(
                answer(v, f"method:{method}").get("descricao")
                or dig(same[0], "formaPagamento", "descricao")
            ),
            amount=sum(money(part.get("valor"), REAL) or 0 for part in same),
            installments=len(same),
        )
        for method, same in parts.items()
    ]


def _shipments(moved: dict[str, Any], order: dict[str, Any]) -> list[Shipment]:
    return [
        Shipment(
            id=known_id(parcel.get("id")),
            carrier=text(dig(moved, "contato", "nome")),
            method=text(parcel.get("servico")),
            tracking_code=text(parcel.get("codigoRastreamento")),
            estimated_delivery=instant(order.get("dataPrevista")),
        )
        for parcel in records(moved.get("volumes"))
    ]


def invoice_data(invoice: dict[str, Any]) -> Any:
    """The canonical data of an authorized NF-e or NFC-e."""
    contact, moved = record(invoice.get("contato")), record(invoice.get("transporte"))
    situation = text(invoice.get("situacao"))
    return commerce(
        order=Order(
            raw_status=situation,
            fulfillment_status="invoiced",
            currency=REAL,
            total=money(first(invoice.get("valorNota"), invoice.get("valorTotal")), REAL),
        ),
        customer=_customer(contact),
        billing_address=_address(record(contact.get("endereco"))),
        shipments=_shipments(moved, {}),
        invoice=Invoice(
            number=text(invoice.get("numero")),
            series=text(invoice.get("serie")),
            key=text(invoice.get("chaveAcesso")),
            issued_at=instant(invoice.get("dataEmissao")),
            url=text(first(invoice.get("linkDanfe"), invoice.get("linkPDF"))),
        ),
        extra=leftovers(
            {
                "invoice_id": text(invoice.get("id")),
                "external_number": text(invoice.get("numeroPedidoLoja")),
                "store_id": known_id(dig(invoice, "loja", "id")),
                "type": text(invoice.get("tipo")),
            }
        ),
    )


def as_v3(told: dict[str, Any]) -> dict[str, Any]:
    """An order of API v2 in the shape of v3: other names, numbers as text, lists of wrappers."""
    buyer, off = record(told.get("cliente")), text(told.get("desconto")) or ""
    place = {**buyer, "municipio": buyer.get("cidade")}
    return {
        **{name: told.get(name) for name in ("numero", "data", "dataSaida", "dataPrevista")},
        "id": told.get("numero"),
        "numeroLoja": told.get("numeroPedidoLoja"),
        "situacao": {"nome": told.get("situacao")},
        "total": told.get("totalvenda"),
        "totalProdutos": told.get("totalprodutos"),
        "desconto": {"valor": off, "unidade": "PERCENTUAL" if off.endswith("%") else "REAL"},
        "outrasDespesas": told.get("outrasdespesas"),
        "observacoes": told.get("observacoes"),
        "loja": {"id": told.get("loja")},
        "contato": {
            **buyer,
            "numeroDocumento": buyer.get("cnpj"),
            "telefone": buyer.get("fone"),
            "endereco": {"geral": place},
        },
        "transporte": {"frete": told.get("valorfrete"), "etiqueta": place},
        "itens": [_v2_item(line) for line in _inner(told.get("itens"), "item")],
        "parcelas": [
            {"valor": part.get("valor"), "formaPagamento": part.get("forma_pagamento")}
            for part in _inner(told.get("parcelas"), "parcela")
        ],
    }


def _v2_item(line: dict[str, Any]) -> dict[str, Any]:
    named = {name: line.get(name) for name in ("codigo", "descricao", "quantidade")}
    return {**named, "valor": line.get("valorunidade")}


def _inner(value: Any, name: str) -> list[dict[str, Any]]:
    return [record(wrapper.get(name)) for wrapper in records(value)]
