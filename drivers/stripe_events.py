"""What each kind of Stripe event says, as events of ours.

https://docs.stripe.com/api/events/types
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drivers.base import fact
from drivers.read import dig, first, instant, need, record, text
from drivers.stripe_objects import (
    amount,
    buyer,
    charged,
    coupons,
    currency_of,
    ident,
    intent_payment,
    kept,
    latest_charge,
    order_id,
    order_number,
    place,
    session_checkout,
    session_items,
    shipping,
    single_method,
    visit,
)
from schemas.events import Event
from schemas.order import (
    Checkout,
    CommerceData,
    Order,
    OrderStatus,
    Payment,
    Subscription,
    commerce,
)
from schemas.request import Verified

# https://docs.stripe.com/api/checkout/sessions/object#checkout_session_object-payment_status
PAID = {"paid", "no_payment_required"}
STATUS: Mapping[str, OrderStatus] = {
    "order.created": "created",
    "order.pending": "pending",
    "order.paid": "paid",
    "order.failed": "failed",
    "order.expired": "expired",
    "order.canceled": "canceled",
    "order.refunded": "refunded",
    "order.partially_refunded": "partially_refunded",
    "order.chargeback": "chargeback",
}
INTENT = {
    "payment_intent.created": "order.created",
    "payment_intent.requires_action": "order.pending",
    "payment_intent.processing": "order.pending",
    "payment_intent.succeeded": "order.paid",
    "payment_intent.payment_failed": "order.failed",
    "payment_intent.canceled": "order.canceled",
}
# next_action.type: those that give the buyer something to pay; the others are 3-D Secure and such.
TO_PAY = {"boleto_display_details", "pix_display_qr_code"}
# A voucher nobody paid has expired; nothing failed.
VOUCHERS = {"boleto", "pix"}
# https://docs.stripe.com/api/disputes/object#dispute_object-status
INQUIRIES = {"warning_needs_response", "warning_under_review", "warning_closed"}
DISPUTES = {"needs_response", "under_review", "won", "lost", "prevented"}


@dataclass(frozen=True, slots=True)
class Told:
    """One Stripe event: its type and the object it is about."""

    verified: Verified
    kind: str
    thing: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        """The event's id."""
        return text(self.verified.payload.get("id"))

    @property
    def at(self) -> datetime | None:
        """When it happened."""
        return instant(self.verified.payload.get("created"))

    @property
    def is_test(self) -> bool:
        """Whether it is of a sandbox."""
        return self.verified.payload.get("livemode") is False

    def as_event(
        self, name: str, key: str, data: CommerceData, *facts: Any, drift: tuple[str, ...] = ()
    ) -> list[Event]:
        """The one event it becomes; `facts` name the fact beside the key."""
        return [
            Event(
                name=name,
                key=key,
                dedupe_key=fact(key, *facts),
                provider_event=self.kind,
                provider_event_id=self.id,
                occurred_at=self.at,
                data=data,
                test=self.is_test,
                drift=drift,
            )
        ]


def session_changed(told: Told) -> list[Event]:
    """A checkout that was completed, or whose boleto or Pix was paid or not."""
    session, word = told.thing, text(told.thing.get("payment_status"))
    if session.get("mode") == "setup":
        return []
    if told.kind.endswith("async_payment_succeeded") or word in PAID:
        name = "order.paid"
    elif told.kind.endswith("async_payment_failed"):
        name = "order.expired"
    else:
        name = "order.pending" if word == "unpaid" else "order.updated"
    is_odd = word not in PAID | {"unpaid", None}
    drift = (f"unknown_status:{word}",) if is_odd else ()
    data = _session_data(told, name)
    plan = ident(session.get("subscription"))
    if session.get("mode") == "subscription" and plan:
        data["subscription"] = Subscription(id=plan)
        return told.as_event("subscription.created", plan, data, drift=drift)
    key = order_id(session) or need(session, "id")
    facts = (told.id,) if name == "order.updated" else ()
    return told.as_event(name, key, data, *facts, drift=drift)


def _session_data(told: Told, name: str) -> CommerceData:
    session, asked = told.thing, told.verified.enrichment
    money_is, details = currency_of(session), record(session.get("customer_details"))
    sums, at = record(session.get("total_details")), told.at
    total = amount(session.get("amount_total"), money_is)
    intent = record(first(asked.get("payment_intent"), session.get("payment_intent")))
    payment = Payment(
        id=order_id(session),
        method=single_method(session.get("payment_method_types")),
        status=text(session.get("payment_status")),
        amount=total,
        paid_at=at if name == "order.paid" else None,
        gateway="stripe",
    )
    if intent.get("object") == "payment_intent":
        payment = intent_payment(intent)
    return commerce(
        order=Order(
            id=order_id(session) or ident(session.get("invoice")) or ident(session),
            number=order_number(session),
            status=STATUS.get(name),
            payment_status=text(session.get("payment_status")),
            raw_status=text(session.get("status")),
            currency=money_is,
            total=total,
            subtotal=amount(session.get("amount_subtotal"), money_is),
            discount=amount(sums.get("amount_discount"), money_is),
            shipping=amount(sums.get("amount_shipping"), money_is),
            tax=amount(sums.get("amount_tax"), money_is),
            created_at=instant(session.get("created")),
            paid_at=payment.paid_at,
        ),
        checkout=session_checkout(session),
        items=session_items(asked.get("line_items")),
        customer=buyer(details, session, email=session.get("customer_email")),
        shipping_address=shipping(session),
        billing_address=place(details.get("address"), details.get("name")),
        payments=[payment],
        coupons=coupons(session),
        tracking=visit(session),
        extra=kept(session, "payment_link", "mode", "locale"),
    )


def session_expired(told: Told) -> list[Event]:
    """A checkout nobody finished; its recovery address exists only where recovery is on."""
    session, key = told.thing, need(told.thing, "id")
    if session.get("mode") == "setup":
        return []
    data = _session_data(told, told.kind)
    found = session_checkout(session)
    data["checkout"] = Checkout(
        id=key,
        url=found.url,
        currency=currency_of(session),
        total=amount(session.get("amount_total"), currency_of(session)),
        abandoned_at=instant(session.get("expires_at")) or told.at,
        raw_status=text(session.get("status")),
    )
    data["order"], data["payments"] = None, []
    return told.as_event("checkout.abandoned", key, data)


def intent_changed(told: Told) -> list[Event]:
    """A payment intent on its way."""
    intent, name = told.thing, INTENT[told.kind]
    if told.kind == "payment_intent.requires_action" and _action(intent) not in TO_PAY:
        return []
    facts: list[Any] = []
    if name == "order.failed":
        error = record(intent.get("last_payment_error"))
        facts = [first(ident(error.get("charge")), ident(latest_charge(intent)), told.id)]
        if _voucher(intent, error):
            name, facts = "order.expired", []
    data = _intent_data(told, name)
    return told.as_event(name, need(intent, "id"), data, *facts)


def _action(intent: Mapping[str, Any]) -> Any:
    return dig(intent, "next_action", "type")


def _voucher(intent: Mapping[str, Any], error: Mapping[str, Any]) -> bool:
    offered = intent.get("payment_method_types")
    only = offered[0] if isinstance(offered, list) and len(offered) == 1 else None
    return first(dig(error, "payment_method", "type"), only) in VOUCHERS


def _intent_data(told: Told, name: str) -> CommerceData:
    intent, money_is = told.thing, currency_of(told.thing)
    charge, error = record(latest_charge(intent)), record(intent.get("last_payment_error"))
    tried = dig(error, "payment_method", "billing_details")
    details = record(first(charge.get("billing_details"), tried))
    payment, parcel = intent_payment(intent), record(intent.get("shipping"))
    payment.paid_at = told.at if name == "order.paid" else None
    until = payment.boleto.due_at if payment.boleto else None
    until = payment.pix.expires_at if payment.pix else until
    return commerce(
        order=Order(
            id=order_id(intent),
            number=order_number(intent),
            status=STATUS[name],
            payment_status=text(intent.get("status")),
            raw_status=text(intent.get("status")),
            currency=money_is,
            total=amount(intent.get("amount"), money_is),
            created_at=instant(intent.get("created")),
            paid_at=payment.paid_at,
            canceled_at=instant(intent.get("canceled_at")),
            expires_at=until,
            cancel_reason=text(intent.get("cancellation_reason")),
            note=text(intent.get("description")),
            parent_id=ident(intent.get("invoice")),
        ),
        customer=buyer(
            details,
            intent,
            name=parcel.get("name"),
            email=intent.get("receipt_email"),
            phone=parcel.get("phone"),
        ),
        shipping_address=shipping(intent),
        billing_address=place(details.get("address"), details.get("name")),
        payments=[payment],
        tracking=visit(intent),
        extra=kept(intent) | _failure(error),
    )


def _failure(error: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: error.get(name) for name in ("code", "decline_code", "message")}
    return {"error": {k: v for k, v in told.items() if v}} if error else {}


def charge_refunded(told: Told) -> list[Event]:
    """`amount_refunded` is cumulative, so it names the fact."""
    charge, money_is = told.thing, currency_of(told.thing)
    total = amount(charge.get("amount"), money_is)
    refunded = amount(charge.get("amount_refunded"), money_is)
    is_whole = charge.get("refunded") is True or (refunded or 0) >= (total or 1)
    name = "order.refunded" if is_whole else "order.partially_refunded"
    key, details = order_id(charge) or need(charge, "id"), record(charge.get("billing_details"))
    payment = Payment(
        id=ident(charge),
        status=text(charge.get("status")),
        amount=total,
        gateway="stripe",
    )
    data = commerce(
        order=Order(
            id=key,
            number=order_number(charge),
            status=STATUS[name],
            raw_status=text(charge.get("status")),
            currency=money_is,
            total=total,
            refunded=refunded,
            created_at=instant(charge.get("created")),
            refunded_at=told.at,
            note=text(charge.get("description")),
            parent_id=ident(charge.get("invoice")),
        ),
        customer=buyer(
            details,
            charge,
            email=charge.get("receipt_email"),
            tax_id=dig(charge, "payment_method_details", "boleto", "tax_id"),
        ),
        shipping_address=shipping(charge),
        billing_address=place(details.get("address"), details.get("name")),
        payments=[charged(charge, payment)],
        tracking=visit(charge),
        extra=kept(charge, "receipt_url"),
    )
    return told.as_event(name, key, data, refunded)


def dispute_created(told: Told) -> list[Event]:
    """An inquiry asks before money moves; any other dispute has taken it."""
    dispute, word = told.thing, text(told.thing.get("status"))
    evidence, money_is = record(dispute.get("evidence")), currency_of(dispute)
    key = order_id(dispute) or ident(dispute.get("charge")) or need(dispute, "payment_intent")
    name = "order.updated" if word in INQUIRIES else "order.chargeback"
    lost = amount(dispute.get("amount"), money_is)
    payment = Payment(id=ident(dispute.get("charge")), amount=lost, gateway="stripe")
    told_of = kept(dispute, "id", "reason", "network_reason_code")
    due = instant(dig(dispute, "evidence_details", "due_by"))
    data = commerce(
        order=Order(id=key, status=STATUS.get(name), raw_status=word, currency=money_is),
        customer=buyer(
            {},
            {},
            name=evidence.get("customer_name"),
            email=evidence.get("customer_email_address"),
        ),
        payments=[charged(dispute, payment)],
        extra={"dispute": told_of | {"amount": lost, "evidence_due_by": due}},
    )
    is_odd = word not in INQUIRIES | DISPUTES | {None}
    drift = (f"unknown_status:{word}",) if is_odd else ()
    return told.as_event(name, key, data, "dispute", ident(dispute), drift=drift)


def deauthorized(told: Told) -> list[Event]:
    """The merchant took the access back: the installation has to be authorized anew."""
    key = text(told.verified.payload.get("account")) or need(told.thing, "id")
    data: Any = {"status": "error", "reason": "the application was deauthorized", "account": key}
    return told.as_event("installation.updated", key, data, told.id)
