"""A WooCommerce store: `modified_after` leaves its own second out, pages are counted."""

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.provider_apis.hooks import Hooks
from tests.provider_apis.server import NOT_FOUND, Asked, ProviderApi, Reply

KEY, SECRET = "ck_of_these_tests", "cs_of_these_tests"
BASE = "/wp-json/wc/v3"


def now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


@dataclass
class WooCommerce(ProviderApi):
    """Orders by id, as the store shows them."""

    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=Hooks)

    def put(self, ident: int, status: str = "processing", at: str = "", **more: Any) -> Any:
        moment = at or now()
        self.orders[ident] = {
            "id": ident,
            "number": str(ident),
            "status": status,
            "currency": "BRL",
            "total": "80.00",
            "date_created_gmt": moment,
            "date_modified_gmt": moment,
            "date_paid_gmt": moment if status in {"processing", "completed"} else None,
            "billing": {"first_name": "Ana", "email": "ana@example.com"},
            "line_items": [],
        } | more
        return self.orders[ident]

    def is_authorised(self, asked: Asked) -> bool:
        pair = b64encode(f"{KEY}:{SECRET}".encode()).decode()
        return asked.headers.get("Authorization") == f"Basic {pair}"

    def routes(self) -> Any:
        return [
            ("GET", f"{BASE}/orders", self.list),
            ("GET", f"{BASE}/webhooks", self.list_hooks),
            ("POST", f"{BASE}/webhooks", self.add_hook),
            ("PUT", rf"{BASE}/webhooks/(\d+)", self.change_hook),
            ("DELETE", rf"{BASE}/webhooks/(\d+)", self.remove_hook),
        ]

    def list(self, asked: Asked) -> Reply:
        after, size = asked.query.get("modified_after", ""), int(asked.query["per_page"])
        assert not after or asked.query["dates_are_gmt"] == "true"
        assert not after or asked.query["orderby"] == "modified"
        page = int(asked.query.get("page", "1"))
        found = [o for o in self.orders.values() if o["date_modified_gmt"] > after]
        found.sort(key=lambda order: (order["date_modified_gmt"], order["id"]))
        return Reply(found[(page - 1) * size : page * size])

    def list_hooks(self, asked: Asked) -> Reply:
        page, size = int(asked.query.get("page", "1")), int(asked.query["per_page"])
        return Reply(list(self.hooks.kept.values())[(page - 1) * size : page * size])

    def add_hook(self, asked: Asked) -> Reply:
        wish = asked.json
        assert wish["secret"]
        assert wish["status"] == "active"
        return Reply(self.hooks.add(**{k: v for k, v in wish.items() if k != "secret"}), 201)

    def change_hook(self, asked: Asked, ident: str) -> Reply:
        found = self.hooks.change(ident, **asked.json)
        return Reply(found) if found else NOT_FOUND

    def remove_hook(self, asked: Asked, ident: str) -> Reply:
        assert asked.query["force"] == "true"
        return Reply({}) if self.hooks.remove(ident) else NOT_FOUND
