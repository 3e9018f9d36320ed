"""What the `expect` of a sample means: the few facts a person wrote down, held against the events
that came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from drivers.read import dig

# Where each name is found in an event (as plain JSON); of several places the first that holds
# something.
PATHS: dict[str, tuple[str, ...]] = {
    "event": ("name",),
    "provider_event": ("provider_event",),
    "occurred_at": ("occurred_at",),
    "order_id": ("data.order.id", "data.return.order_id"),
    "order_number": ("data.order.number",),
    "parent_order_id": ("data.order.parent_id",),
    "total_cents": ("data.return.total", "data.order.total", "data.checkout.total"),
    "currency": ("data.return.currency", "data.order.currency", "data.checkout.currency"),
    "discount_cents": ("data.order.discount",),
    "shipping_cents": ("data.order.shipping",),
    "subtotal_cents": ("data.order.subtotal",),
    "fee_cents": ("data.order.fee",),
    "refund_cents": ("data.order.refunded",),
    "paid_at": ("data.order.paid_at",),
    "paid_at_utc": ("data.order.paid_at",),
    "created_at": ("data.order.created_at", "data.checkout.abandoned_at"),
    "canceled_at": ("data.subscription.canceled_at", "data.order.canceled_at"),
    "refunded_at": ("data.order.refunded_at",),
    "shipped_at": ("data.order.shipped_at",),
    "cancel_reason": ("data.order.cancel_reason", "data.subscription.cancel_reason"),
    "checkout_id": ("data.checkout.id",),
    "checkout_url": ("data.checkout.url", "data.order.checkout_url"),
    "customer_id": ("data.customer.id",),
    "customer_name": ("data.customer.name",),
    "customer_email": ("data.customer.email",),
    "customer_phone": ("data.customer.phone",),
    "customer_document": ("data.customer.document.value",),
    "payment_method": ("data.payments.0.method",),
    "installments": ("data.payments.0.installments",),
    "card_brand": ("data.payments.0.card.brand",),
    "card_last4": ("data.payments.0.card.last4",),
    "boleto_line": ("data.payments.0.boleto.line",),
    "boleto_barcode": ("data.payments.0.boleto.barcode",),
    "boleto_url": ("data.payments.0.boleto.url",),
    "pix_qrcode": ("data.payments.0.pix.code",),
    "coupon": ("data.coupons.0.code",),
    "tracking_code": ("data.shipments.0.tracking_code",),
    "tracking_url": ("data.shipments.0.tracking_url",),
    "carrier": ("data.shipments.0.carrier",),
    "invoice_number": ("data.invoice.number",),
    "invoice_key": ("data.invoice.key",),
    "subscription_id": ("data.subscription.id",),
    "subscription_cycle": ("data.subscription.cycle",),
    "return_id": ("data.return.id",),
    "return_type": ("data.return.type",),
    "refund_requested_cents": ("data.return.requested_refund",),
    "refund_paid_cents": ("data.return.paid_refund",),
    "exchange_cents": ("data.return.exchange_value",),
    "voucher_code": ("data.return.voucher.code",),
    "voucher_cents": ("data.return.voucher.amount",),
    "utm_source": ("data.tracking.utm_source",),
}
ITEM = {"sku": "sku", "name": "name", "quantity": "quantity", "unit_price_cents": "unit_price"}
COUNTED: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "items": lambda event: len(dig(event, "data", "items") or []),
    "pix_code_present": lambda event: bool(dig(event, "data", "payments", 0, "pix", "code")),
}


def unmet(event: Mapping[str, Any], expect: Mapping[str, Any]) -> list[str]:
    """Each expectation about one event that does not hold.

    A name with a dot is a path inside `data` (`order.raw_status`, `payments.0.pix.code`). Names
    that are neither a path nor in the tables above are notes for people.
    """
    faults = []
    for name, want in expect.items():
        if name == "first_item":
            pairs = [(f"items.0.{ITEM[k]}", v) for k, v in want.items() if k in ITEM]
            faults += unmet(event, dict(pairs))
        elif name in COUNTED or name in PATHS or "." in name:
            got = seen(event, name)
            if not _same(name, want, got):
                faults.append(f"{name}: expected {want!r}, got {got!r}")
    return faults


def seen(event: Mapping[str, Any], name: str) -> Any:
    """What the event says about one name."""
    if name in COUNTED:
        return COUNTED[name](event)
    for path in PATHS.get(name, (f"data.{name}",)):
        steps = (int(step) if step.isdigit() else step for step in path.split("."))
        found = dig(event, *steps)
        if found is not None:
            return found
    return None


def _same(name: str, want: Any, got: Any) -> bool:
    if want is None or got is None or isinstance(want, bool):
        return bool(want == got)
    if name.endswith(("_at", "_at_utc")):
        return _second(want) == _second(got)
    if isinstance(want, int | float) and isinstance(got, int | float):
        return want == got
    return str(want) == str(got)


def _second(value: Any) -> datetime:
    """A time as written in a sample (Unix seconds or ISO, naive ones UTC), to the second."""
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    found = datetime.fromisoformat(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).replace(microsecond=0)
