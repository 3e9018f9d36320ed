"""Reading WooCommerce orders: REST v3, v2, v1 and the legacy v3, with what Brazilian plugins add.

https://woocommerce.github.io/woocommerce-rest-api-docs/#order-properties
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, method_of, pix
from drivers.people import address, customer, plain
from drivers.read import (
    currency,
    digits,
    first,
    flag,
    instant,
    integer,
    money,
    number,
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
    Payment,
    PaymentMethod,
    Shipment,
    Tracking,
    commerce,
)

# Words inside a gateway's slug or title, the most telling first.
METHOD_WORDS: tuple[tuple[str, PaymentMethod], ...] = (
    ("pix", "pix"),
    ("boleto", "boleto"),
    ("billet", "boleto"),
    ("bank-slip", "boleto"),
    ("debit", "debit_card"),
    ("debito", "debit_card"),
    ("card", "credit_card"),
    ("cartao", "credit_card"),
    ("credit", "credit_card"),
    ("mercado-pago-custom", "credit_card"),
    ("stripe", "credit_card"),
    ("paypal", "wallet"),
    ("wallet", "wallet"),
    ("bacs", "transfer"),
    ("transfer", "transfer"),
    ("deposit", "transfer"),
)
# Slugs of WooCommerce itself, as a whole.
METHODS: Mapping[str, PaymentMethod] = {"cod": "cash", "cheque": "manual", "ppcp": "wallet"}
ATTRIBUTION = "_wc_order_attribution_"
EMV = "000201"  # how every Pix code begins
MOST_INSTALLMENTS = 48
EXTRA = ("created_via", "version", "customer_note", "currency_symbol", "payment_method_title")


def unwrapped(payload: Any) -> dict[str, Any]:
    """The order itself; the legacy version wraps it."""
    body = record(payload)
    return record(body.get("order")) if "order" in body and "id" not in body else body


def _one(thing: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that holds something: each version has its own names."""
    return first(*(thing.get(name) for name in names))


def moment(order: Mapping[str, Any], *names: str) -> datetime | None:
    """The first of these times: `*_gmt` is UTC without saying so, the plain one is the site's."""
    for name in names:
        found = instant(order.get(f"{name}_gmt"), "UTC") or instant(order.get(name))
        if found:
            return found
    return None


def meta(order: Mapping[str, Any]) -> dict[str, Any]:
    """What plugins keep with the order, by key; of a repeated key the last counts."""
    return {str(m.get("key")): m.get("value") for m in records(order.get("meta_data"))}


def is_unpaid(order: Mapping[str, Any]) -> bool:
    """Whether the order says itself that no money came (cash on delivery)."""
    told = [order[name] for name in ("date_paid_gmt", "date_paid") if name in order]
    legacy = flag(record(order.get("payment_details")).get("paid"))
    return (bool(told) and not any(told)) or legacy is False


def refunded(order: Mapping[str, Any]) -> int | None:
    """What came back so far; refunds are negative. None before the first."""
    money_is = currency(order.get("currency"))
    told = [money(refund.get("total"), money_is) for refund in records(order.get("refunds"))]
    return sum(abs(amount or 0) for amount in told) if told else None


def order_data(order: Mapping[str, Any], head: Order) -> CommerceData:
    """Everything an order tells, around its `head`."""
    plugins, billing = (
        meta(order),
        record(first(order.get("billing"), order.get("billing_address"))),
    )
    shipping = first(order.get("shipping"), order.get("shipping_address"))
    return commerce(
        order=head,
        items=[item(line, head.currency) for line in records(order.get("line_items"))],
        customer=buyer(order, billing, plugins),
        shipping_address=place(shipping),
        billing_address=place(billing),
        payments=payments(order, head, plugins),
        coupons=[
            Coupon(
                code=text(line.get("code")),
                amount=money(_one(line, "discount", "amount"), head.currency),
            )
            for line in records(order.get("coupon_lines"))
        ],
        shipments=list(shipments(order, plugins)),
        tracking=visit(order, plugins),
        extra=leftovers({name: order.get(name) for name in EXTRA}),
    )


def head_of(order: Mapping[str, Any], **known: Any) -> Order:
    """The order itself; `known`: what its status adds."""
    money_is = currency(order.get("currency"))
    told: dict[str, Any] = {
        "id": text(order.get("id")),
        "number": text(order.get("number")) or text(order.get("order_number")),
        "raw_status": text(order.get("status")),
        "currency": money_is,
        "total": money(order.get("total"), money_is),
        "subtotal": _subtotal(order, money_is),
        "discount": money(
            first(order.get("discount_total"), order.get("total_discount")), money_is
        ),
        "shipping": money(
            first(order.get("shipping_total"), order.get("total_shipping")), money_is
        ),
        "tax": money(order.get("total_tax"), money_is),
        "fee": _sum(order.get("fee_lines"), "total", money_is),
        "refunded": refunded(order),
        "created_at": moment(order, "date_created", "created_at"),
        "updated_at": moment(order, "date_modified", "updated_at"),
        "paid_at": moment(order, "date_paid"),
        "url": text(order.get("view_order_url")),
        "checkout_url": text(order.get("payment_url")),
        "note": first(text(order.get("customer_note")), text(order.get("note"))),
        "parent_id": _present(order.get("parent_id")),
    }
    return Order(**told | known)


def _present(value: Any) -> str | None:
    """An id; WordPress writes 0 for none."""
    found = text(value)
    return None if found == "0" else found


def _sum(lines: Any, name: str, money_is: str | None) -> int | None:
    told = [money(line.get(name), money_is) for line in records(lines)]
    known = [amount for amount in told if amount is not None]
    return sum(known) if known else None


def _subtotal(order: Mapping[str, Any], money_is: str | None) -> int | None:
    legacy = money(order.get("subtotal"), money_is)
    return _sum(order.get("line_items"), "subtotal", money_is) if legacy is None else legacy


def item(line: Mapping[str, Any], money_is: str | None) -> Item:
    """A line. Its totals leave out the taxes; its `price` is the one after discounts."""
    count = quantity(line.get("quantity"))
    before = _with_tax(line, "subtotal")
    unit = before / Decimal(str(count)) if before is not None else number(line.get("price"))
    total = money(_with_tax(line, "total"), money_is)
    gross = money(before, money_is)
    return Item(
        id=text(line.get("id")),
        product_id=_present(line.get("product_id")),
        variant_id=_present(line.get("variation_id")),
        sku=text(line.get("sku")),
        name=text(line.get("name")),
        quantity=count,
        unit_price=money(unit, money_is),
        total=total,
        discount=gross - total if gross is not None and total is not None else None,
        image_url=text(record(line.get("image")).get("src")),
    )


def _with_tax(line: Mapping[str, Any], name: str) -> Decimal | None:
    net = number(line.get(name))
    return None if net is None else net + (number(line.get(f"{name}_tax")) or 0)


def buyer(
    order: Mapping[str, Any], billing: Mapping[str, Any], plugins: Mapping[str, Any]
) -> Customer | None:
    """The customer, with what Extra Checkout Fields for Brazil asks for.

    https://wordpress.org/plugins/woocommerce-extra-checkout-fields-for-brazil/
    """
    is_company = text(billing.get("persontype")) in {"J", "2"}
    kinds = ("cnpj", "cpf") if is_company else ("cpf", "cnpj")
    told = [billing.get(kind) for kind in kinds] + [plugins.get(f"_billing_{k}") for k in kinds]
    return customer(
        id=_present(order.get("customer_id")),
        first_name=billing.get("first_name"),
        last_name=billing.get("last_name"),
        email_address=billing.get("email"),
        company=billing.get("company"),
        document_number=first(*told),
        phone_number=first(
            billing.get("cellphone"), plugins.get("_billing_cellphone"), billing.get("phone")
        ),
        country=text(billing.get("country")) or "BR",
    )


def place(raw: Any) -> Address | None:
    """A billing or shipping address."""
    told = record(raw)
    names = (text(told.get("first_name")), text(told.get("last_name")))
    return address(
        name=" ".join(name for name in names if name),
        street=told.get("address_1"),
        number=told.get("number"),
        complement=told.get("address_2"),
        district=told.get("neighborhood"),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=told.get("postcode"),
    )


def method_in(slug: str | None, title: str | None) -> PaymentMethod | None:
    """The payment method that a gateway's slug and title give away."""
    if slug is not None and slug in METHODS:
        return METHODS[slug]
    words = plain(f"{slug or ''} {title or ''}").strip()
    found = next((method for word, method in METHOD_WORDS if word in words), None)
    return found or method_of(words)


def payments(order: Mapping[str, Any], head: Order, plugins: Mapping[str, Any]) -> list[Payment]:
    """How it is paid; voucher, code and installments are where each gateway's plugin keeps them."""
    legacy = record(order.get("payment_details"))
    slug = text(first(order.get("payment_method"), legacy.get("method_id")))
    title = text(first(order.get("payment_method_title"), legacy.get("method_title")))
    if slug is None and title is None:
        return []
    texts = [(k.lower(), v.strip()) for k, v in plugins.items() if isinstance(v, str)]
    boletos = [v for k, v in texts if "boleto" in k or "billet" in k]
    codes = [v for _, v in texts if v.startswith(EMV)]
    pictures = [v for k, v in texts if "pix" in k and _is_url(v)]
    return [
        Payment(
            id=text(order.get("transaction_id")),
            method=method_in(slug, title),
            status=head.raw_status,
            amount=head.total,
            installments=_installments(plugins),
            boleto=bank_slip(*boletos, url=next(filter(_is_url, boletos), None)),
            pix=pix(first(*codes), first(*pictures)),
            paid_at=head.paid_at,
            gateway=slug,
        )
    ]


def _is_url(value: str) -> bool:
    return value.startswith(("https://", "http://"))


def _installments(plugins: Mapping[str, Any]) -> int | None:
    told = [v for k, v in plugins.items() if "installment" in k.lower() or "parcela" in k.lower()]
    counts = [integer(v) for v in told if isinstance(v, str | int)]
    return next((n for n in counts if n and 0 < n <= MOST_INSTALLMENTS), None)


def shipments(order: Mapping[str, Any], plugins: Mapping[str, Any]) -> list[Shipment]:
    """The parcels that tracking plugins know of, else only how it will be sent."""
    lines = records(order.get("shipping_lines"))
    method = text(lines[0].get("method_title")) if lines else None
    found = [
        Shipment(
            carrier=text(_one(parcel, "tracking_provider", "custom_tracking_provider")),
            tracking_code=text(parcel.get("tracking_number")),
            tracking_url=text(_one(parcel, "custom_tracking_link", "tracking_link")),
        )
        for parcel in records(plugins.get("_wc_shipment_tracking_items"))
    ]
    sent = _codes(plugins.get("_correios_tracking_code"))
    found += [Shipment(carrier="Correios", tracking_code=code) for code in sent]
    other = [] if found else _codes(plugins.get("_tracking_number"))
    found += [Shipment(tracking_code=code) for code in other]
    found = found or ([Shipment()] if method else [])
    for parcel in found:
        parcel.method = method
    return found


def _codes(value: Any) -> list[str]:
    told = value if isinstance(value, list) else [value]
    words = [word.strip() for part in told for word in (text(part) or "").split(",")]
    return [word for word in words if digits(word)]


def visit(order: Mapping[str, Any], plugins: Mapping[str, Any]) -> Tracking | None:
    """Where the buyer came from: WooCommerce's own attribution, then other plugins'."""
    own = {k.removeprefix(ATTRIBUTION): v for k, v in plugins.items() if k.startswith(ATTRIBUTION)}
    return tracking(
        own,
        text(own.get("session_entry")),
        {k.removeprefix("_"): v for k, v in plugins.items()},
        ip=_one(order, "customer_ip_address", "customer_ip"),
        user_agent=order.get("customer_user_agent"),
    )
