"""Bling's API v3: lists that are summaries, filtered by wall time in Brasília; details by id."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.provider_apis.server import NOT_FOUND, Asked, ProviderApi, Reply

TOKEN = "bling-token-of-these-tests"
WALL = "%Y-%m-%d %H:%M:%S"


def brasilia(at: datetime) -> str:
    return at.astimezone(ZoneInfo("America/Sao_Paulo")).strftime(WALL)


@dataclass
class Bling(ProviderApi):
    """`orders`: by id, with the wall time of the last change."""

    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    changed: dict[int, str] = field(default_factory=dict)

    def put(self, ident: int, situation: int = 9, **more: Any) -> None:
        """An order as it is now."""
        self.orders[ident] = {
            "id": ident,
            "numero": ident % 1000,
            "numeroLoja": f"L-{ident}",
            "data": brasilia(datetime.now(UTC))[:10],
            "total": 129.9,
            "totalProdutos": 129.9,
            "contato": {"id": ident + 1, "nome": "Maria Teste", "tipoPessoa": "F"},
            "situacao": {"id": situation, "valor": 1},
            "itens": [
                {"id": 1, "codigo": "SKU-1", "descricao": "Vaso", "quantidade": 1, "valor": 129.9}
            ],
        } | more
        self.changed[ident] = brasilia(datetime.now(UTC))

    def is_authorised(self, asked: Asked) -> bool:
        return asked.headers.get("Authorization") == f"Bearer {TOKEN}"

    def routes(self) -> Any:
        return [
            ("GET", "/Api/v3/empresas/me/dados-basicos", lambda _: Reply({"data": {"id": "c"}})),
            ("GET", "/Api/v3/pedidos/vendas", self.list),
            ("GET", r"/Api/v3/pedidos/vendas/(\d+)", self.detail),
            ("GET", r"/Api/v3/contatos/(\d+)", self.contact),
        ]

    def list(self, asked: Asked) -> Reply:
        first, last = asked.query["dataAlteracaoInicial"], asked.query["dataAlteracaoFinal"]
        page, limit = int(asked.query["pagina"]), int(asked.query["limite"])
        found = sorted(i for i, at in self.changed.items() if first <= at <= last)
        shown = found[(page - 1) * limit : page * limit]
        names = ("id", "numero", "numeroLoja", "data", "total", "contato", "situacao")
        return Reply({"data": [{n: self.orders[i][n] for n in names} for i in shown]})

    def detail(self, _asked: Asked, ident: str) -> Reply:
        order = self.orders.get(int(ident))
        return Reply({"data": order}) if order else NOT_FOUND

    def contact(self, _asked: Asked, ident: str) -> Reply:
        return Reply(
            {"data": {"id": int(ident), "nome": "Maria Teste", "email": f"c{ident}@example.com"}}
        )


def thin_webhook(order: int) -> dict[str, Any]:
    """The body of a webhook, which names an order and tells little of it."""
    return {
        "eventId": f"e-{order}",
        "date": "2026-11-21T00:17:33Z",
        "version": "v1",
        "event": "order.updated",
        "companyId": "c",
        "data": {"id": order, "situacao": {"id": 9, "valor": 1}},
    }
