"""Stripe's API: events and webhook endpoints, lists by cursor, the newest first."""

from dataclasses import dataclass, field
from time import time
from typing import Any
from urllib.parse import parse_qs

from tests.provider_apis.hooks import Hooks
from tests.provider_apis.server import NOT_FOUND, Asked, ProviderApi, Reply

KEY = "rk_test_of_these_tests"


@dataclass
class Stripe(ProviderApi):
    """`events`: the oldest first. `page`: rows of one answer."""

    events: list[dict[str, Any]] = field(default_factory=list)
    hooks: Hooks = field(default_factory=Hooks)
    page: int = 100

    def happen(self, number: int, kind: str = "payment_intent.succeeded", ago: int = 60) -> Any:
        """An event, kept for the list; gives it, to be delivered or not."""
        intent = {
            "id": f"pi_{number}",
            "object": "payment_intent",
            "amount": 4200,
            "amount_received": 4200,
            "currency": "brl",
            "status": "succeeded",
            "client_secret": f"pi_{number}_secret_x",
        }
        event = {
            "id": f"evt_{number}",
            "object": "event",
            "type": kind,
            "created": int(time()) - ago,
            "livemode": True,
            "data": {"object": intent},
        }
        self.events.append(event)
        return event

    def is_authorised(self, asked: Asked) -> bool:
        return asked.headers.get("Authorization") == f"Bearer {KEY}"

    def routes(self) -> Any:
        return [
            ("GET", "/v1/account", lambda _: Reply({"id": "acct_1"})),
            ("GET", "/v1/events", self.list),
            ("GET", "/v1/webhook_endpoints", self.list_hooks),
            ("POST", "/v1/webhook_endpoints", self.add_hook),
            ("POST", r"/v1/webhook_endpoints/(\w+)", self.change_hook),
            ("DELETE", r"/v1/webhook_endpoints/(\w+)", self.remove_hook),
        ]

    def list(self, asked: Asked) -> Reply:
        since, types = int(asked.query["created[gte]"]), asked.query.getall("types[]")
        assert len(types) <= 20
        found = [e for e in self.events if e["created"] >= since and e["type"] in types]
        found.sort(key=lambda event: (event["created"], event["id"]), reverse=True)
        after = asked.query.get("starting_after")
        start = next((n + 1 for n, e in enumerate(found) if e["id"] == after), 0)
        shown = found[start : start + self.page]
        return Reply({"object": "list", "data": shown, "has_more": len(found) > start + self.page})

    def list_hooks(self, _asked: Asked) -> Reply:
        kept = [{k: v for k, v in h.items() if k != "secret"} for h in self.hooks.kept.values()]
        return Reply({"object": "list", "data": kept, "has_more": False})

    def add_hook(self, asked: Asked) -> Reply:
        form = parse_qs(asked.body.decode())
        hook = self.hooks.add(
            url=form["url"][0], enabled_events=form["enabled_events[]"], status="enabled"
        )
        return Reply(hook | {"secret": f"whsec_{hook['id']}"})

    def change_hook(self, asked: Asked, ident: str) -> Reply:
        form = parse_qs(asked.body.decode())
        found = self.hooks.change(ident, enabled_events=form["enabled_events[]"], status="enabled")
        return Reply(found) if found else NOT_FOUND

    def remove_hook(self, _asked: Asked, ident: str) -> Reply:
        return Reply({"deleted": True}) if self.hooks.remove(ident) else NOT_FOUND
