"""Registering a webhook at Cakto, which wants to be told of which products.

https://docs.cakto.com.br/api-reference/webhooks/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from drivers.describe import Fetch, Hook, HookWish, Webhooks
from drivers.read import dig, need, records, text
from schemas import codec

API = "https://api.cakto.com.br/public_api"
# Those that the documentation names; one unknown word would have the whole refused.
TOPICS = tuple(
    "purchase_approved purchase_refused pix_gerado boleto_gerado picpay_gerado refund chargeback "
    "checkout_abandonment subscription_renewed subscription_canceled".split()
)
JSON = {"Content-Type": "application/json"}


def read(told: Any) -> Hook:
    """A webhook; Cakto makes its secret, and always tells it."""
    events = (text(event.get("custom_id")) for event in records(told.get("events")))
    return Hook(
        id=need(told, "id"),
        url=need(told, "url"),
        topics=tuple(filter(None, events)),
        live=told.get("status") == "active",
        secret=text(dig(told, "fields", "secret")),
    )


def _products(settings: Mapping[str, Any]) -> Fetch | None:
    """All products, unless `settings.webhook_products` names some."""
    if settings.get("webhook_products"):
        return None
    return Fetch(name="products", url=f"{API}/products/")


def _create(wish: HookWish) -> Fetch:
    found = (text(product.get("id")) for product in records(dig(wish.known, "results")))
    body = {
        "name": "Comporta",
        "url": wish.url,
        "products": wish.settings.get("webhook_products") or list(filter(None, found)),
        "events": list(wish.topics),
        "status": "active",
    }
    return Fetch(
        name="webhook", method="POST", url=f"{API}/webhook/", headers=JSON, body=codec.dumps(body)
    )


WEBHOOKS = Webhooks(
    topics=TOPICS,
    list=lambda _settings: Fetch(name="webhooks", url=f"{API}/webhook/"),
    read=lambda answer: tuple(map(read, records(dig(answer, "results")))),
    create=_create,
    made=read,
    remove=lambda hook, _settings: Fetch(
        name="webhook", method="DELETE", url=f"{API}/webhook/{quote(hook, safe='')}/"
    ),
    about=_products,
    signs_with="theirs",
)
