"""Deliveries that carry an id are completed by the provider's API, as fast as it lets us; when it
does not, what is known goes out with the reason.
"""

from pathlib import Path
from typing import Any

import pytest

from gateway import enrich
from gateway.bootstrap import Keys
from schemas import codec
from tests.api.connected import come, connect, deliver, events, shown
from tests.api.rig import ADMIN, Api, eventually, serving
from tests.provider_apis.bling import Bling, thin_webhook
from tests.provider_apis.irroba import Irroba
from tests.provider_apis.server import Asked, Reply, serving_api, too_many
from tests.provider_apis.shopify import Shopify

SIGNED = {"X-Bling-Signature-256": "to be signed"}


async def thin(api: Api, shop: Any, number: int) -> None:
    """A webhook of Bling, which names an order."""
    answer = await deliver(api, shop, thin_webhook(number), SIGNED)
    assert answer.body["enriching"] is True


async def data_of(api: Api, shop: Any) -> Any:
    """The data of the only event of an installation."""
    path = f"/processing/events?filter[installation_id]={shop['id']}"

    async def look() -> Any:
        found = (await api.get(path)).data
        return found[0] if found else None

    event = await eventually(look)
    return (await api.get(f"/processing/events/{event['id']}")).data["data"]


def jobs(api: Api) -> Any:
    query = "SELECT doc FROM jobs WHERE kind = 'enrich'"
    return api.services.store.database.fetch(query)


def busy_for(provider: Any, times: int, reply: Reply) -> None:
    """The next calls for an order are answered so."""
    left = [times]

    def refuse(asked: Asked) -> None:
        if left[0] and "/pedidos/vendas/" in asked.path:
            left[0] -= 1
            provider.first.append(reply)

    provider.on_ask = refuse


async def test_an_installation_waits_as_long_as_its_provider_asks(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrich, "MOST_TRIES", 2)
    async with serving_api(Bling()) as bling:
        shop = await connect(api, "bling", bling)
        for number in range(1, 5):
            bling.put(number)
        busy_for(bling, 3, too_many(after=1))
        for number in range(1, 5):
            await thin(api, shop, number)
        await come(api, shop, *(("order.paid", str(n)) for n in range(1, 5)))
        held = [
            asked.at - before.at
            for before, status, asked in zip(
                bling.asked, bling.statuses, bling.asked[1:], strict=False
            )
            if status == 429
        ]
        assert len(held) >= 1
        assert max(held) >= 0.9, "while it has to wait, nobody asks"
        mails = await api.get(f"/processing/events?filter[installation_id]={shop['id']}")
        for one in mails.data:
            told = (await api.get(f"/processing/events/{one['id']}")).data["data"]
            assert told["customer"]["email"]
            assert "enrichment_error" not in told["extra"]


async def test_what_the_api_never_tells_goes_out_thin(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrich, "MOST_TRIES", 3)
    monkeypatch.setattr(enrich, "FIRST_PAUSE", 0.01)
    async with serving_api(Bling()) as bling:
        shop = await connect(api, "bling", bling)
        bling.put(7)
        busy_for(bling, 99, Reply({"error": "down"}, 500))
        await thin(api, shop, 7)
        told = await data_of(api, shop)
        assert told["order"]["id"] == "7"
        assert told["extra"]["enrichment_error"] == "order: HTTP 500"
        assert bling.paths().count("/Api/v3/pedidos/vendas/7") == 3
        async with api.session.get(f"{api.url}/metrics") as got:
            text = await got.text()
    assert 'comporta_enrichments_total{driver="bling",outcome="given_up"} 1.0' in text


async def test_a_limit_that_does_not_end_has_an_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrich, "LONGEST_WAIT", 100.0)
    async with serving_api(Bling()) as bling:
        shop = await connect(api, "bling", bling)
        bling.put(7)
        busy_for(bling, 99, too_many(after=600))
        await thin(api, shop, 7)
        told = await data_of(api, shop)
        assert told["extra"]["enrichment_error"] == "order: HTTP 429"


async def test_tries_are_counted_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrich, "MOST_TRIES", 2)
    monkeypatch.setattr(enrich, "FIRST_PAUSE", 500.0)
    async with serving_api(Bling()) as bling:
        async with serving(tmp_path) as api:
            shop = await connect(api, "bling", bling)
            bling.put(7)
            busy_for(bling, 99, Reply({"error": "down"}, 500))
            await thin(api, shop, 7)

            async def tried() -> bool:
                return [codec.loads(bytes(d)).get("tries") for (d,) in await jobs(api)] == [1]

            await eventually(tried)
            keys = Keys(api.services.vault, ADMIN, is_new=False)
        async with serving(tmp_path, keys) as api:
            assert await tried()
            await api.services.store.database.write(
                "UPDATE jobs SET due_at = 0 WHERE kind = 'enrich' RETURNING id"
            )
            api.services.jobs.wake()
            told = await data_of(api, shop)
            assert told["extra"]["enrichment_error"] == "order: HTTP 500"


async def test_a_slow_provider_keeps_nobody_else_waiting(api: Api) -> None:
    async with serving_api(Bling()) as slow, serving_api(Bling()) as quick:
        one, other = await connect(api, "bling", slow), await connect(api, "bling", quick)
        slow.gate.clear()
        for number in range(60):
            slow.put(number + 1)
            await thin(api, one, number + 1)
        quick.put(1)
        await thin(api, other, 1)
        await come(api, other, ("order.paid", "1"))
        assert await events(api, one) == []
        assert len([a for a in slow.asked if "/vendas/" in a.path]) <= enrich.AT_ONCE


async def test_a_refund_is_partial_when_its_order_says_so(api: Api) -> None:
    async with serving_api(Shopify()) as shopify:
        shop = await connect(api, "shopify", shopify, reconcile_interval=0)
        shopify.put(50, status="partially_refunded")
        refund = {"id": 9, "order_id": 50, "transactions": [], "refund_line_items": []}
        refund["transactions"] = [
            {"kind": "refund", "status": "success", "amount": "10.00", "currency": "BRL"}
        ]
        await deliver(api, shop, refund, {"X-Shopify-Topic": "refunds/create"})
        await come(api, shop, ("order.partially_refunded", "50"))


async def test_an_order_that_is_not_there_is_told_at_once(api: Api) -> None:
    async with serving_api(Irroba()) as irroba:
        settings = {"api_base_url": irroba.url, "poll_interval": 500}
        credentials = {"username": "store-user", "password": "store-password"}
        shop = await api.install(
            "irroba", settings=settings, credentials=credentials, instance="loja"
        )
        await deliver(api, shop, {"order_id": 404, "order_status_id": 7})
        told = await data_of(api, shop)
        assert told["order"]["id"] == "404"
        assert told["extra"]["enrichment_error"] == "order:404: HTTP 404"


async def test_a_refusal_with_a_200_is_no_answer(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrich, "FIRST_PAUSE", 0.01)
    async with serving_api(Irroba()) as irroba:
        settings = {"api_base_url": irroba.url, "poll_interval": 500}
        credentials = {"username": "store-user", "password": "store-password"}
        shop = await api.install(
            "irroba", settings=settings, credentials=credentials, instance="loja"
        )
        irroba.put(5, status=7, date_added="2020-01-01 00:00:00")  # no list shows it
        refused = [Reply({"success": "false", "error": "try later"})]

        def refuse(asked: Asked) -> None:
            if refused and asked.path == "/v1/order/5":
                irroba.first.append(refused.pop())

        irroba.on_ask = refuse
        await deliver(api, shop, {"order_id": 5, "order_status_id": 7})
        told = await data_of(api, shop)
        assert told["customer"]["email"] == "davi@example.com"
        assert "enrichment_error" not in told["extra"]
        assert (await shown(api, shop))["status"] == "active"
        assert not refused


async def test_what_waits_for_an_installation_that_is_removed_waits_no_more(api: Api) -> None:
    async with serving_api(Bling()) as bling:
        shop = await connect(api, "bling", bling)
        busy_for(bling, 99, too_many(after=600))
        await thin(api, shop, 7)
        await eventually(lambda: jobs(api))
        await api.delete(f"/installations/{shop['id']}")
        await api.services.store.database.write(
            "UPDATE jobs SET due_at = 0 WHERE kind = 'enrich' RETURNING id"
        )
        api.services.jobs.wake()

        async def ignored() -> bool:
            [one] = (await api.get("/processing/webhooks")).data
            return (one["outcome"], one["reason"]) == ("ignored", "its installation was removed")

        await eventually(ignored)
