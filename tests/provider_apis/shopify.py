"""Shopify's REST Admin API: lists by change with a Link header for the next page, webhooks."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from tests.provider_apis.hooks import Hooks
from tests.provider_apis.server import NOT_FOUND, Asked, ProviderApi, Reply

TOKEN, SHOP = "shpat_of_these_tests", "casa.myshopify.com"
LONG_AGO = "2000-01-01T00:00:00Z"
ADMIN = r"/admin/api/[\w-]+"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Shopify(ProviderApi):
    """`page`: rows of one answer. `refuses`: topics that the app's scopes do not cover."""

    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    checkouts: dict[int, dict[str, Any]] = field(default_factory=dict)
    hooks: Hooks = field(default_factory=Hooks)
    refuses: set[str] = field(default_factory=set)
    page: int = 250

    def put(self, ident: int, status: str = "paid", at: str = "", **more: Any) -> dict[str, Any]:
        self.orders[ident] = {
            "id": ident,
            "order_number": ident,
            "financial_status": status,
            "currency": "BRL",
            "total_price": "189.00",
            "created_at": at or now(),
            "updated_at": at or now(),
            "line_items": [],
        } | more
        return self.orders[ident]

    def abandon(self, ident: int, at: str = "") -> dict[str, Any]:
        self.checkouts[ident] = {
            "id": ident,
            "token": f"t{ident}",
            "email": "jussara@example.com",
            "currency": "BRL",
            "total_price": "50.00",
            "created_at": at or now(),
            "updated_at": at or now(),
            "completed_at": None,
            "line_items": [],
        }
        return self.checkouts[ident]

    def is_authorised(self, asked: Asked) -> bool:
        return asked.headers.get("X-Shopify-Access-Token") == TOKEN

    def routes(self) -> Any:
        return [
            ("GET", f"{ADMIN}/orders.json", lambda a: self.listed(a, "orders", self.orders)),
            ("GET", rf"{ADMIN}/orders/(\d+).json", self.order),
            (
                "GET",
                f"{ADMIN}/checkouts.json",
                lambda a: self.listed(a, "checkouts", self.checkouts),
            ),
            ("GET", f"{ADMIN}/webhooks.json", self.list_hooks),
            ("POST", f"{ADMIN}/webhooks.json", self.add_hook),
            ("DELETE", rf"{ADMIN}/webhooks/(\d+).json", self.remove_hook),
        ]

    def listed(self, asked: Asked, name: str, rows: dict[int, dict[str, Any]]) -> Reply:
        """With `page_info` nothing else may be asked for but the limit."""
        info = asked.query.get("page_info")
        if info is None:
            since = datetime.fromisoformat(asked.query.get("updated_at_min", LONG_AGO))
            start = 0
            assert asked.query["status"] in {"any", "open"}
        else:
            assert set(asked.query) == {"page_info", "limit"}
            text, _, offset = info.rpartition("~")
            since, start = datetime.fromisoformat(text), int(offset)
        found = [r for r in rows.values() if datetime.fromisoformat(r["updated_at"]) >= since]
        found.sort(key=lambda row: (row["updated_at"], row["id"]))
        size = min(self.page, int(asked.query["limit"]))
        headers = {}
        if start + size < len(found):
            more = urlencode({"page_info": f"{since.isoformat()}~{start + size}", "limit": size})
            headers["Link"] = (
                f'<https://{SHOP}{asked.path}?page_info=back>; rel="previous", '
                f'<https://{SHOP}{asked.path}?{more}>; rel="next"'
            )
        return Reply({name: found[start : start + size]}, headers=headers)

    def order(self, _asked: Asked, ident: str) -> Reply:
        order = self.orders.get(int(ident))
        return Reply({"order": order}) if order else NOT_FOUND

    def list_hooks(self, _asked: Asked) -> Reply:
        return Reply({"webhooks": list(self.hooks.kept.values())})

    def add_hook(self, asked: Asked) -> Reply:
        wish = asked.json["webhook"]
        same = [h for h in self.hooks.kept.values() if h["topic"] == wish["topic"]]
        if wish["topic"] in self.refuses or any(h["address"] == wish["address"] for h in same):
            return Reply({"errors": {"topic": ["is invalid or taken"]}}, 422)
        assert wish["format"] == "json"
        return Reply({"webhook": self.hooks.add(**wish)}, 201)

    def remove_hook(self, _asked: Asked, ident: str) -> Reply:
        return Reply({}) if self.hooks.remove(ident) else NOT_FOUND
