"""Hotmart 1.0.0 retold as 2.0.0: purchases are a flat form, the rest JSON that names no event.

https://developers.hotmart.com/docs/pt-BR/1.0.0/webhook/using-webhook/
"""

from __future__ import annotations

from typing import Any

from drivers.read import currency, dig, first, need, record

COMMISSIONS = (
    ("MARKETPLACE", "cms_marketplace"),
    ("PRODUCER", "cms_vendor"),
    ("AFFILIATE", "cms_aff"),
)


def retell(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The word for what happened (an event or a status), and `data` as 2.0.0 has it.

    No field names the event, so which fields there are tells it.
    """
    if "buyerVO" in body:
        return "PURCHASE_OUT_OF_SHOPPING_CART", _cart(body)
    if "cancellationDate" in body:
        return "SUBSCRIPTION_CANCELLATION", _cancellation(body)
    if "switchPlanDate" in body:
        return "SWITCH_PLAN", _switch(body)
    word, data = need(body, "status"), _purchase(body)
    return ("SUBSCRIPTION_CANCELLATION" if str(body.get("callback_type")) == "2" else word), data


def _cart(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "buyer": record(body["buyerVO"]),
        "product": {"id": body.get("productId"), "name": body.get("productName")},
        "affiliate": body.get("affiliate"),
    }


def _cancellation(body: dict[str, Any]) -> dict[str, Any]:
    who = {
        "code": first(body.get("subscriberCode"), body.get("subscriptionId")),
        "name": body.get("userName"),
        "email": body.get("userEmail"),
    }
    return {
        "subscriber": who,
        "subscription": {"plan": {"name": body.get("subscriptionPlanName")}},
        "product": {"id": body.get("productId"), "name": body.get("productName")},
        "cancellation_date": body["cancellationDate"],
        "date_next_charge": body.get("dateNextCharge"),
        "actual_recurrence_value": body.get("actualRecurrenceValue"),
    }


def _switch(body: dict[str, Any]) -> dict[str, Any]:
    subscription = record(body.get("subscription"))
    new, old = record(body.get("newSubscriptionPlan")), record(body.get("previousSubscriptionPlan"))
    return {
        "switch_plan_date": body["switchPlanDate"],
        "subscription": subscription,
        "subscriber": {
            "code": dig(subscription, "subscriber", "code"),
            "name": dig(subscription, "subscriber", "user", "name"),
            "email": dig(subscription, "subscriber", "user", "email"),
        },
        "plans": [new | {"current": True}, old | {"current": False}],
        "actual_recurrence_value": new.get("value"),
        "currency": new.get("currencyCode"),
    }


def _purchase(body: dict[str, Any]) -> dict[str, Any]:
    codes = (body.get(name) for name in ("currency", "currency_code_from_", "currency_code_from"))
    money_is = first(*map(currency, codes))
    plan = {"name": body["name_subscription_plan"]} if body.get("name_subscription_plan") else {}
    who = {
        "code": body.get("subscriber_code"),
        "name": body.get("name"),
        "email": body.get("email"),
    }
    has_plan = bool(plan or body.get("subscriber_code"))
    return {
        "product": {"id": body.get("prod"), "name": body.get("prod_name")},
        "buyer": _buyer(body),
        "producer": {"name": body.get("producer_name"), "document": body.get("producer_document")},
        "affiliates": [{"affiliate_code": body.get("aff"), "name": body.get("aff_name")}],
        "commissions": [
            {"source": source, "value": body.get(name), "currency_value": money_is}
            for source, name in COMMISSIONS
        ],
        "purchase": _order(body, money_is),
        "subscriber": who if has_plan else {},
        "subscription": {"plan": plan, "status": body.get("subscription_status")},
    }


def _buyer(body: dict[str, Any]) -> dict[str, Any]:
    kind = "phone_checkout" if body.get("phone_checkout_number") else "phone"
    return {
        **{name: body.get(name) for name in ("name", "first_name", "last_name", "email")},
        "document": body.get("doc"),
        "checkout_phone_code": body.get(f"{kind}_local_code"),
        "checkout_phone": body.get(f"{kind}_number"),
        "address": {
            "address": body.get("address"),
            "number": body.get("address_number"),
            "complement": body.get("address_comp"),
            "neighborhood": body.get("address_district"),
            "city": body.get("address_city"),
            "state": body.get("address_state"),
            "zipcode": body.get("address_zip_code"),
            "country": body.get("address_country"),
        },
    }


def _order(body: dict[str, Any], money_is: str | None) -> dict[str, Any]:
    prices = ("price", "full_price", "original_offer_price")
    return {
        "transaction": body.get("transaction"),
        "status": body.get("status"),
        **{name: {"value": body.get(name), "currency_value": money_is} for name in prices},
        "order_date": body.get("purchase_date"),
        "approved_date": body.get("confirmation_purchase_date"),
        "date_next_charge": body.get("subscription_date_next_charge"),
        "recurrence_number": body.get("recurrency"),
        "offer": {"code": body.get("off"), "coupon_code": body.get("coupon_code")},
        "origin": body,
        "order_bump": {
            "is_order_bump": body.get("order_bump"),
            "parent_purchase_transaction": body.get("parent_purchase_transaction"),
        },
        "payment": {
            "type": body.get("payment_type"),
            "installments_number": body.get("installments_number"),
            "billet_url": body.get("billet_url"),
            "billet_barcode": body.get("billet_barcode"),
            "refusal_reason": body.get("refusal_reason"),
        },
    }
