"""What the `data` of a Hotmart delivery (version 2.0.0) says, in canonical parts.

https://developers.hotmart.com/docs/pt-BR/2.0.0/webhook/purchase-webhook/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, method_of, pix
from drivers.people import address, customer, dialled, phone
from drivers.read import (
    currency,
    dig,
    first,
    flag,
    instant,
    integer,
    money,
    record,
    records,
    text,
    tracking,
)
from schemas.order import (
    Address,
    CommerceData,
    Coupon,
    Customer,
    Item,
    Order,
    OrderStatus,
    Partner,
    Payment,
    Subscription,
    commerce,
)


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery in the shape of 2.0.0, whichever version brought it."""

    word: str
    data: dict[str, Any]
    id: str | None = None
    at: datetime | None = None


def order_data(told: Told, status: OrderStatus | None, plan: Subscription | None) -> CommerceData:
    """The order's snapshot, for every event about a purchase."""
    data = told.data
    purchase, who = record(data.get("purchase")), record(data.get("buyer"))
    order, where = _order(told, purchase, status), _address(who)
    is_physical = flag(dig(data, "product", "is_physical_product"))
    code = text(dig(purchase, "offer", "coupon_code"))
    return commerce(
        order=order,
        items=[_item(data, purchase, order, plan)],
        customer=buyer(who, purchase),
        billing_address=where,
        shipping_address=where if is_physical else None,
        payments=_payments(purchase, order),
        coupons=[Coupon(code=code, amount=order.discount)] if code else [],
        subscription=plan,
        tracking=tracking(purchase.get("origin"), {"sck": purchase.get("sckPaymentLink")}),
        partners=_partners(data, order.currency),
        extra=_leftovers(data, purchase),
    )


def _amount(price: Any, money_is: str | None) -> int | None:
    """A price in the order's currency; one in another currency cannot stand beside it."""
    told = record(price)
    same = currency(told.get("currency_value"), money_is) == money_is
    return money(told.get("value"), money_is) if same else None


def _above(larger: int | None, smaller: int | None) -> int | None:
    return larger - smaller if larger and smaller is not None and larger > smaller else None


def _order(told: Told, purchase: dict[str, Any], status: OrderStatus | None) -> Order:
    money_is = currency(
        first(
            dig(purchase, "full_price", "currency_value"), dig(purchase, "price", "currency_value")
        )
    )
    net, full = (_amount(purchase.get(name), money_is) for name in ("price", "full_price"))
    total = net if full is None else full
    fees = [c for c in records(told.data.get("commissions")) if c.get("source") == "MARKETPLACE"]
    return Order(
        id=text(purchase.get("transaction")),
        status=status,
        payment_status=status,
        raw_status=text(purchase.get("status")) or told.word,
        currency=money_is,
        total=total,
        subtotal=net,
        discount=_above(_amount(purchase.get("original_offer_price"), money_is), net),
        interest=_above(total, net),
        fee=_amount(fees[0], money_is) if fees else None,
        refunded=total if status == "refunded" else None,  # Hotmart knows no partial refunds
        created_at=instant(purchase.get("order_date")),
        updated_at=told.at,
        paid_at=instant(purchase.get("approved_date")),
        canceled_at=told.at if status == "canceled" else None,
        refunded_at=told.at if status == "refunded" else None,
        expires_at=instant(dig(purchase, "payment", "pix_expiration_date")),
        cancel_reason=text(dig(purchase, "payment", "refusal_reason")),
        parent_id=text(dig(purchase, "order_bump", "parent_purchase_transaction")),
    )


def _item(
    data: dict[str, Any], purchase: dict[str, Any], order: Order, plan: Subscription | None
) -> Item:
    product = record(data.get("product"))
    listed = _amount(purchase.get("original_offer_price"), order.currency)
    return Item(
        id=text(product.get("id")),
        product_id=text(product.get("id")),
        variant_id=text(dig(purchase, "offer", "code")),
        name=text(product.get("name")),
        unit_price=listed if order.discount else order.subtotal,
        total=order.subtotal,
        discount=order.discount,
        type="subscription_plan" if plan else "product",
        offer_type="order_bump" if flag(dig(purchase, "order_bump", "is_order_bump")) else "main",
    )


def buyer(who: dict[str, Any], place: dict[str, Any]) -> Customer | None:
    """The buyer; `place` holds the country of the checkout."""
    number = first(text(who.get("checkout_phone")), text(who.get("phone")))
    country = first(
        text(dig(who, "address", "country_iso")), text(dig(place, "checkout_country", "iso")), "BR"
    )
    # The number may or may not repeat the area code: it is put in front only where that helps.
    whole = dialled(None, who.get("checkout_phone_code"), number)
    helps = phone(number, country) is None and phone(whole, country) is not None
    return customer(
        name=who.get("name"),
        first_name=who.get("first_name"),
        last_name=who.get("last_name"),
        email_address=who.get("email"),
        document_number=who.get("document"),
        phone_number=whole if helps else number,
        country=country,
    )


def _address(who: dict[str, Any]) -> Address | None:
    told = record(who.get("address"))
    return address(
        name=who.get("name"),
        street=told.get("address"),
        number=told.get("number"),
        complement=told.get("complement"),
        district=told.get("neighborhood"),
        city=told.get("city"),
        state=told.get("state"),
        country=first(told.get("country_iso"), told.get("country")),
        postal_code=told.get("zipcode"),
    )


def _payments(purchase: dict[str, Any], order: Order) -> list[Payment]:
    told = record(purchase.get("payment"))
    expires = instant(told.get("pix_expiration_date"))
    return [
        Payment(
            method=method_of(told.get("type")),
            status=order.raw_status,
            amount=order.total,
            installments=integer(told.get("installments_number")),
            boleto=bank_slip(told.get("billet_barcode"), url=told.get("billet_url")),
            pix=pix(told.get("pix_code"), told.get("pix_qrcode"), expires),
            paid_at=order.paid_at,
            gateway="hotmart",
        )
    ]


def _partners(data: dict[str, Any], money_is: str | None) -> list[Partner]:
    """Producer, coproducer and affiliate; an empty name or code means that there is none."""
    share = {text(c.get("source")): _amount(c, money_is) for c in records(data.get("commissions"))}
    ally = next((a for a in records(data.get("affiliates")) if text(a.get("affiliate_code"))), {})
    found = (
        Partner(
            role="producer",
            name=text(dig(data, "producer", "name")),
            amount=share.get("PRODUCER"),
        ),
        Partner(role="coproducer", amount=share.get("COPRODUCER")),
        Partner(
            role="affiliate",
            id=text(ally.get("affiliate_code")),
            name=text(ally.get("name")),
            amount=share.get("AFFILIATE"),
        ),
    )
    return [p for p in found if p.id or p.name or p.amount]


def _leftovers(data: dict[str, Any], purchase: dict[str, Any]) -> dict[str, Any]:
    kept = {
        k: purchase.get(k) for k in ("business_model", "invoice_by", "is_funnel", "event_tickets")
    }
    kept["xcod"] = dig(purchase, "origin", "xcod")
    kept["product_ucode"] = dig(data, "product", "ucode")
    kept["warranty_date"] = dig(data, "product", "warranty_date")
    kept["bundle"] = dig(data, "product", "content", "products")
    kept["producer_document"] = dig(data, "producer", "document")
    return leftovers(kept)


def subscription(data: dict[str, Any]) -> Subscription | None:
    """The subscription, wherever this event tells of it; None when there is none."""
    told, purchase = record(data.get("subscription")), record(data.get("purchase"))
    plans = [p for p in records(data.get("plans")) if flag(p.get("current"))]
    plan = plans[0] if plans else record(first(told.get("plan"), data.get("plan")))
    code = first(
        text(dig(told, "subscriber", "code")),
        text(told.get("subscriber_code")),
        text(dig(data, "subscriber", "code")),
    )
    if code is None and not plan:
        return None
    upcoming = (
        *(place.get("date_next_charge") for place in (purchase, data, told)),
        told.get("dateNextCharge"),
    )
    return Subscription(
        id=code,
        plan=first(text(plan.get("name")), text(plan.get("id"))),
        status=(text(told.get("status")) or "").lower() or None,
        cycle=integer(first(purchase.get("recurrence_number"), told.get("recurrenceNumber"))),
        period_end=instant(first(*upcoming)),
        canceled_at=instant(data.get("cancellation_date")),
    )


def plan_item(data: dict[str, Any], plan: Subscription) -> Item:
    """What is subscribed to, in an event that is about no purchase."""
    product = record(first(data.get("product"), dig(data, "subscription", "product")))
    ident, name = text(product.get("id")), text(product.get("name")) or plan.plan
    return Item(id=ident, product_id=ident, name=name, type="subscription_plan")


def subscriber(data: dict[str, Any]) -> Customer | None:
    """Who subscribes, in an event that is about no purchase."""
    who = record(data.get("subscriber")) or record(dig(data, "subscription", "user"))
    told = record(who.get("phone"))
    cell = dialled(None, told.get("dddCell"), told.get("cell"))
    landline = dialled(None, told.get("dddPhone"), told.get("phone"))
    return customer(
        name=who.get("name"),
        email_address=who.get("email"),
        phone_number=first(cell, landline, text(who.get("phone"))),
    )
