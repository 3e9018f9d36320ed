"""Registering webhooks in a Shopify shop: those that its app's token may.

https://shopify.dev/docs/api/admin-rest/latest/resources/webhook
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from drivers.describe import Fetch, Hook, HookWish, Webhooks
from drivers.read import dig, need, record, records
from schemas import codec

# Those that the scopes asked for cover; disputes and subscriptions need more of them, and
# `settings.webhook_topics`.
TOPICS = tuple(
    "orders/create orders/paid orders/cancelled orders/updated orders/fulfilled "
    "orders/partially_fulfilled refunds/create fulfillments/create fulfillments/update "
    "checkouts/create checkouts/update app/uninstalled".split()
)
JSON = {"Content-Type": "application/json"}


def read(told: Any) -> Hook:
    """A webhook, signed with the app's secret."""
    return Hook(id=need(told, "id"), url=need(told, "address"), topics=(need(told, "topic"),))


def webhooks(api: Callable[[Mapping[str, Any]], str]) -> Webhooks:
    """One webhook for each topic. `api`: where the shop's API is, by the settings."""

    def create(wish: HookWish) -> Fetch:
        [topic] = wish.topics
        body = {"webhook": {"topic": topic, "address": wish.url, "format": "json"}}
        url = f"{api(wish.settings)}/webhooks.json"
        return Fetch(name=topic, method="POST", url=url, headers=JSON, body=codec.dumps(body))

    def remove(hook: str, settings: Mapping[str, Any]) -> Fetch:
        url = f"{api(settings)}/webhooks/{quote(hook, safe='')}.json"
        return Fetch(name="webhook", method="DELETE", url=url)

    return Webhooks(
        topics=TOPICS,
        each=True,
        list=lambda settings: Fetch(
            name="webhooks", url=f"{api(settings)}/webhooks.json?limit=250"
        ),
        read=lambda answer: tuple(map(read, records(dig(answer, "webhooks")))),
        create=create,
        made=lambda answer: read(record(dig(answer, "webhook"))),
        remove=remove,
    )
