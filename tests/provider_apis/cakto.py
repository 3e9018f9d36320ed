"""Cakto's public API: a token for a client, the history of deliveries, webhooks."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from tests.provider_apis.hooks import Hooks
from tests.provider_apis.server import NOT_FOUND, Asked, ProviderApi, Reply

CLIENT = {"client_id": "cakto-client", "client_secret": "cakto-secret"}
BASE = "/public_api"


@dataclass
class Cakto(ProviderApi):
    """`history`: deliveries, the oldest first. `page`: rows of one answer."""

    history: list[dict[str, Any]] = field(default_factory=list)
    hooks: Hooks = field(default_factory=Hooks)
    tokens: set[str] = field(default_factory=set)
    page: int = 10

    def tell(self, number: int, kind: str = "purchase_approved", at: str = "") -> dict[str, Any]:
        """A delivery, kept for the history; gives its body."""
        now = at or datetime.now(UTC).isoformat()
        sale = {
            "id": f"sale-{number}",
            "refId": f"R{number}",
            "status": "paid",
            "amount": 97,
            "createdAt": now,
            "paidAt": now,
            "customer": {"name": "Ana", "email": "ana@example.com"},
            "paymentMethod": "pix",
        }
        body = {"secret": "s3cret-of-cakto", "event": kind, "data": sale}
        app = {"fields": {"secret": "s3cret-of-cakto"}}
        self.history.append({"id": 500 + number, "app": app, "payload": body})
        return body

    def is_public(self, asked: Asked) -> bool:
        return asked.path == f"{BASE}/token/"

    def is_authorised(self, asked: Asked) -> bool:
        return asked.headers.get("Authorization", "").removeprefix("Bearer ") in self.tokens

    def routes(self) -> Any:
        return [
            ("POST", f"{BASE}/token/", self.login),
            ("GET", f"{BASE}/webhook/event_history/", self.list),
            ("GET", f"{BASE}/products/", lambda _: Reply({"results": [{"id": "p-1"}]})),
            ("GET", f"{BASE}/webhook/", self.list_hooks),
            ("POST", f"{BASE}/webhook/", self.add_hook),
            ("PUT", rf"{BASE}/webhook/(\d+)/", self.change_hook),
            ("DELETE", rf"{BASE}/webhook/(\d+)/", self.remove_hook),
        ]

    def login(self, asked: Asked) -> Reply:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if form != CLIENT:
            return self.refusal()
        token = f"cakto-{len(self.tokens)}"
        self.tokens.add(token)
        return Reply({"access_token": token, "expires_in": 36000})

    def list(self, asked: Asked) -> Reply:
        page = int(asked.query.get("page", "1"))
        found = list(reversed(self.history))
        shown, path = found[(page - 1) * self.page : page * self.page], f"{BASE}{asked.path}"
        more = page * self.page < len(found)
        link = f"https://api.cakto.com.br{path}?page="
        return Reply(
            {
                "count": len(found),
                "next": f"{link}{page + 1}" if more else None,
                "previous": f"{link}{page - 1}" if page > 1 else None,
                "results": shown,
            }
        )

    def list_hooks(self, _asked: Asked) -> Reply:
        return Reply({"count": len(self.hooks.kept), "results": list(self.hooks.kept.values())})

    def add_hook(self, asked: Asked) -> Reply:
        wish = asked.json
        assert wish["products"]
        events = [{"id": n, "custom_id": name} for n, name in enumerate(wish["events"])]
        hook = self.hooks.add(**(wish | {"events": events, "fields": {"secret": "from-cakto"}}))
        return Reply(hook, 201)

    def change_hook(self, asked: Asked, ident: str) -> Reply:
        found = self.hooks.change(ident, **asked.json)
        return Reply(found) if found else NOT_FOUND

    def remove_hook(self, _asked: Asked, ident: str) -> Reply:
        return Reply(None, 204) if self.hooks.remove(ident) else NOT_FOUND
