"""What Stripe's invoices and subscriptions say, as events of ours.

https://docs.stripe.com/billing/subscriptions/webhooks
"""

from __future__ import annotations

from typing import Any

from drivers.read import dig, instant, need, record, records, text
from drivers.stripe_events import Told
from drivers.stripe_objects import (
    amount,
    billed,
    buyer,
    currency_of,
    ident,
    invoice_subscription,
    kept,
    line_item,
    order_id,
    order_number,
    place,
    shipping,
    single_method,
    subscribed,
    summed,
    tax_id,
    visit,
)
from schemas.events import Event
from schemas.order import CommerceData, Order, OrderStatus, Payment, commerce

# https://docs.stripe.com/api/invoices/object#invoice_object-billing_reason
BILLING = {
    "subscription_create": "subscription.created",
    "subscription_cycle": "subscription.renewed",
    "subscription_update": "subscription.renewed",
    "subscription_threshold": "subscription.renewed",
    "subscription": "subscription.renewed",
}
BILLED_ONCE = {"manual", "quote_accept", "automatic_pending_invoice_item_invoice", "upcoming"}
# https://docs.stripe.com/api/subscriptions/object#subscription_object-status
SUBSCRIPTION = {
    "active",
    "trialing",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "unpaid",
    "canceled",
    "paused",
}
UNPAID = {"past_due", "unpaid"}


def invoice_paid(told: Told) -> list[Event]:
    """A subscription's invoice starts or renews it; any other is an order."""
    invoice, reason = told.thing, text(told.thing.get("billing_reason"))
    plan, bill = invoice_subscription(invoice), need(invoice, "id")
    name = BILLING.get(reason or "", "order.paid") if plan else "order.paid"
    is_odd = reason is not None and reason not in BILLING.keys() | BILLED_ONCE
    drift = (f"unknown_status:{reason}",) if is_odd else ()
    data = _invoice_data(told, "paid", bill if name != "order.paid" else None)
    if name == "order.paid" or plan is None:
        return told.as_event("order.paid", order_id(invoice) or bill, data, drift=drift)
    facts = () if name == "subscription.created" else (bill,)
    return told.as_event(name, plan, data, *facts, drift=drift)


def invoice_failed(told: Told) -> list[Event]:
    """A renewal that was declined; one subscription and invoice are past due only once."""
    invoice, bill = told.thing, need(told.thing, "id")
    plan = invoice_subscription(invoice)
    data = _invoice_data(told, "failed", bill if plan else None)
    if plan:
        return told.as_event("subscription.past_due", plan, data, bill)
    key = order_id(invoice) or bill
    return told.as_event("order.failed", key, data, bill, invoice.get("attempt_count"))


def _invoice_data(told: Told, status: OrderStatus, ident_: str | None) -> CommerceData:
    invoice, money_is = told.thing, currency_of(told.thing)
    paid = instant(dig(invoice, "status_transitions", "paid_at")) if status == "paid" else None
    taxes = records(invoice.get("total_taxes")) or [{"amount": invoice.get("tax")}]
    details = {
        "name": invoice.get("customer_name"),
        "email": invoice.get("customer_email"),
        "phone": invoice.get("customer_phone"),
        "address": invoice.get("customer_address"),
    }
    total = amount(invoice.get("total"), money_is)
    return commerce(
        order=Order(
            id=ident_ or order_id(invoice) or ident(invoice),
            number=order_number(invoice) or text(invoice.get("number")),
            status=status,
            payment_status=text(invoice.get("status")),
            raw_status=text(invoice.get("status")),
            currency=money_is,
            total=total,
            subtotal=amount(invoice.get("subtotal"), money_is),
            discount=summed(invoice.get("total_discount_amounts"), money_is),
            shipping=amount(invoice.get("amount_shipping"), money_is),
            tax=summed(taxes, money_is),
            created_at=instant(invoice.get("created")),
            paid_at=paid,
            expires_at=instant(invoice.get("due_date")),
            url=text(invoice.get("hosted_invoice_url")),
        ),
        items=[line_item(line) for line in records(dig(invoice, "lines", "data"))],
        customer=buyer(details, invoice, tax_id=tax_id(invoice.get("customer_tax_ids"))),
        shipping_address=shipping(invoice),
        billing_address=place(invoice.get("customer_address"), invoice.get("customer_name")),
        payments=[
            Payment(
                id=ident(invoice.get("charge")) or order_id(invoice),
                method=single_method(dig(invoice, "payment_settings", "payment_method_types")),
                status=text(invoice.get("status")),
                amount=amount(invoice.get("amount_paid"), money_is) if paid else total,
                paid_at=paid,
                gateway="stripe",
            )
        ],
        subscription=billed(invoice) if invoice_subscription(invoice) else None,
        tracking=visit(record(dig(invoice, "parent", "subscription_details"))) or visit(invoice),
        extra=kept(
            invoice, "billing_reason", "attempt_count", "next_payment_attempt", "invoice_pdf"
        ),
    )


def subscription_changed(told: Told) -> list[Event]:
    """A subscription itself; it is newly past due only where its status has just changed."""
    plan, word = told.thing, text(told.thing.get("status"))
    key, last = need(plan, "id"), ident(plan.get("latest_invoice"))
    before = dig(told.verified.payload, "data", "previous_attributes")
    is_new = "status" in before if isinstance(before, dict) else True
    facts: tuple[Any, ...] = ()
    match told.kind.rpartition(".")[2]:
        case "created":
            name = "subscription.created"
        case "deleted":
            name = "subscription.canceled"
        case "updated" if word in UNPAID and is_new:
            name, facts = "subscription.past_due", (last,)
        case _:
            name, facts = "subscription.updated", (told.id,)
    data = commerce(
        order=Order(id=last, currency=currency_of(plan)) if last else None,
        customer=buyer(plan.get("customer"), plan),
        subscription=subscribed(plan),
        tracking=visit(plan),
        extra=kept(plan, "cancel_at_period_end", "trial_end"),
    )
    drift = () if word is None or word in SUBSCRIPTION else (f"unknown_status:{word}",)
    return told.as_event(name, key, data, *facts, drift=drift)
