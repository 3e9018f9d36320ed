"""Ticto: one status a request, proven by a static token in the JSON body; v1 tells no dates.

https://webhook.ticto.dev/docs/v2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from drivers.base import Driver, fact, leftovers, raw_event
from drivers.claim import Field
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, country_code, customer, dialled, email, plain
from drivers.read import (
    cents,
    dig,
    first,
    flag,
    instant,
    integer,
    money,
    need,
    quantity,
    record,
    records,
    text,
    tracking,
)
from drivers.verify import Token
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.order import (
    Checkout,
    CommerceData,
    Coupon,
    Customer,
    Item,
    Order,
    OrderStatus,
    Partner,
    Payment,
    Shipment,
    Subscription,
    commerce,
)
from schemas.request import Verified

# `status` of a delivery: https://webhook.ticto.dev/docs/v2
STATUS: Mapping[str, str] = {
    "waiting_payment": "order.pending",
    "pix_created": "order.pending",
    "bank_slip_created": "order.pending",
    # Late but still payable: an installation's `status_map` may call it order.pending.
    "bank_slip_delayed": "order.expired",
    "pix_expired": "order.expired",
    "authorized": "order.paid",
    "refused": "order.failed",
    "refunded": "order.refunded",
    "chargeback": "order.chargeback",
    "claimed": "order.updated",
    "close": "order.updated",
    "trial_started": "subscription.created",
    "subscription_canceled": "subscription.canceled",
    "subscription_delayed": "subscription.past_due",
    "uncanceled": "subscription.updated",
    "extended": "subscription.updated",
    "all_charges_paid": "subscription.updated",
}
Role = Literal["producer", "coproducer", "affiliate"]
INFORMATIONAL = {"trial", "trial_ended", "card_exchanged"}
ORDER_STATUS: Mapping[str, OrderStatus] = {
    "order.pending": "pending",
    "order.expired": "expired",
    "order.paid": "paid",
    "order.failed": "failed",
    "order.refunded": "refunded",
    "order.chargeback": "chargeback",
}
SUBSCRIPTION_STATUS = {
    "authorized": "active",
    "trial_started": "trial",
    "subscription_canceled": "canceled",
    "subscription_delayed": "past_due",
    "uncanceled": "active",
    "extended": "active",
    "all_charges_paid": "finished",
}
PANEL_TEST = "Paki Guthrie"  # the product of the panel's test button
PLACEHOLDER = "nao informado"


def normalize(v: Verified) -> Sequence[Event]:
    """The events of one delivery, by its status."""
    body = record(v.payload)
    word = need(body, "status").lower()
    if PANEL_TEST in (dig(body, "item", "product_name"), body.get("product_name")):
        return []
    if word == "abandoned_cart":
        return [_abandoned(body)]
    wished = text(dig(v.settings, "status_map", word))
    name = wished if wished in ORDER_STATUS else STATUS.get(word)
    if name is None:
        drift = () if word in INFORMATIONAL else (f"unknown_event:{word}",)
        return [raw_event(v, provider_event=word, key=_order_id(body), drift=drift)]
    data = _data(body, word, name)
    if name != "order.paid" or data["subscription"] is None:
        return [_event(body, word, name, data)]
    renewed = (data["subscription"].cycle or 0) > 1
    charge = "subscription.renewed" if renewed else "subscription.created"
    return [_event(body, word, name, data), _event(body, word, charge, data)]


def _order_id(body: dict[str, Any]) -> str | None:
    return text(dig(body, "order", "hash")) or text(dig(body, "order", "id"))


def _at(body: dict[str, Any]) -> datetime | None:
    return instant(body.get("status_date"))


def _event(body: dict[str, Any], word: str, name: str, data: CommerceData) -> Event:
    ident = _order_id(body)
    plan = data["subscription"] or Subscription()
    if name.startswith("order.") and ident is None:
        raise MalformedError("missing:order.hash")
    whose = plan.id or ident
    if whose is None:
        raise MalformedError("missing:subscriptions.0.id")
    return Event(
        name=name,
        key=ident or whose,
        dedupe_key=_fact(body, word, name, plan, whose),
        provider_event=word,
        occurred_at=_at(body),
        data=data,
    )


def _fact(body: dict[str, Any], word: str, name: str, plan: Subscription, whose: str) -> str:
    """Renewals repeat the order's hash with another charge, bumps the charge with another offer."""
    if name.startswith("order."):
        charge = first(dig(body, "order", "transaction_hash"), dig(body, "transaction", "hash"))
        offer = first(dig(body, "item", "offer_code"), dig(body, "item", "offer_id"))
        at = _at(body) if name == "order.updated" else None
        return fact(_order_id(body), text(charge), text(offer), word, at)
    if name == "subscription.created":
        return fact(whose)
    if name == "subscription.renewed":
        return fact(whose, plan.cycle)
    return fact(whose, word, plan.canceled_at or _at(body))


def _data(body: dict[str, Any], word: str, name: str) -> CommerceData:
    order, told = _order(body, word, name), record(body.get("shipping"))
    method = text(first(told.get("method"), told.get("type")))
    where, plan = _address(body), _subscription(body, word)
    coupon = text(dig(body, "item", "coupon_name"))
    return commerce(
        order=order,
        items=_items(body, plan),
        customer=_buyer(body),
        billing_address=where,
        shipping_address=where if method else None,
        payments=[_payment(body, order)],
        coupons=[Coupon(code=coupon, amount=order.discount)] if coupon else [],
        shipments=[Shipment(method=method)] if method else [],
        subscription=plan,
        tracking=tracking(
            _told(body.get("tracking")),
            _told(body.get("query_params")),
            _told(dig(body, "url_params", "query_params")),
        ),
        partners=_partners(body),
        extra=_extra(body, word),
    )


def _order(body: dict[str, Any], word: str, name: str) -> Order:
    told, status, at = record(body.get("order")), ORDER_STATUS.get(name), _at(body)
    total = cents(told.get("paid_amount"))
    return Order(
        id=_order_id(body),
        number=text(told.get("id")),
        status=status,
        payment_status=status,
        raw_status=word,
        currency="BRL",
        total=total,
        discount=cents(dig(body, "item", "coupon_value")),
        shipping=cents(dig(body, "shipping", "amount")),
        fee=cents(body.get("marketplace_commission")),
        refunded=total if status == "refunded" else None,  # Ticto knows no partial refunds
        created_at=instant(told.get("order_date")),
        updated_at=at,
        paid_at=at if status == "paid" else None,
        refunded_at=at if status == "refunded" else None,
        checkout_url=text(body.get("checkout_url")),
        cancel_reason=word if status == "failed" else None,
    )


def _items(body: dict[str, Any], plan: Subscription | None) -> list[Item]:
    """The item and its bumps; `items[]`, where there is one, repeats them."""
    told, count = record(body.get("item")), quantity(dig(body, "item", "quantity"))
    amount = cents(told.get("amount"))
    listed = cents(dig(body, "offer", "price"))
    unit = amount if listed is None else listed
    is_plan = plan is not None or flag(dig(body, "offer", "is_subscription"))
    main = _line(told, unit, amount if unit is None or amount != unit else round(unit * count))
    main.quantity, main.type = count, "subscription_plan" if is_plan else "product"
    bumps = []
    for bump in records(body.get("bumps")):
        price = money(bump.get("offer_price"), "BRL")  # in reais among amounts in cents
        bumps.append(_line(bump, price, price))
        bumps[-1].offer_type = "order_bump"
    return [main, *bumps] if told else bumps


def _line(told: dict[str, Any], unit: int | None, total: int | None) -> Item:
    return Item(
        product_id=text(told.get("product_id")),
        variant_id=text(told.get("offer_id")),
        sku=text(told.get("offer_code")),
        name=text(told.get("product_name")),
        unit_price=unit,
        total=total,
    )


def _buyer(body: dict[str, Any]) -> Customer | None:
    """The nested customer, or the flat fields of an abandoned cart."""
    told = record(body.get("customer")) or body
    number = told.get("phone")
    if isinstance(number, dict):
        number = dialled(number.get("ddi"), number.get("ddd"), number.get("number"))
    return customer(
        id=told.get("code"),
        name=told.get("name"),
        email_address=told.get("email"),
        document_number=first(told.get("cpf"), told.get("cnpj"), told.get("document")),
        phone_number=number,
        country=country_code(dig(told, "address", "country")) or "BR",
    )


def _address(body: dict[str, Any]) -> Any:
    told = record(dig(body, "customer", "address"))
    if flag(told.get("is_mock")):  # a filler where the checkout asks for no address
        return None
    return address(
        name=dig(body, "customer", "name"),
        street=told.get("street"),
        number=told.get("street_number"),
        complement=told.get("complement"),
        district=told.get("neighborhood"),
        city=told.get("city"),
        state=told.get("state"),
        country=told.get("country"),
        postal_code=told.get("zip_code"),
    )


def _payment(body: dict[str, Any], order: Order) -> Payment:
    told = record(body.get("transaction"))
    used = dig(told, "cards", 0)
    return Payment(
        id=text(first(dig(body, "order", "transaction_hash"), told.get("hash"))),
        method=method_of(body.get("payment_method")),
        status=order.raw_status,
        amount=order.total,
        installments=integer(dig(body, "order", "installments")),
        card=card(dig(used, "brand"), dig(used, "last_digits")),
        boleto=bank_slip(
            told.get("bank_slip_code"),
            url=first(told.get("bank_slip_url"), told.get("bank_slip_pdf")),
        ),
        pix=pix(told.get("pix_qr_code")),
        paid_at=order.paid_at,
    )


def _subscription(body: dict[str, Any], word: str) -> Subscription | None:
    """The one entry of `subscriptions`, which one-off sales lack."""
    told = next(iter(records(body.get("subscriptions"))), record(body.get("subscriptions")))
    if not told:
        return None
    canceled = instant(told.get("canceled_at"))
    if word == "subscription_canceled":
        canceled = canceled or _at(body)
    return Subscription(
        id=text(told.get("id")),
        plan=text(dig(body, "item", "offer_name")),
        status=SUBSCRIPTION_STATUS.get(word),
        cycle=integer(told.get("successful_charges")),
        period_end=instant(told.get("next_charge")),
        canceled_at=canceled,
    )


def _told(source: Any) -> dict[str, Any]:
    return {k: v for k, v in record(source).items() if plain(text(v) or "") != PLACEHOLDER}


def _partners(body: dict[str, Any]) -> list[Partner]:
    found = [_partner("producer", p) for p in [record(body.get("producer"))] if p]
    found += [_partner("coproducer", p) for p in records(body.get("coproducers"))]
    return found + [_partner("affiliate", p) for p in records(body.get("affiliates"))]


def _partner(role: Role, told: dict[str, Any]) -> Partner:
    amount = cents(told.get("amount"))
    return Partner(
        role=role,
        id=text(told.get("id")),
        name=text(told.get("name")),
        email=email(told.get("email")),
        amount=money(told.get("cms"), "BRL") if amount is None else amount,
    )


def _extra(body: dict[str, Any], word: str) -> dict[str, Any]:
    plan = next(iter(records(body.get("subscriptions"))), {})
    item = record(body.get("item"))
    return leftovers(
        {
            "commission_type": body.get("commission_type"),
            "refund_requested": True if word == "claimed" else None,
            "delivery_days": dig(body, "shipping", "delivery_days"),
            **{k: item.get(k) for k in ("offer_name", "days_of_access", "refund_deadline")},
            **{k: plan.get(k) for k in ("interval", "failed_charges", "max_charges")},
        }
    )


def _abandoned(body: dict[str, Any]) -> Event:
    """A cart, in the flat form that is really sent or in the nested one that is documented.

    https://webhook.ticto.dev/docs/abandoned_cart_v2
    """
    item, buyer = record(body.get("item")) or body, _buyer(body)
    if buyer is None:
        raise MalformedError("missing:email")
    at = instant(body.get("created_at")) or _at(body)
    offer = text(first(item.get("offer_code"), item.get("offer_id"), item.get("product_name")))
    key = fact(buyer.email or buyer.phone_raw or buyer.name, offer)
    return Event(
        name="checkout.abandoned",
        key=key,
        dedupe_key=fact(key, at),
        provider_event="abandoned_cart",
        occurred_at=at,
        data=commerce(
            checkout=Checkout(
                url=text(body.get("checkout_url")),
                currency="BRL",
                total=cents(first(dig(body, "order", "paid_amount"), item.get("amount"))),
                abandoned_at=at,
                raw_status="abandoned_cart",
            ),
            items=_items({**body, "item": item}, None),
            customer=buyer,
            billing_address=_address(body),
            tracking=tracking(_told(body.get("tracking")), _told(body.get("query_params"))),
        ),
    )


DRIVER = Driver(
    slug="ticto",
    id="01ke7rhnt6fhb6tsbbhcdpeptc",
    name="Ticto",
    description={
        "pt": "Vendas, boletos, Pix, reembolsos, assinaturas e carrinhos abandonados da Ticto.",
        "en": "Sales, boletos, Pix, refunds, subscriptions and abandoned carts of Ticto.",
    },
    docs_url="https://webhook.ticto.dev/docs/v2",
    scheme=Token(at=(Field("token"),)),
    normalize=normalize,
    delivery_key=lambda _v: None,  # Ticto numbers no deliveries
    supported_events=(
        "order.pending",
        "order.paid",
        "order.failed",
        "order.expired",
        "order.refunded",
        "order.chargeback",
        "order.updated",
        "subscription.created",
        "subscription.renewed",
        "subscription.past_due",
        "subscription.canceled",
        "subscription.updated",
        "checkout.abandoned",
        "provider.event",
    ),
    secret_fields=("token",),
)
