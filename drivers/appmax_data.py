"""Appmax's content models as one, and that as canonical data. Amounts are decimal reais, times are
wall time in Brasília.
"""

from __future__ import annotations

from typing import Any

from drivers.base import leftovers
from drivers.paying import bank_slip, card, method_of, pix
from drivers.people import address, customer, plain
from drivers.read import (
    first,
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
    Checkout,
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

REAL = "BRL"
STATUS: dict[str, OrderStatus] = {
    "order.pending": "pending",
    "order.paid": "paid",
    "order.failed": "failed",
    "order.expired": "expired",
    "order.refunded": "refunded",
    "order.partially_refunded": "partially_refunded",
    "order.chargeback": "chargeback",
}
PLAN_STATUS = {
    "subscription.created": "active",
    "subscription.renewed": "active",
    "subscription.past_due": "past_due",
    "subscription.canceled": "canceled",
}
# Merchants name the bundle of an extra offer after it.
OFFERS: tuple[tuple[str, OfferType], ...] = (
    ("order bump", "order_bump"),
    ("orderbump", "order_bump"),
    ("upsell", "upsell"),
    ("downsell", "downsell"),
)
KEPT = (
    "origin", "freight_type", "invoice_id", "upsell_order_id", "integrated_at", "seller_name",
    "pix_end_to_end_id", "pix_ref", "issuer_message", "traffic_description", "payment_link_id",
    "company_cnpj", "meta",
)  # fmt: skip


# A delivery about a customer alone has these where an order has its own fields.
PERSONAL = {"firstname", "fullname", "email", "telephone", "document_number"}


def standard(body: dict[str, Any]) -> dict[str, Any]:
    """The `data` of any content model in the shape of the one named Standard: `id` is the order's,
    if there is one, `customer_id` the customer's, and `customer` holds what is known of the latter.

    The flat models (two-level, custom, old legacy) name the order `order_id`, and mark by the
    prefixes `order_` and `customer_` what elsewhere is inside. Where there is no order, `id` is the
    customer's.
    """
    data = record(body.get("data"))
    has_both = data.get("id") is not None and data.get("customer_id") is not None
    if "order_id" in data and not (has_both and body.get("event_type") != "order"):
        return _unflattened(data)
    if data.get("customer_id") is None and PERSONAL & set(data):
        own = {"id": None, "created_at": None, "customer_id": data.get("id"), "customer": data}
        return {**data, **own}
    return data


def _unflattened(data: dict[str, Any]) -> dict[str, Any]:
    prefix = "customer_"
    person = {k.removeprefix(prefix): x for k, x in data.items() if k.startswith(prefix)}
    order = {k.removeprefix("order_"): x for k, x in data.items() if not k.startswith(prefix)}
    known = {"id": data["order_id"], "customer_id": data.get("customer_id")}
    return {**order, **known, "customer": data.get("customer") or person}


def order_data(
    data: dict[str, Any], name: str, *, method: PaymentMethod | None, reason: str | None
) -> Any:
    """The canonical data of an order about which the event `name` tells.

    `method`: how the event says it is paid, where the order does not.
    """
    visit, buyer = data.get("visit"), _person(data)
    return commerce(
        order=_order(data, name, reason),
        items=_items(data),
        customer=_buyer(data),
        shipping_address=_address(buyer),
        payments=_payments(data, method),
        tracking=tracking(visit, buyer.get("visited_url")),
        partners=_partners(data),
        extra=leftovers(
            {
                **{key: data.get(key) for key in KEPT},
                "affiliate_id": record(visit).get("affiliate_id"),
            }
        ),
    )


def _order(data: dict[str, Any], name: str, reason: str | None) -> Order:
    status = text(data.get("status"))
    is_refund = name in {"order.refunded", "order.partially_refunded"}
    back = money(data.get("total_refunded"), REAL) or money(data.get("refund_amount"), REAL)
    why = first(reason, text(data.get("issuer_message")))
    return Order(
        id=text(data.get("id")),
        status=STATUS.get(name),
        payment_status=status,
        raw_status=status,
        currency=REAL,
        total=money(data.get("total"), REAL),
        subtotal=money(data.get("total_products"), REAL),
        discount=money(data.get("discount"), REAL),
        shipping=money(data.get("freight_value"), REAL),
        interest=money(data.get("interest"), REAL),
        refunded=back,
        created_at=instant(data.get("created_at")),
        paid_at=instant(data.get("paid_at")),
        refunded_at=instant(data.get("refunded_at")) if is_refund else None,
        cancel_reason=why if name == "order.failed" else None,
    )


def _person(data: dict[str, Any]) -> dict[str, Any]:
    return record(data.get("customer"))


def _buyer(data: dict[str, Any]) -> Any:
    person = _person(data)
    return customer(
        id=first(data.get("customer_id"), person.get("id")),
        name=person.get("fullname"),
        first_name=person.get("firstname"),
        last_name=person.get("lastname"),
        email_address=person.get("email"),
        document_number=person.get("document_number"),
        phone_number=first(person.get("telephone"), person.get("phone")),
    )


def _address(person: dict[str, Any]) -> Any:
    return address(
        street=person.get("address_street"),
        number=person.get("address_street_number"),
        complement=person.get("address_street_complement"),
        district=person.get("address_street_district"),
        city=person.get("address_city"),
        state=first(person.get("address_state"), person.get("uf")),
        postal_code=person.get("postcode"),
    )


def _items(data: dict[str, Any]) -> list[Item]:
    """The products of every bundle; the list beside the bundles is used where there are none."""
    bundled = [
        _item(product, _offer(bundle))
        for bundle in records(data.get("bundles"))
        for product in records(bundle.get("products"))
    ]
    return bundled or [_item(product, "main") for product in records(data.get("products"))]


def _offer(bundle: dict[str, Any]) -> OfferType:
    name = plain(text(bundle.get("name")) or "")
    return next((offer for word, offer in OFFERS if word in name), "main")


def _item(product: dict[str, Any], offer: OfferType) -> Item:
    return Item(
        product_id=text(product.get("id")),
        sku=text(product.get("sku")),
        name=text(product.get("name")),
        quantity=quantity(product.get("quantity")),
        unit_price=money(product.get("price"), REAL),
        image_url=text(product.get("image")),
        offer_type=offer,
    )


def _payments(data: dict[str, Any], method: PaymentMethod | None) -> list[Payment]:
    paid = Payment(
        method=method_of(data.get("payment_type")) or method,
        status=text(data.get("status")),
        amount=money(first(data.get("full_payment_amount"), data.get("total")), REAL),
        installments=integer(data.get("installments")),
        card=card(data.get("card_brand"), None),
        boleto=bank_slip(
            data.get("billet_digitable_line"),
            first(data.get("order_billet_payment_code"), data.get("billet_payment_code")),
            url=data.get("billet_url"),
            due_at=_due(first(data.get("billet_date_overdue"), data.get("billet_expiration_date"))),
        ),
        pix=pix(
            first(data.get("pix_emv"), data.get("pix_code")),
            data.get("pix_payment_link"),
            instant(data.get("pix_expiration_date")),
        ),
        paid_at=instant(data.get("paid_at")),
        gateway="appmax",
    )
    return [paid] if paid.method or paid.amount is not None else []


def _due(value: Any) -> Any:
    """`15/05/2026 23h59`, or any usual form."""
    return instant((text(value) or "").replace("h", ":"))


def _partners(data: dict[str, Any]) -> list[Partner]:
    """Who shares in the sale; the list of affiliates has two spellings."""
    shop = Partner(
        role="producer",
        name=text(data.get("company_name")),
        email=text(data.get("company_email")),
        amount=money(data.get("partner_total"), REAL),
    )
    told = first(data.get("affiliate_commission"), data.get("affiliate_comission"))
    return [
        *([shop] if shop != Partner(role="producer") else []),
        *(
            Partner(
                role="coproducer",
                id=text(share.get("user_id")),
                amount=money(share.get("value"), REAL),
            )
            for share in records(data.get("co_production_commission"))
        ),
        *(
            Partner(
                role="affiliate",
                id=text(share.get("affiliate_id")),
                name=text(share.get("name")),
                email=text(share.get("email")),
                amount=money(share.get("value"), REAL),
            )
            for share in records(told)
        ),
    ]


def subscription_data(data: dict[str, Any], name: str) -> Any:
    """The canonical data of a subscription, with the order that is its charge where one is told."""
    told = record(data.get("subscription"))
    bundle = record(told.get("bundle"))
    charge = {} if name == "subscription.canceled" else {"total": told.get("total")}
    charge |= {k: x for k, x in data.items() if x is not None}
    content = order_data(charge, name, method=None, reason=None)
    if content["order"].id is None and content["order"].total is None:
        content["order"] = None
    content["items"] = content["items"] or _items({"bundles": [bundle]})
    content["subscription"] = Subscription(
        id=text(told.get("id")),
        plan=text(bundle.get("name")) or text(told.get("bundle")),
        status=PLAN_STATUS[name],
        period_start=instant(told.get("created_at")),
        canceled_at=instant(told.get("cancelled_at")),
    )
    content["extra"] |= leftovers({"subscription_installments": told.get("installments")})
    return content


def checkout_data(data: dict[str, Any]) -> Any:
    """The canonical data of a customer who left: the page visited is no link to the cart."""
    buyer = _person(data)
    url = text(buyer.get("visited_url"))
    return commerce(
        checkout=Checkout(url=url, currency=REAL),
        items=_items({"bundles": data.get("interested_bundle")}),
        customer=_buyer(data),
        shipping_address=_address(buyer),
        tracking=tracking(url),
    )
