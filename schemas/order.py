"""The canonical `data` of commerce events: one shape for every provider.

Money is integer minor units of `currency`; times are aware datetimes in UTC; ids are strings; what
the provider did not tell is None (values and objects) or [] (lists). Plain dataclasses, because
every delivery builds a dozen of them, and without slots, because orjson writes those three times as
fast; pydantic reads the same classes to make `/schemas/{event}.json` and to validate in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic wants this one below Python 3.12

OrderStatus = Literal[
    "created",
    "pending",
    "paid",
    "failed",
    "canceled",
    "expired",
    "refunded",
    "partially_refunded",
    "chargeback",
]
PaymentMethod = Literal[
    "credit_card",
    "debit_card",
    "pix",
    "boleto",
    "transfer",
    "wallet",
    "cash",
    "manual",
    "other",
]
ItemType = Literal["product", "subscription_plan", "service"]
OfferType = Literal["main", "order_bump", "upsell", "downsell"]
ReturnType = Literal["refund", "exchange", "mixed", "no_refund"]


@dataclass(kw_only=True)
class Order:
    """The order: ids, three axes of status, amounts, the times of its life."""

    id: str | None = None
    number: str | None = None
    status: OrderStatus | None = None
    payment_status: str | None = None
    fulfillment_status: str | None = None
    raw_status: str | None = None
    currency: str | None = None
    total: int | None = None
    subtotal: int | None = None
    discount: int | None = None
    shipping: int | None = None
    tax: int | None = None
    interest: int | None = None
    fee: int | None = None
    refunded: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    paid_at: datetime | None = None
    canceled_at: datetime | None = None
    refunded_at: datetime | None = None
    expires_at: datetime | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    url: str | None = None
    checkout_url: str | None = None
    cancel_reason: str | None = None
    note: str | None = None
    parent_id: str | None = None


@dataclass(kw_only=True)
class Checkout:
    """A checkout session; in order.* events only its id and URL."""

    id: str | None = None
    url: str | None = None
    currency: str | None = None
    total: int | None = None
    step: str | None = None
    abandoned_at: datetime | None = None
    raw_status: str | None = None


@dataclass(kw_only=True)
class Item:
    """One line. `quantity` is above zero; `unit_price` before discounts."""

    id: str | None = None
    product_id: str | None = None
    variant_id: str | None = None
    sku: str | None = None
    name: str | None = None
    quantity: int | float = 1
    unit_price: int | None = None
    total: int | None = None
    discount: int | None = None
    image_url: str | None = None
    type: ItemType = "product"
    offer_type: OfferType = "main"


@dataclass(kw_only=True)
class Document:
    """A tax id without punctuation; `valid` says whether its check digits hold."""

    type: Literal["cpf", "cnpj", "other"]
    value: str
    valid: bool


@dataclass(kw_only=True)
class Customer:
    """The buyer. `email` trimmed, lower case; `phone` E.164 or None, and then `phone_raw` has what
    was sent.
    """

    id: str | None = None
    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    company: str | None = None
    document: Document | None = None
    phone: str | None = None
    phone_raw: str | None = None


@dataclass(kw_only=True)
class Address:
    """`country`: ISO alpha-2; in Brazil `state` is the UF, `postal_code` the CEP's eight digits."""

    name: str | None = None
    street: str | None = None
    number: str | None = None
    complement: str | None = None
    district: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None
    postal_code: str | None = None


@dataclass(kw_only=True)
class Card:
    """What may be known of a card."""

    brand: str | None = None
    last4: str | None = None


@dataclass(kw_only=True)
class Boleto:
    """A bank slip; `line` and `barcode` are digits only."""

    line: str | None = None
    barcode: str | None = None
    url: str | None = None
    due_at: datetime | None = None


@dataclass(kw_only=True)
class Pix:
    """A Pix charge; `code` is the copy-and-paste text (EMV)."""

    code: str | None = None
    url: str | None = None
    expires_at: datetime | None = None


@dataclass(kw_only=True)
class Payment:
    """One way the order is paid; split payments give several."""

    id: str | None = None
    method: PaymentMethod | None = None
    status: str | None = None
    amount: int | None = None
    installments: int | None = None
    card: Card | None = None
    boleto: Boleto | None = None
    pix: Pix | None = None
    paid_at: datetime | None = None
    gateway: str | None = None


@dataclass(kw_only=True)
class Coupon:
    """A coupon and what it took off."""

    code: str | None = None
    amount: int | None = None


@dataclass(kw_only=True)
class ShipmentEvent:
    """One entry of a parcel's history."""

    status: str | None = None
    raw_status: str | None = None
    description: str | None = None
    location: str | None = None
    occurred_at: datetime | None = None


@dataclass(kw_only=True)
class Shipment:
    """One parcel."""

    id: str | None = None
    carrier: str | None = None
    method: str | None = None
    tracking_code: str | None = None
    tracking_url: str | None = None
    status: str | None = None
    raw_status: str | None = None
    estimated_delivery: datetime | None = None
    events: list[ShipmentEvent] = field(default_factory=list)


@dataclass(kw_only=True)
class Invoice:
    """A Brazilian NF-e; `key` is its 44-digit access key."""

    number: str | None = None
    series: str | None = None
    key: str | None = None
    issued_at: datetime | None = None
    url: str | None = None


@dataclass(kw_only=True)
class Subscription:
    """A recurring charge; `cycle` counts from 1."""

    id: str | None = None
    plan: str | None = None
    status: str | None = None
    cycle: int | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    canceled_at: datetime | None = None
    cancel_reason: str | None = None


@dataclass(kw_only=True)
class Voucher:
    """Store credit given for a return."""

    code: str | None = None
    amount: int | None = None
    expires_at: datetime | None = None


@dataclass(kw_only=True)
class Return:
    """A return or exchange; what was asked back and what was paid back are kept apart."""

    id: str | None = None
    type: ReturnType | None = None
    status: str | None = None
    raw_status: str | None = None
    order_id: str | None = None
    currency: str | None = None
    total: int | None = None
    requested_refund: int | None = None
    paid_refund: int | None = None
    exchange_value: int | None = None
    voucher: Voucher | None = None
    reason: str | None = None


@dataclass(kw_only=True)
class Tracking:
    """Where the buyer came from."""

    src: str | None = None
    sck: str | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_content: str | None = None
    utm_term: str | None = None
    gclid: str | None = None
    fbclid: str | None = None
    fbp: str | None = None
    ip: str | None = None
    user_agent: str | None = None


@dataclass(kw_only=True)
class Partner:
    """Who shares in the sale."""

    role: Literal["producer", "coproducer", "affiliate"]
    id: str | None = None
    name: str | None = None
    email: str | None = None
    amount: int | None = None


# The functional form, because one key is a Python keyword.
CommerceData = TypedDict(
    "CommerceData",
    {
        "order": Order | None,
        "checkout": Checkout | None,
        "items": list[Item],
        "customer": Customer | None,
        "shipping_address": Address | None,
        "billing_address": Address | None,
        "payments": list[Payment],
        "coupons": list[Coupon],
        "shipments": list[Shipment],
        "invoice": Invoice | None,
        "subscription": Subscription | None,
        "return": Return | None,
        "tracking": Tracking | None,
        "partners": list[Partner],
        "extra": dict[str, Any],
    },
)


def commerce(
    *,
    order: Order | None = None,
    checkout: Checkout | None = None,
    items: list[Item] | None = None,
    customer: Customer | None = None,
    shipping_address: Address | None = None,
    billing_address: Address | None = None,
    payments: list[Payment] | None = None,
    coupons: list[Coupon] | None = None,
    shipments: list[Shipment] | None = None,
    invoice: Invoice | None = None,
    subscription: Subscription | None = None,
    return_: Return | None = None,
    tracking: Tracking | None = None,
    partners: list[Partner] | None = None,
    extra: dict[str, Any] | None = None,
) -> CommerceData:
    """The canonical `data` with every absent part explicit."""
    return {
        "order": order,
        "checkout": checkout,
        "items": items or [],
        "customer": customer,
        "shipping_address": shipping_address,
        "billing_address": billing_address,
        "payments": payments or [],
        "coupons": coupons or [],
        "shipments": shipments or [],
        "invoice": invoice,
        "subscription": subscription,
        "return": return_,
        "tracking": tracking,
        "partners": partners or [],
        "extra": extra or {},
    }
