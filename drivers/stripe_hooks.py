"""Registering a webhook endpoint at Stripe.

https://docs.stripe.com/api/webhook_endpoints
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from drivers.describe import Fetch, Hook, HookWish, Webhooks
from drivers.read import dig, need, records, text

ENDPOINTS = "https://api.stripe.com/v1/webhook_endpoints"


def read(told: Any) -> Hook:
    """A webhook endpoint; its secret is told only when it is made."""
    return Hook(
        id=need(told, "id"),
        url=need(told, "url"),
        topics=tuple(filter(None, map(text, told.get("enabled_events") or ()))),
        live=told.get("status") == "enabled",
        secret=text(told.get("secret")),
    )


def webhooks(topics: tuple[str, ...], version: str) -> Webhooks:
    """One endpoint for all topics, shaped by a version of the API; it is Stripe that makes the
    secret.
    """

    def create(wish: HookWish) -> Fetch:
        form = {
            "url": wish.url,
            "enabled_events[]": list(wish.topics),
            "api_version": version,
            "description": "Comporta",
        }
        return Fetch(
            name="webhook",
            method="POST",
            url=ENDPOINTS,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form, doseq=True).encode(),
        )

    return Webhooks(
        topics=topics,
        list=lambda _settings: Fetch(name="webhooks", url=f"{ENDPOINTS}?limit=100"),
        read=lambda answer: tuple(map(read, records(dig(answer, "data")))),
        create=create,
        made=read,
        remove=lambda hook, _settings: Fetch(
            name="webhook", method="DELETE", url=f"{ENDPOINTS}/{quote(hook, safe='')}"
        ),
        signs_with="theirs",
    )
