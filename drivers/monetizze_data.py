"""The sale that a Monetizze postback tells of, in canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, method_of, pix
from drivers.people import address, country_code, customer, email, plain
from drivers.read import (
    dig,
    first,
    flag,
    instant,
    integer,
    money,
    quantity,
    record,
    records,
    text,
    tracking,
)
from schemas.order import (
    CommerceData,
    Coupon,
    Item,
    OfferType,
    Order,
    OrderStatus,
    Partner,
    Payment,
    PaymentMethod,
    Shipment,
    Subscription,
    commerce,
)

SUBSCRIPTION_STATUS = {
    "ativa": "active",
    "inadimplente": "past_due",
    "cancelada": "canceled",
    "aguardando pagamento": "pending",
}
METHOD: Mapping[str, PaymentMethod] = {"debito online": "debit_card"}
# `venda.tipo_frete`; other numbers are of Intelipost and have a description.
CARRIERS = {"4014": ("Correios", "SEDEX"), "4510": ("Correios", "PAC")}


def order_id(body: dict[str, Any]) -> str | None:
    """The sale's number, which an abandoned checkout lacks."""
    return text(dig(body, "venda", "codigo")) or text(body.get("codigo_venda"))


def data_of(body: dict[str, Any], status: OrderStatus | None) -> CommerceData:
    """Everything the body tells; `status` is what its codes say of the order."""
    sale, order = record(body.get("venda")), _order(body, status)
    buyer = record(body.get("comprador"))
    carrier, method = CARRIERS.get(text(sale.get("tipo_frete")) or "", (None, None))
    named = text(sale.get("descr_tipo_frete"))
    method = named if named and named != "0" else method
    coupon, where = text(sale.get("cupom")), _address(buyer)
    return commerce(
        order=order,
        items=_items(body, order),
        customer=customer(
            name=buyer.get("nome"),
            email_address=buyer.get("email"),
            document_number=buyer.get("cnpj_cpf"),
            phone_number=buyer.get("telefone"),
            country=country_code(buyer.get("pais")) or "BR",
        ),
        billing_address=where,
        shipping_address=where if method or body.get("rastreio") else None,
        payments=[_payment(body, order)],
        coupons=[Coupon(code=coupon, amount=order.discount)] if coupon else [],
        shipments=[Shipment(carrier=carrier, method=method)] if method else [],
        subscription=_plan(body),
        tracking=tracking(sale),
        partners=_partners(body),
        extra=_extra(body, sale),
    )


def _order(body: dict[str, Any], status: OrderStatus | None) -> Order:
    sale = record(body.get("venda"))
    total = money(sale.get("valor"), "BRL")
    system = [c for c in records(body.get("comissoes")) if _kind(c) == "sistema"]
    finished = instant(sale.get("dataFinalizada"))
    was_paid = status in {"paid", "refunded", "chargeback"}
    return Order(
        id=order_id(body),
        status=status,
        payment_status=status,
        raw_status=text(sale.get("status")),
        currency="BRL",
        total=total,
        discount=money(dig(body, "ecommerce_dados", "valor_desconto"), "BRL"),
        shipping=money(sale.get("frete"), "BRL"),
        fee=money(system[0].get("valor"), "BRL") if system else None,
        refunded=total if status == "refunded" else None,  # there are no partial refunds
        created_at=instant(sale.get("dataInicio")),
        paid_at=finished if was_paid else None,
        checkout_url=text(body.get("url_recuperacao")),
        parent_id=_parent(sale),
    )


def _parent(sale: dict[str, Any]) -> str | None:
    ident = text(sale.get("venda_upsell"))
    return ident if ident != "0" else None


def _items(body: dict[str, Any], order: Order) -> list[Item]:
    """The lines, from the fullest list there is: cart, products, order bump, the one product."""
    sale, cart = record(body.get("venda")), records(dig(body, "ecommerce_dados", "produtos"))
    if cart:
        return [_cart_line(line) for line in cart]
    has_bump = integer(body.get("order_bump")) == 1  # 2 and 0 both mean without
    lines = records(body.get("produtos"))
    lines = lines or (records(body.get("venda_item_order_bump")) if has_bump else [])
    product, plan = record(body.get("produto")), record(body.get("plano"))
    if not lines and product:
        sold = {"valor": sale.get("valor"), "quantidade": sale.get("quantidade")}
        lines = [
            {
                "produto": product.get("codigo"),
                "nome": product.get("nome"),
                "codPlano": plan.get("codigo"),
                "sku": plan.get("sku"),
                **sold,
            }
        ]
    prices = [money(line.get("valor"), "BRL") for line in lines]
    # `valor` of a line is the whole line's where the lines so add up to the sale, else a unit's.
    paid = order.total or 0
    whole = sum(p or 0 for p in prices) in {paid, paid - (order.shipping or 0)}
    upsell = _parent(sale) is not None or bool(flag(sale.get("onebuyclick")))
    kind: OfferType = "upsell" if upsell else "main"
    items = [_line(line, whole=whole) for line in lines]
    for item, line in zip(items, lines, strict=True):
        item.offer_type = (
            "order_bump" if has_bump and flag(line.get("principal")) is False else kind
        )
        item.type = "subscription_plan" if body.get("assinatura") else "product"
    return items


def _line(line: dict[str, Any], *, whole: bool) -> Item:
    price, count = money(line.get("valor"), "BRL"), quantity(line.get("quantidade"))
    item = Item(
        product_id=text(line.get("produto")),
        variant_id=text(line.get("codPlano")),
        sku=text(line.get("sku")),
        name=text(line.get("nome")),
        quantity=count,
    )
    if price is not None:
        item.unit_price = round(price / count) if whole else price
        item.total = price if whole else round(price * count)
    return item


def _cart_line(line: dict[str, Any]) -> Item:
    price, count = money(line.get("preco"), "BRL"), quantity(line.get("quantidade"))
    return Item(
        sku=text(line.get("sku")),
        name=text(line.get("nome")),
        quantity=count,
        unit_price=price,
        total=None if price is None else round(price * count),
    )


def _address(buyer: dict[str, Any]) -> Any:
    return address(
        name=buyer.get("nome"),
        street=buyer.get("endereco"),
        number=buyer.get("numero"),
        complement=buyer.get("complemento"),
        district=buyer.get("bairro"),
        city=buyer.get("cidade"),
        state=buyer.get("estado"),
        country=buyer.get("pais"),
        postal_code=buyer.get("cep"),
    )


def _payment(body: dict[str, Any], order: Order) -> Payment:
    sale = record(body.get("venda"))
    picture = first(body.get("pix_url"), body.get("pix_imagem_qrcode"))
    return Payment(
        method=method_of(sale.get("formaPagamento"), METHOD),
        status=order.raw_status,
        amount=order.total,
        installments=integer(sale.get("parcelas")),
        boleto=bank_slip(sale.get("linha_digitavel"), url=sale.get("linkBoleto")),
        pix=pix(body.get("pix_codigo_qrcode"), picture),
        paid_at=order.paid_at,
        gateway=text(sale.get("meioPagamento")),
    )


def _plan(body: dict[str, Any]) -> Subscription | None:
    told = record(body.get("assinatura"))
    word = plain(text(told.get("status")) or "")
    plan = Subscription(
        id=text(told.get("codigo")),
        plan=text(dig(body, "plano", "nome")),
        status=SUBSCRIPTION_STATUS.get(word, word) or None,
        cycle=integer(told.get("parcela")),
    )
    return plan if told else None


def _kind(commission: dict[str, Any]) -> str:
    return plain(text(commission.get("tipo_comissao")) or "")


def _partners(body: dict[str, Any]) -> list[Partner]:
    found = [_partner(c) for c in records(body.get("comissoes")) if _kind(c) != "sistema"]
    owner = record(body.get("produtor"))
    return found or ([_partner({**owner, "tipo_comissao": "Produtor"})] if owner else [])


def _partner(told: dict[str, Any]) -> Partner:
    kind = _kind(told)
    return Partner(
        role="producer"
        if kind == "produtor"
        else "coproducer"
        if "produtor" in kind
        else "affiliate",
        id=text(told.get("refAfiliado")),
        name=text(told.get("nome")),
        email=email(told.get("email")),
        amount=money(told.get("valor"), "BRL"),
    )


def _extra(body: dict[str, Any], sale: dict[str, Any]) -> dict[str, Any]:
    return leftovers(
        {
            "net_amount": money(sale.get("valorRecebido"), "BRL"),
            "receiver": dig(body, "tipoPostback", "descricao"),
            "plan": {
                k: x
                for k, x in record(body.get("plano")).items()
                if k in {"codigo", "referencia", "nome", "periodicidade"} and x
            },
            "subscription_started_at": instant(dig(body, "assinatura", "data_assinatura")),
            "warranty_days_left": sale.get("garantiaRestante"),
        }
    )
