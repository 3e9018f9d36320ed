"""What the objects of Digital Manager Guru say, in canonical parts; amounts are in major units.

https://docs.digitalmanager.guru/developers/webhook-para-transacoes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, country_code, customer, dialled, email
from drivers.read import (
    currency,
    dig,
    digits,
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
    Address,
    CommerceData,
    Coupon,
    Customer,
    Item,
    Order,
    OrderStatus,
    Partner,
    Payment,
    PaymentMethod,
    Shipment,
    Subscription,
    commerce,
)

# https://docs.digitalmanager.guru/developers/webhook-para-transacoes (payment.method)
METHOD: Mapping[str, PaymentMethod] = {
    "applepay": "wallet",
    "nupay": "wallet",
    "mbway": "wallet",
    "spei": "transfer",
    "sepa": "transfer",
    "multibanco": "transfer",
    "oxxo": "cash",
}
PLAN_STATUS = {"pastdue": "past_due", "past due": "past_due", "trial canceled": "canceled"}


def sale_of(body: dict[str, Any], word: str, status: OrderStatus | None) -> CommerceData:
    """The canonical data of a sale; `status` is what its own word means, None where it is open."""
    order, person = _order(body, word, status), record(body.get("contact"))
    parcels, where = _shipments(body), _address(person)
    coupon = dig(body, "payment", "coupon")
    code = text(dig(coupon, "coupon_code")) or text(dig(coupon, "code")) or text(coupon)
    plan = _plan(body)
    return commerce(
        order=order,
        items=_items(body, order.currency, plan),
        customer=_buyer(person),
        billing_address=where,
        shipping_address=where if parcels else None,
        payments=[_payment(body, order)],
        coupons=[Coupon(code=code, amount=order.discount)] if code else [],
        shipments=parcels,
        subscription=plan,
        tracking=_tracking(body),
        partners=_partners(body, order.currency),
        extra=_extra(body, order.currency),
    )


def charge_of(body: dict[str, Any], word: str) -> CommerceData:
    """The canonical data of a subscription: its charge is an order without an id."""
    invoice, dates = record(body.get("current_invoice")), record(body.get("dates"))
    person, money_is = record(body.get("subscriber")), currency(body.get("currency"), "BRL")
    used = record(body.get("credit_card"))
    order = Order(
        raw_status=text(invoice.get("status")),
        payment_status=text(invoice.get("status")),
        currency=money_is,
        total=money(invoice.get("value"), money_is),
        discount=money(invoice.get("discount_value"), money_is),
        tax=money(invoice.get("tax_value"), money_is),
        created_at=instant(invoice.get("created_at")),
        updated_at=instant(invoice.get("updated_at")),
    )
    plan = Subscription(
        id=text(body.get("id")),
        plan=text(body.get("name")),
        status=PLAN_STATUS.get(word, word),
        cycle=_cycle(invoice, body),
        period_start=instant(first(invoice.get("period_start"), dates.get("cycle_start_date"))),
        period_end=instant(first(invoice.get("period_end"), dates.get("cycle_end_date"))),
        canceled_at=instant(dates.get("canceled_at")),
        cancel_reason=text(body.get("cancel_reason")),
    )
    return commerce(
        order=order,
        items=_items(body, money_is, plan),
        customer=_buyer(person),
        billing_address=_address(person),
        payments=[
            Payment(
                method=method_of(body.get("payment_method"), METHOD),
                status=order.raw_status,
                amount=order.total,
                installments=integer(body.get("next_cycle_installments")),
                card=card(used.get("brand"), first(used.get("last_four"), used.get("last_digits"))),
                gateway=text(body.get("provider")),
            )
        ],
        subscription=plan,
        partners=_partners(body, money_is),
        extra=_ahead(body, money_is),
    )


def _ahead(body: dict[str, Any], money_is: str | None) -> dict[str, Any]:
    """What is said of a subscription's coming charges."""
    return leftovers(
        {
            "cancel_at_cycle_end": True if flag(body.get("cancel_at_cycle_end")) else None,
            "charged_times": body.get("charged_times"),
            "charged_every_days": body.get("charged_every_days"),
            "next_cycle_at": dig(body, "dates", "next_cycle_at"),
            "next_cycle_value": money(body.get("next_cycle_value"), money_is),
            "last_transaction_id": dig(body, "last_transaction", "id"),
        }
    )


def _order(body: dict[str, Any], word: str, status: OrderStatus | None) -> Order:
    paid, dates = record(body.get("payment")), record(body.get("dates"))
    money_is = currency(paid.get("currency"), "BRL")
    total = money(paid.get("total"), money_is)
    updated = instant(dates.get("updated_at"))
    canceled = instant(dates.get("canceled_at"))
    return Order(
        id=text(body.get("id")),
        status=status,
        payment_status=status,
        raw_status=word,
        currency=money_is,
        total=total,
        discount=money(paid.get("discount_value"), money_is),
        shipping=money(dig(body, "shipping", "value"), money_is),
        tax=money(dig(paid, "tax", "value"), money_is),
        interest=money(dig(paid, "installments", "interest"), money_is),
        fee=money(paid.get("marketplace_value"), money_is),
        refunded=total if status == "refunded" else None,  # Guru knows no partial refunds
        created_at=instant(first(dates.get("ordered_at"), dates.get("created_at"))),
        updated_at=updated,
        paid_at=instant(dates.get("confirmed_at")),
        canceled_at=canceled,
        refunded_at=(canceled or updated) if status == "refunded" else None,
        expires_at=instant(dates.get("expires_at")),
        checkout_url=text(body.get("checkout_url")),
        cancel_reason=_reason(paid, status),
    )


def _reason(paid: dict[str, Any], status: OrderStatus | None) -> str | None:
    """Why it was refused or paid back; `refuse_reason` also holds texts of success."""
    told = {"refunded": "refund_reason", "failed": "refuse_reason", "canceled": "refuse_reason"}
    return text(paid.get(told.get(status or "", "")))


def _items(body: dict[str, Any], money_is: str | None, plan: Subscription | None) -> list[Item]:
    is_bump = flag(body.get("is_order_bump"))
    product = record(body.get("product"))
    return [
        Item(
            product_id=text(line.get("id")) or text(line.get("internal_id")),
            variant_id=text(dig(line, "offer", "id")),
            sku=text(line.get("marketplace_id")) or text(line.get("internal_id")),
            name=text(line.get("name")),
            quantity=quantity(line.get("qty")),
            unit_price=money(first(line.get("unit_value"), dig(line, "offer", "value")), money_is),
            total=money(line.get("total_value"), money_is),
            image_url=text(line.get("image_url")),
            type="subscription_plan" if plan else "product",
            offer_type="order_bump" if is_bump or flag(line.get("is_order_bump")) else "main",
        )
        for line in records(body.get("items")) or ([product] if product else [])
    ]


def _buyer(person: dict[str, Any]) -> Customer | None:
    return customer(
        id=person.get("id"),
        name=person.get("name"),
        email_address=person.get("email"),
        company=person.get("company_name"),
        document_number=person.get("doc"),
        phone_number=_phone(person),
        country=country_code(person.get("address_country")) or "BR",
    )


def _phone(person: dict[str, Any]) -> str | None:
    """The local code is the country's; a number long enough for it may repeat it."""
    code, number = digits(person.get("phone_local_code")), text(person.get("phone_number"))
    whole = digits(number) or ""
    national = 10 if code == "55" else 8
    if code and whole.startswith(code) and len(whole) >= len(code) + national:
        return f"+{whole}"
    return dialled(code, None, number)


def _address(person: dict[str, Any]) -> Address | None:
    return address(
        name=person.get("name"),
        street=person.get("address"),
        number=person.get("address_number"),
        complement=person.get("address_comp"),
        district=person.get("address_district"),
        city=person.get("address_city"),
        state=person.get("address_state"),
        country=person.get("address_country"),
        postal_code=person.get("address_zip_code"),
    )


def _payment(body: dict[str, Any], order: Order) -> Payment:
    told = record(body.get("payment"))
    used, slip, code = (record(told.get(k)) for k in ("credit_card", "billet", "pix"))
    return Payment(
        id=text(told.get("marketplace_id")),
        method=method_of(told.get("method"), METHOD),
        status=order.raw_status,
        amount=order.total,
        installments=integer(dig(told, "installments", "qty")),
        card=card(used.get("brand"), first(used.get("last_digits"), used.get("last_four"))),
        boleto=bank_slip(
            slip.get("line"), url=slip.get("url"), due_at=instant(slip.get("expiration_date"))
        ),
        pix=pix(
            dig(code, "qrcode", "signature"),
            dig(code, "qrcode", "url"),
            instant(code.get("expiration_date")),
        ),
        paid_at=order.paid_at,
        gateway=text(told.get("marketplace_name")),
    )


def _shipments(body: dict[str, Any]) -> list[Shipment]:
    told = record(body.get("shipment"))
    parcel = Shipment(
        carrier=text(told.get("carrier")),
        method=text(told.get("service")) or text(dig(body, "shipping", "name")),
        tracking_code=text(told.get("tracking")),
        raw_status=text(told.get("status")),
    )
    return [parcel] if parcel != Shipment() else []


def _cycle(invoice: dict[str, Any], plan: dict[str, Any]) -> int | None:
    return integer(first(invoice.get("cycle"), plan.get("charged_times")))


def _plan(body: dict[str, Any]) -> Subscription | None:
    """The subscription behind a sale; PHP sends [] where there is none."""
    told, invoice = record(body.get("subscription")), record(body.get("invoice"))
    ident = text(told.get("id"))
    if ident is None:
        return None
    word = (text(told.get("last_status")) or "").lower().replace("_", " ")
    return Subscription(
        id=ident,
        plan=text(told.get("name")),
        status=PLAN_STATUS.get(word, word) or None,
        cycle=_cycle(invoice, told),
        period_start=instant(invoice.get("period_start")),
        period_end=instant(invoice.get("period_end")),
        canceled_at=instant(told.get("canceled_at")),
    )


def _tracking(body: dict[str, Any]) -> Any:
    """The documentation calls the object `trackings`, deliveries call it `source`."""
    source, other = record(body.get("source")), record(body.get("trackings"))
    return tracking(
        source,
        other,
        src=first(text(source.get("source")), text(other.get("source"))),
        sck=first(text(source.get("checkout_source")), text(other.get("checkout_source"))),
        ip=dig(body, "infrastructure", "ip"),
        user_agent=dig(body, "infrastructure", "user_agent"),
    )


def _partners(body: dict[str, Any], money_is: str | None) -> list[Partner]:
    owner = record(dig(body, "product", "producer"))
    found = [
        Partner(
            role="producer", name=text(owner.get("name")), email=email(owner.get("contact_email"))
        )
    ]
    allies = [
        Partner(
            role="affiliate",
            id=text(ally.get("id")),
            name=text(ally.get("name")),
            email=email(ally.get("contact_email")),
            amount=money(ally.get("value"), currency(ally.get("currency"), money_is)),
        )
        for ally in records(body.get("affiliations"))
    ]
    return (found if owner else []) + allies


def _extra(body: dict[str, Any], money_is: str | None) -> dict[str, Any]:
    return leftovers(
        {
            "net_amount": money(dig(body, "payment", "net"), money_is),
            "order_bump": True if flag(body.get("is_order_bump")) else None,
            "reissue": True if flag(body.get("is_reissue")) else None,
            "warranty_until": dig(body, "dates", "warranty_until"),
            "invoice_id": dig(body, "invoice", "id"),
            "extras": body.get("extras"),
        }
    )
