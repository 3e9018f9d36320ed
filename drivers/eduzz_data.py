"""What Eduzz's invoices and contracts say, in canonical parts. Money is in major units, time UTC.

https://github.com/eduzz/eduzz-webhook-docs/tree/main/events/myeduzz
"""

from __future__ import annotations

from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, method_of
from drivers.people import address, customer, dialled, email
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


def amount(value: Any, money_is: str | None) -> int | None:
    """Minor units of `{currency, value}`, or of a bare number."""
    return money(value.get("value") if isinstance(value, dict) else value, money_is)


def phone_of(value: Any) -> str | None:
    """A number from text, or from its parts."""
    if not isinstance(value, dict):
        return text(value)
    return dialled(value.get("countryCode"), value.get("areaCode"), value.get("number"))


def invoice_order(data: dict[str, Any], status: OrderStatus) -> Order:
    """The order of an invoice: what was paid is its total, as soon as something was."""
    told = first(dig(data, "paid", "currency"), dig(data, "price", "currency"))
    money_is = currency(told, "BRL")
    price, paid = amount(data.get("price"), money_is), amount(data.get("paid"), money_is)
    total = price if paid is None or (paid == 0 and status in {"created", "pending"}) else paid
    off = [o for o in _discounts(data, money_is) if o]
    due = None if price is None else price - sum(off)
    back = amount(dig(data, "refund", "value"), money_is) if status == "refunded" else None
    is_part = back is not None and total is not None and 0 < back < total
    return Order(
        id=text(data.get("id")),
        number=text(dig(data, "transaction", "id")),
        status="partially_refunded" if is_part else status,
        payment_status="partially_refunded" if is_part else status,
        raw_status=text(data.get("status")),
        currency=money_is,
        total=total,
        subtotal=price,
        discount=sum(off) if off else None,
        interest=total - due if total and due and total > due else None,
        fee=amount(dig(data, "fees", "total"), money_is),
        refunded=(back or total) if status == "refunded" else None,
        created_at=instant(data.get("createdAt"), "UTC"),
        updated_at=instant(data.get("updatedAt"), "UTC"),
        paid_at=instant(data.get("paidAt"), "UTC"),
        canceled_at=instant(data.get("canceledAt"), "UTC"),
        refunded_at=instant(
            first(data.get("refundedAt"), dig(data, "refund", "refundedAt")), "UTC"
        ),
        expires_at=instant(data.get("dueDate"), "UTC"),
        checkout_url=text(data.get("checkoutUrl")),
        cancel_reason=text(first(dig(data, "refund", "reason"), data.get("reason"))),
    )


def _discounts(data: dict[str, Any], money_is: str | None) -> list[int | None]:
    lines = records(data.get("items"))
    return [amount(dig(line, "coupon", "discount"), money_is) for line in lines]


def invoice_data(data: dict[str, Any], order: Order, plan: Subscription | None) -> CommerceData:
    """The snapshot of an invoice."""
    who, lines = record(data.get("buyer")), records(data.get("items"))
    return commerce(
        order=order,
        items=[item(line, order.currency) for line in lines],
        customer=buyer(who),
        billing_address=_address(who),
        payments=[_payment(data, order)],
        coupons=_coupons(lines, order.currency),
        subscription=plan,
        tracking=_tracking(data),
        partners=_partners(data, order.currency),
        extra=_leftovers(data, who),
    )


def cart_ids(data: dict[str, Any]) -> list[str]:
    """The products of a cart by their ids alone."""
    told = data.get("productId")
    listed = [line.get("productId") for line in records(data.get("items"))]
    return [i for i in map(text, told if isinstance(told, list) else [told, *listed]) if i]


def item(line: dict[str, Any], money_is: str | None) -> Item:
    """A line of an invoice or of a cart."""
    unit = amount(line.get("price"), money_is)
    off = amount(dig(line, "coupon", "discount"), money_is) or None
    kind = (text(line.get("billingType")) or "").lower()
    return Item(
        id=text(line.get("productId")),
        product_id=text(line.get("productId")),
        sku=text(line.get("skuReference")),
        name=text(line.get("name")),
        unit_price=unit,
        total=None if unit is None else unit - (off or 0),
        discount=off,
        type="subscription_plan" if kind.startswith(("subscription", "recurr")) else "product",
        offer_type="order_bump" if flag(line.get("isBump")) else "main",
    )


def _coupons(lines: list[dict[str, Any]], money_is: str | None) -> list[Coupon]:
    found = [record(line.get("coupon")) for line in lines]
    return [
        Coupon(code=text(told.get("key")), amount=amount(told.get("discount"), money_is))
        for told in found
        if text(told.get("key"))
    ]


def buyer(who: dict[str, Any]) -> Customer | None:
    """The buyer of an invoice, a contract or a cart; a mobile number comes first."""
    phones = (phone_of(who.get(name)) for name in ("cellphone", "phone", "phone2"))
    return customer(
        id=who.get("id"),
        name=who.get("name"),
        email_address=who.get("email"),
        document_number=who.get("document"),
        phone_number=first(*phones),
        country=text(dig(who, "address", "country")) or "BR",
    )


def _address(who: dict[str, Any]) -> Address | None:
    told = record(who.get("address"))
    return address(
        name=who.get("name"),
        street=told.get("street"),
        number=told.get("number"),
        complement=told.get("complement"),
        district=told.get("neighborhood"),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=told.get("zipCode"),
    )


def _payment(data: dict[str, Any], order: Order) -> Payment:
    method, url = method_of(data.get("paymentMethod")), data.get("bankslipUrl")
    link = first(url, data.get("billetUrl")) if method == "boleto" else url
    return Payment(
        id=text(dig(data, "transaction", "id")),
        method=method,
        status=order.raw_status,
        amount=order.total,
        installments=integer(data.get("installments")),
        boleto=bank_slip(data.get("barcode"), url=link, due_at=order.expires_at),
        paid_at=order.paid_at,
        gateway="eduzz",
    )


def _tracking(data: dict[str, Any]) -> Any:
    """Consumers agree that the second tracker is src and the third sck."""
    utm = record(data.get("utm"))
    return tracking(
        {
            f"utm_{name}": utm.get(name)
            for name in ("source", "medium", "campaign", "content", "term")
        },
        src=dig(data, "tracker", "code2"),
        sck=dig(data, "tracker", "code3"),
    )


def _partners(data: dict[str, Any], money_is: str | None) -> list[Partner]:
    gains, producer, ally = (record(data.get(k)) for k in ("gains", "producer", "affiliate"))
    found = (
        Partner(
            role="producer",
            id=text(producer.get("id")),
            name=text(producer.get("name")),
            email=email(producer.get("email")),
            amount=amount(gains.get("producer"), money_is),
        ),
        Partner(role="coproducer", amount=amount(gains.get("coproducer"), money_is)),
        Partner(
            role="affiliate",
            id=text(ally.get("id")),
            name=text(ally.get("name")),
            email=email(ally.get("email")),
            amount=amount(gains.get("affiliate"), money_is),
        ),
    )
    return [p for p in found if p.id or p.name or p.amount]


def _leftovers(data: dict[str, Any], who: dict[str, Any]) -> dict[str, Any]:
    student = record(data.get("student"))
    same = email(student.get("email")) == email(who.get("email"))
    return leftovers(
        {
            "transaction_key": dig(data, "transaction", "key"),
            "tracker": dig(data, "tracker", "code1"),
            "recovery_url": data.get("billetUrl"),
            "chargeback": data.get("chargeback"),
            "refund_type": dig(data, "refund", "type"),
            "student": None if same else {k: student.get(k) for k in ("id", "name", "email")},
        }
    )


def contract(told: dict[str, Any]) -> Subscription | None:
    """A subscription from a contract; None without its id."""
    if text(told.get("id")) is None:
        return None
    recurrence = record(told.get("recurrence"))
    return Subscription(
        id=text(told.get("id")),
        status=text(told.get("status")),
        cycle=integer(dig(recurrence, "charges", "current")) or None,
        period_start=instant(recurrence.get("currentDue"), "UTC"),
        period_end=instant(recurrence.get("nextDue"), "UTC"),
    )


def contract_data(data: dict[str, Any], plan: Subscription) -> CommerceData:
    """The snapshot of a contract: what a cycle costs is its order's total."""
    told, products = record(data.get("contract")), records(data.get("products"))
    price = record(dig(told, "recurrence", "price"))
    money_is = currency(price.get("currency"), "BRL")
    who, method = record(data.get("customer")), method_of(dig(told, "payment", "method"))
    plan.plan = next(
        (n for p in products if (n := text(p.get("plan")) or text(p.get("name")))), None
    )
    lines = ({**p, "productId": p.get("id"), "billingType": "subscription"} for p in products)
    return commerce(
        order=Order(
            currency=money_is,
            total=amount(price, money_is),
            created_at=instant(told.get("createdAt"), "UTC"),
            updated_at=instant(told.get("updatedAt"), "UTC"),
        ),
        items=[item(line, money_is) for line in lines],
        customer=buyer(who),
        payments=[Payment(method=method, gateway="eduzz")] if method else [],
        subscription=plan,
        partners=_partners(data, money_is),
        extra=leftovers({"frequency": dig(told, "recurrence", "frequency")}),
    )
