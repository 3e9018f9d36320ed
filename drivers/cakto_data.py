"""What a sale of Cakto says, in canonical parts. Money is in reais, as numbers or text.

https://docs.cakto.com.br/conceitos/webhooks
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from drivers.base import leftovers
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, customer, email
from drivers.read import dig, first, instant, integer, money, record, records, text, tracking
from schemas.order import (
    Address,
    CommerceData,
    Coupon,
    Customer,
    Item,
    OfferType,
    Order,
    OrderStatus,
    Partner,
    Payment,
    PaymentMethod,
    Subscription,
    commerce,
)

REAL = "BRL"  # no other currency is sold in, and none is named
OFFER: Mapping[str, OfferType] = {
    "orderbump": "order_bump",
    "order_bump": "order_bump",
    "upsell": "upsell",
    "downsell": "downsell",
}
ROLES: Mapping[str, Literal["producer", "coproducer", "affiliate"]] = {
    "producer": "producer",
    "coproducer": "coproducer",
    "affiliate": "affiliate",
}
METHOD: Mapping[str, PaymentMethod] = {"openfinance_nubank": "transfer"}


def order_part(sale: dict[str, Any], status: OrderStatus | None) -> Order:
    """The order of a sale."""
    total = money(sale.get("amount"), REAL)
    return Order(
        id=text(sale.get("id")),
        number=text(sale.get("refId")),
        status=status,
        payment_status=status,
        raw_status=text(sale.get("status")),
        currency=REAL,
        total=total,
        subtotal=money(sale.get("baseAmount"), REAL),
        discount=money(sale.get("discount"), REAL),
        fee=money(sale.get("fees"), REAL),
        refunded=total if status == "refunded" else None,
        created_at=instant(sale.get("createdAt")),
        paid_at=instant(sale.get("paidAt")),
        canceled_at=instant(sale.get("canceledAt")),
        refunded_at=instant(sale.get("refundedAt")),
        expires_at=instant(_block(sale).get("expirationDate")),
        checkout_url=text(sale.get("checkoutUrl")),
        cancel_reason=text(first(sale.get("refund_reason"), sale.get("reason"))),
        parent_id=text(sale.get("parent_order")),
    )


def _block(sale: dict[str, Any]) -> dict[str, Any]:
    """The block of the way this sale is paid; a test from the panel shows every block at once."""
    return record(sale.get(text(sale.get("paymentMethod")) or ""))


def order_data(sale: dict[str, Any], order: Order, plan: Subscription | None) -> CommerceData:
    """The snapshot of a sale."""
    code = text(sale.get("couponCode"))
    return commerce(
        order=order,
        items=[item(sale)],
        customer=_buyer(sale),
        billing_address=_address(sale),
        payments=[_payment(sale, order)],
        coupons=[Coupon(code=code, amount=order.discount)] if code else [],
        subscription=plan,
        tracking=tracking(sale),
        partners=_partners(sale),
        extra=_leftovers(sale),
    )


def item(sale: dict[str, Any]) -> Item:
    """The one product, sold by one of its offers."""
    product, offer = record(sale.get("product")), record(sale.get("offer"))
    return Item(
        id=text(product.get("id")),
        product_id=text(product.get("id")),
        variant_id=text(offer.get("id")),
        sku=text(offer.get("id")),
        name=text(product.get("name")),
        unit_price=money(offer.get("price"), REAL),
        total=money(sale.get("amount"), REAL),
        discount=money(sale.get("discount"), REAL),
        image_url=text(offer.get("image")),
        type="subscription_plan" if product.get("type") == "subscription" else "product",
        offer_type=OFFER.get((text(sale.get("offer_type")) or "").lower(), "main"),
    )


def _buyer(sale: dict[str, Any]) -> Customer | None:
    who = record(sale.get("customer"))
    return customer(
        id=who.get("id"),
        name=who.get("name"),
        email_address=who.get("email"),
        document_number=who.get("docNumber"),
        phone_number=who.get("phone"),
    )


def _address(sale: dict[str, Any]) -> Address | None:
    told = record(sale.get("address"))
    return address(
        name=dig(sale, "customer", "name"),
        street=told.get("street"),
        number=told.get("number"),
        complement=told.get("complement"),
        district=told.get("neighborhood"),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=told.get("zipcode"),
    )


def _payment(sale: dict[str, Any], order: Order) -> Payment:
    block, method = _block(sale), method_of(sale.get("paymentMethod"), METHOD)
    plastic = record(sale.get("card")) if method in {"credit_card", "debit_card"} else {}
    slip, ends = block if method == "boleto" else {}, order.expires_at
    return Payment(
        method=method,
        status=order.raw_status,
        amount=order.total,
        installments=integer(sale.get("installments")),
        card=card(plastic.get("brand"), plastic.get("lastDigits")),
        boleto=bank_slip(slip.get("barcode"), url=slip.get("boletoUrl"), due_at=ends),
        pix=pix(block.get("qrCode"), expires_at=ends) if method == "pix" else None,
        paid_at=order.paid_at,
        gateway="cakto",
    )


def subscription(sale: dict[str, Any]) -> Subscription | None:
    """The subscription, an object or its id alone."""
    told = sale.get("subscription")
    block = record(told)
    ident = text(block.get("id")) or text(told)
    if ident is None:
        return None
    return Subscription(
        id=ident,
        plan=text(dig(sale, "offer", "name")),
        status=text(block.get("status")),
        cycle=integer(first(block.get("current_period"), sale.get("subscription_period"))),
        period_end=instant(block.get("next_payment_date")),
        canceled_at=instant(block.get("canceledAt")),
    )


def _partners(sale: dict[str, Any]) -> list[Partner]:
    """Who shares in the sale, by e-mail; the affiliate stands apart as well."""
    found = [
        Partner(
            role=role,
            email=email(told.get("user")),
            amount=money(told.get("totalAmount"), REAL),
        )
        for told in records(sale.get("commissions"))
        if (role := ROLES.get((text(told.get("type")) or "").lower()))
    ]
    ally = email(sale.get("affiliate"))
    if ally and not any(p.role == "affiliate" for p in found):
        found.append(Partner(role="affiliate", email=ally))
    return found


def _leftovers(sale: dict[str, Any]) -> dict[str, Any]:
    """What was charged for instalments is kept as it came: nobody has said what it counts."""
    names = "charged_fees interest additionalInstallmentInterest paymentMethodName fbc picpay"
    is_picpay = text(sale.get("paymentMethod")) == "picpay"
    kept = {k: sale.get(k) for k in names.split() if k != "picpay" or is_picpay}
    return leftovers(kept | {"offer_name": dig(sale, "offer", "name")})
