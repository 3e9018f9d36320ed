"""Registering webhooks in a WooCommerce store.

https://developer.woocommerce.com/docs/apis/rest-api/v3/webhooks/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from drivers.describe import Fetch, Hook, HookWish, Webhooks
from drivers.read import need, records
from schemas import codec

# What WooCommerce Subscriptions adds, only `settings.webhook_topics` can ask for.
TOPICS = ("order.created", "order.updated", "order.restored")
JSON = {"Content-Type": "application/json"}


def read(told: Any) -> Hook:
    """A webhook; the store switches one off that failed too often, and never tells a secret."""
    return Hook(
        id=need(told, "id"),
        url=need(told, "delivery_url"),
        topics=(need(told, "topic"),),
        live=told.get("status") == "active",
    )


def webhooks(api: Callable[[Mapping[str, Any]], str]) -> Webhooks:
    """One webhook for each topic, signed with the installation's secret. `api`: where the store's
    API is, by the settings.
    """

    def create(wish: HookWish) -> Fetch:
        [topic] = wish.topics
        body = {
            "name": f"Comporta {topic}",
            "topic": topic,
            "delivery_url": wish.url,
            "secret": wish.secret,
            "status": "active",
        }
        url = f"{api(wish.settings)}/webhooks"
        return Fetch(name=topic, method="POST", url=url, headers=JSON, body=codec.dumps(body))

    def remove(hook: str, settings: Mapping[str, Any]) -> Fetch:
        url = f"{api(settings)}/webhooks/{quote(hook, safe='')}?force=true"
        return Fetch(name="webhook", method="DELETE", url=url)

    return Webhooks(
        topics=TOPICS,
        each=True,
        list=lambda settings: Fetch(
            name="webhooks", url=f"{api(settings)}/webhooks?per_page=100&status=all"
        ),
        read=lambda answer: tuple(map(read, records(answer))),
        create=create,
        made=read,
        remove=remove,
        signs_with="ours",
    )
