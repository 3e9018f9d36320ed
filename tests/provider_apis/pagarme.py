"""Pagar.me's API v5: orders by the time they were made, pages by a link."""

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.provider_apis.server import NOT_FOUND, Asked, ProviderApi, Reply

KEY = "sk_of_these_tests"


@dataclass
class Pagarme(ProviderApi):
    """Orders by id; `page`: rows of one answer."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    page: int = 30

    def put(self, number: int, status: str = "paid", at: datetime | None = None) -> dict[str, Any]:
        ident = f"or_{number}"
        made = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        charge = {
            "id": f"ch_{number}",
            "status": status,
            "amount": 5000,
            "paid_amount": 5000 if status == "paid" else None,
            "paid_at": made if status == "paid" else None,
            "payment_method": "pix",
        }
        self.orders[ident] = {
            "id": ident,
            "code": str(number),
            "status": status,
            "amount": 5000,
            "currency": "BRL",
            "created_at": made,
            "updated_at": made,
            "charges": [charge],
        }
        return self.orders[ident]

    def is_authorised(self, asked: Asked) -> bool:
        pair = b64encode(f"{KEY}:".encode()).decode()
        return asked.headers.get("Authorization") == f"Basic {pair}"

    def routes(self) -> Any:
        return [
            ("GET", "/core/v5/orders", self.list),
            ("GET", r"/core/v5/orders/(\w+)", self.detail),
        ]

    def list(self, asked: Asked) -> Reply:
        since = asked.query.get("created_since", "")
        page, size = int(asked.query.get("page", "1")), min(self.page, int(asked.query["size"]))
        found = [o for o in self.orders.values() if o["created_at"] >= since]
        found.sort(key=lambda order: order["created_at"], reverse=True)
        link = f"https://api.pagar.me/core/v5/orders?created_since={since}&page={page + 1}"
        following = f"{link}&size={size}" if page * size < len(found) else None
        shown = found[(page - 1) * size : page * size]
        return Reply({"data": shown, "paging": {"total": len(found), "next": following}})

    def detail(self, _asked: Asked, ident: str) -> Reply:
        order = self.orders.get(ident)
        return Reply(order) if order else NOT_FOUND
