"""What a Kiwify order says, in canonical parts. Its dates name no zone: `zone` is what we assume.

https://docs.kiwify.com.br/api-reference/webhooks/receiving
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from drivers.base import leftovers
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, customer, email
from drivers.read import (
    cents,
    currency,
    dig,
    first,
    flag,
    instant,
    integer,
    record,
    records,
    text,
    tracking,
)
from schemas.order import (
    Address,
    CommerceData,
    Customer,
    Item,
    Order,
    OrderStatus,
    Partner,
    Payment,
    Subscription,
    commerce,
)

ROLES: tuple[Literal["producer", "coproducer", "affiliate"], ...] = (
    "producer",
    "coproducer",
    "affiliate",
)


def order_data(
    body: dict[str, Any], order: Order, plan: Subscription | None, zone: str
) -> CommerceData:
    who, source = record(body.get("Customer")), record(body.get("TrackingParameters"))
    where = _address(who)
    return commerce(
        order=order,
        items=[_item(body, order, plan)],
        customer=buyer(who),
        billing_address=where,
        shipping_address=where if body.get("product_type") == "physical" else None,
        payments=[_payment(body, order, zone)],
        subscription=plan,
        tracking=tracking(source, ip=who.get("ip")),
        partners=_partners(body),
        extra=_leftovers(body, source),
    )


def order_part(body: dict[str, Any], status: OrderStatus | None, zone: str) -> Order:
    money = record(body.get("Commissions"))
    money_is = currency(first(money.get("currency"), money.get("product_base_price_currency")))
    total = cents(money.get("charge_amount"))
    base = _amount(money, "product_base_price", money_is)
    return Order(
        id=text(body.get("order_id")),
        number=text(body.get("order_ref")),
        status=status,
        payment_status=status,
        raw_status=text(body.get("order_status")),
        currency=money_is,
        total=total,
        subtotal=base,
        interest=total - base if total and base and total > base else None,
        tax=cents(money.get("sale_tax_amount")),
        fee=_amount(money, "kiwify_fee", money_is),
        refunded=total if status == "refunded" else None,
        created_at=instant(body.get("created_at"), zone),
        updated_at=instant(body.get("updated_at"), zone),
        paid_at=instant(_charge(body).get("created_at"))
        or instant(body.get("approved_date"), zone),
        refunded_at=instant(body.get("refunded_at"), zone),
        expires_at=_expiry(body, zone),
        cancel_reason=text(body.get("card_rejection_reason")),
    )


def _amount(money: dict[str, Any], name: str, money_is: str | None) -> int | None:
    """An amount in the order's currency; one in another currency cannot stand beside it."""
    same = currency(money.get(f"{name}_currency"), money_is) == money_is
    return cents(money.get(name)) if same else None


def _charge(body: dict[str, Any]) -> dict[str, Any]:
    """The subscription's entry for this order, whose time is exact and has a zone."""
    completed = records(dig(body, "Subscription", "charges", "completed"))
    return next((c for c in completed if c.get("order_id") == body.get("order_id")), {})


def _expiry(body: dict[str, Any], zone: str) -> datetime | None:
    return instant(first(body.get("pix_expiration"), body.get("boleto_expiry_date")), zone)


def _item(body: dict[str, Any], order: Order, plan: Subscription | None) -> Item:
    product = record(body.get("Product"))
    is_bump = flag(first(product.get("is_order_bump"), body.get("is_order_bump")))
    return Item(
        id=text(product.get("product_id")),
        product_id=text(product.get("product_id")),
        variant_id=text(product.get("product_offer_id")),
        name=text(product.get("product_name")),
        unit_price=order.subtotal,
        total=order.subtotal,
        type="subscription_plan" if plan else "product",
        offer_type="order_bump" if is_bump else "main",
    )


def buyer(who: dict[str, Any]) -> Customer | None:
    return customer(
        name=first(who.get("full_name"), who.get("name")),
        email_address=who.get("email"),
        document_number=first(*(who.get(k) for k in ("CPF", "cpf", "cnpj", "CNPJ"))),
        phone_number=first(who.get("mobile"), who.get("phone")),
        country=(text(who.get("country")) or "BR").upper(),
    )


def _address(who: dict[str, Any]) -> Address | None:
    return address(
        name=who.get("full_name"),
        street=who.get("street"),
        number=who.get("number"),
        complement=who.get("complement"),
        district=who.get("neighborhood"),
        city=who.get("city"),
        state=who.get("state"),
        country=who.get("country"),
        postal_code=who.get("zipcode"),
    )


def _payment(body: dict[str, Any], order: Order, zone: str) -> Payment:
    ends = _expiry(body, zone)
    return Payment(
        method=method_of(body.get("payment_method")),
        status=order.raw_status,
        amount=order.total,
        installments=integer(body.get("installments")),
        card=card(body.get("card_type"), body.get("card_last4digits")),
        boleto=bank_slip(body.get("boleto_barcode"), url=body.get("boleto_URL"), due_at=ends),
        pix=pix(body.get("pix_code"), expires_at=ends),
        paid_at=order.paid_at,
        gateway="kiwify",
    )


def subscription(body: dict[str, Any]) -> Subscription | None:
    told = record(body.get("Subscription"))
    ident = text(first(told.get("id"), body.get("subscription_id")))
    if ident is None:
        return None
    ends = first(dig(told, "customer_access", "access_until"), told.get("next_payment"))
    return Subscription(
        id=ident,
        plan=text(dig(told, "plan", "name")),
        status=text(told.get("status")),
        cycle=len(records(dig(told, "charges", "completed"))) or None,
        period_end=instant(ends),
    )


def _partners(body: dict[str, Any]) -> list[Partner]:
    return [
        Partner(
            role=role,
            id=text(first(told.get("affiliate_id"), told.get("id"))),
            name=text(told.get("custom_name")),
            email=email(told.get("email")),
            amount=cents(told.get("value")),
        )
        for told in records(dig(body, "Commissions", "commissioned_stores"))
        for role in ROLES
        if told.get("type") == role
    ]


_KEPT = (
    "sale_type",
    "product_type",
    "store_id",
    "created_at",
    "updated_at",
    "approved_date",
    "refunded_at",
)


def _leftovers(body: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """Among them the dates as they came: nobody has said which zone they are in."""
    kept = {k: body.get(k) for k in _KEPT} | {k: source.get(k) for k in ("s1", "s2", "s3")}
    kept["net"] = dig(body, "Commissions", "my_commission")
    kept["subscription_started_at"] = dig(body, "Subscription", "start_date")
    return leftovers(kept)
