"""Irroba's API: a login for half an hour, refusals in an envelope, lists without changes-since."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.provider_apis.bling import brasilia
from tests.provider_apis.server import NOT_FOUND, Asked, ProviderApi, Reply

USER, PASSWORD = "store-user", "store-password"


def enveloped(data: Any) -> Reply:
    return Reply({"success": "true", "data": data})


@dataclass
class Irroba(ProviderApi):
    """`tokens`: those that work."""

    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    carts: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    logins: int = 0

    def put(self, ident: int, status: int = 2, **more: Any) -> None:
        now = brasilia(datetime.now(UTC))
        known = self.orders.get(str(ident), {"date_added": now})
        self.orders[str(ident)] = (
            {
                "order_id": str(ident),
                "order_status_id": str(status),
                "date_modified": now,
                "total": "99.9000",
                "currency_code": "BRL",
                "firstname": "Davi",
                "lastname": "Rezende",
                "email": "davi@example.com",
                "order_product": [
                    {
                        "product_id": "1",
                        "name": "Luva",
                        "model": "L-1",
                        "quantity": "1",
                        "price": "99.9",
                    }
                ],
                **known,
            }
            | {"order_status_id": str(status), "date_modified": now}
            | more
        )

    def add_cart(self, ident: int) -> None:
        self.carts.append(
            {
                "abandoned_cart_id": str(ident),
                "email": "davi@example.com",
                "date_added": brasilia(datetime.now(UTC)),
                "products": [],
                "total": "49.9000",
            }
        )

    def is_public(self, asked: Asked) -> bool:
        return asked.path == "/v1/getToken"

    def is_authorised(self, asked: Asked) -> bool:
        return asked.headers.get("Authorization") in self.tokens

    def refusal(self) -> Reply:
        return Reply({"success": "false", "error": "Invalid Key - Expired"}, 401)

    def routes(self) -> Any:
        return [
            ("POST", "/v1/getToken", self.login),
            ("GET", "/v1/status", lambda _: enveloped([])),
            ("GET", r"/v1/order/added/([\d-]+)/([\d-]+)", self.added),
            ("GET", r"/v1/order/(\d+)", self.detail),
            ("GET", "/v1/customer/abandoned_cart", lambda _: enveloped(self.carts)),
        ]

    def login(self, asked: Asked) -> Reply:
        if asked.json != {"username": USER, "password": PASSWORD}:
            return self.refusal()
        self.logins += 1
        token = f"irroba-{self.logins}"
        self.tokens.add(token)
        ends = brasilia(datetime.now(UTC) + timedelta(minutes=30))
        return enveloped({"authorization": token, "date_expire": ends})

    def added(self, _asked: Asked, first: str, last: str) -> Reply:
        found = [o for o in self.orders.values() if first <= o["date_added"][:10] <= last]
        return enveloped(found)

    def detail(self, _asked: Asked, ident: str) -> Reply:
        order = self.orders.get(ident)
        return enveloped([order]) if order else NOT_FOUND
