"""Abandoned carts of WooCommerce, which only plugins tell: Cart Abandonment Recovery by CartFlows.

https://cartflows.com/docs/webhook-integration/
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs

from drivers.base import fact, leftovers
from drivers.body import FORM_TYPE
from drivers.people import customer
from drivers.read import money, need, text
from schemas.events import Event
from schemas.order import Checkout, Coupon, Item, commerce
from schemas.request import Inbound, Verified

CARTFLOWS = "cartflows"
SIGNATURE = "x-wc-webhook-signature"
CLOSED = {"completed", "lost"}  # the cart was bought after all, or given up


def is_cartflows(inbound: Inbound) -> bool:
    """Whether a request looks like the plugin's."""
    is_form = inbound.content_type == FORM_TYPE and SIGNATURE not in inbound.headers
    return is_form and b"order_status=" in inbound.body


def cart_event(v: Verified, form: dict[str, Any]) -> Event:
    """A form without signature, cart id or currency."""
    word, url = text(form.get("order_status")) or "", text(form.get("checkout_url"))
    session = _session(url)
    key = session or text(form.get("email")) or need(form, "phone_number")
    names = [name.strip() for name in (text(form.get("product_names")) or "").split(", ")]
    code = text(form.get("coupon_code"))
    is_abandoned = word == "abandoned"
    is_known = is_abandoned or word in CLOSED
    return Event(
        name="checkout.abandoned" if is_abandoned else "checkout.updated",
        key=key,
        dedupe_key=fact(key, word, text(form.get("cart_total"))),
        provider_event=f"{CARTFLOWS}.{word}",
        data=commerce(
            checkout=Checkout(
                id=session,
                url=url,
                total=money(form.get("cart_total"), None),
                abandoned_at=v.received_at if is_abandoned else None,
                raw_status=word or None,
            ),
            items=[Item(name=name) for name in names if name],
            customer=customer(
                first_name=form.get("first_name"),
                last_name=form.get("last_name"),
                email_address=form.get("email"),
                phone_number=form.get("phone_number"),
            ),
            coupons=[Coupon(code=code)] if code else [],
            extra=leftovers({k: form.get(k) for k in ("billing_address", "shipping_address")}),
        ),
        drift=() if is_known else (f"unknown_status:{word}",),
    )


def _session(url: str | None) -> str | None:
    """The cart's session, from the token in its recovery address (base64 of a query)."""
    token = re.search(r"[?&]wcf_ac_token=([A-Za-z0-9+/=_%-]+)", url or "")
    if token is None:
        return None
    try:
        told = b64decode(token[1].replace("%3D", "=") + "==").decode()
    except (binascii.Error, UnicodeDecodeError):
        return token[1]
    return parse_qs(told).get("wcf_session_id", [token[1]])[0]
