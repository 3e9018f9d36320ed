"""Providers that are asked: what changed becomes an event, once, whatever happens between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway import sweep
from tests.api.connected import (
    CREDENTIALS,
    come,
    connect,
    deliver,
    events,
    polled,
    refused,
    shown,
)
from tests.api.rig import Api, eventually, serving
from tests.provider_apis.bling import Bling
from tests.provider_apis.irroba import Irroba
from tests.provider_apis.server import Reply, serving_api, too_many
from tests.provider_apis.shopify import SHOP, Shopify
from tests.provider_apis.woocommerce import WooCommerce

ORDERS = "/wp-json/wc/v3/orders"


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Any:
    url = request.getfixturevalue("postgres_db") if request.param == "postgres" else ""
    return SecretStr(url)


@pytest.fixture
async def gateway(tmp_path: Path, store: Any) -> AsyncIterator[Api]:
    """On each engine."""
    async with serving(tmp_path, store=store) as api:
        yield api


@asynccontextmanager
async def bling_shop(api: Api) -> AsyncIterator[tuple[Bling, Any]]:
    async with serving_api(Bling()) as bling:
        yield bling, await connect(api, "bling", bling)


async def test_only_changes_become_events(gateway: Api) -> None:
    async with bling_shop(gateway) as (bling, shop):
        bling.put(101, situation=6)
        await polled(gateway, shop)
        await come(gateway, shop, ("order.created", "101"))
        asked = len(bling.paths())

        again = await polled(gateway, shop)
        assert bling.paths()[asked:] == ["/Api/v3/pedidos/vendas"], "nothing new: no details"
        assert (again["polls"][0]["checked"], again["polls"][0]["found"]) == (1, 0)

        bling.put(101, situation=9)
        await polled(gateway, shop)
        await come(gateway, shop, ("order.created", "101"), ("order.paid", "101"))


async def test_an_order_that_comes_both_ways_is_one_event(gateway: Api) -> None:
    async with bling_shop(gateway) as (bling, shop):
        bling.put(7, situation=9)
        thin = {
            "eventId": "e-1",
            "date": "2026-11-21T00:17:33Z",
            "version": "v1",
            "event": "order.created",
            "companyId": "c",
            "data": {"id": 7, "situacao": {"id": 9, "valor": 1}},
        }
        await deliver(gateway, shop, thin, {"X-Bling-Signature-256": "to be signed"})
        both = (("order.created", "7"), ("order.paid", "7"))
        await come(gateway, shop, *both)

        found = await polled(gateway, shop)
        assert found["polls"][0]["checked"] == 1

        async def completed() -> bool:
            path = f"/processing/webhooks?filter[installation_id]={shop['id']}"
            return all(one["outcome"] == "accepted" for one in (await gateway.get(path)).data)

        await eventually(completed)
        assert await events(gateway, shop) == sorted(both)


async def test_more_orders_of_one_second_than_a_page_holds(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        second = (datetime.now(UTC) - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S")
        for number in range(250):
            woo.put(number + 1, at=second)
        woo.put(251)
        shop = await connect(api, "woocommerce", woo)
        await polled(api, shop)
        assert {key for _, key in await events(api, shop)} == {str(n) for n in range(1, 252)}
        assert await events(api, shop) == sorted(("order.paid", str(n)) for n in range(1, 252))


async def test_pages_are_followed_by_their_links(api: Api) -> None:
    async with serving_api(Shopify(page=2)) as shopify:
        shop = await connect(api, "shopify", shopify)
        for number in range(5):
            shopify.put(number + 1)
        await polled(api, shop)
        names = ("order.created", "order.paid")
        await come(api, shop, *((name, str(n)) for n in range(1, 6) for name in names))
        lists = [a for a in shopify.asked if a.path.endswith("/orders.json")]
        assert len(lists) == 3


async def test_a_sweep_waits_where_it_was_told_to_and_goes_on_there(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo)
        first = datetime.now(UTC) - timedelta(minutes=30)
        for number in range(150):
            at = (first + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S")
            woo.put(number + 1, at=at)

        def busy_at_the_second_page(_: Any) -> None:
            if len(woo.asked) == 2:
                woo.first.append(too_many(after=2))

        woo.on_ask = busy_at_the_second_page
        await polled(api, shop)

        assert woo.statuses == [200, 429, 200]
        asked = [a.query["modified_after"] for a in woo.asked]
        assert asked[0] < asked[1] == asked[2], "the page that was read is not read again"
        assert woo.asked[2].at - woo.asked[1].at >= 2
        assert len(await events(api, shop)) == 150


async def test_a_long_list_is_read_in_turns(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "MOST_PAGES", 2)
    async with serving_api(Shopify(page=1)) as shopify:
        shop = await connect(api, "shopify", shopify)
        for number in range(7):
            shopify.put(number + 1, status="pending")
        await polled(api, shop)
        await come(api, shop, *(("order.created", str(n)) for n in range(1, 8)))


async def test_what_happened_while_it_was_off_is_found_afterwards(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        early = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%S")
        shop = await connect(api, "woocommerce", woo)
        woo.put(1)
        await polled(api, shop)
        await api.services.store.database.write(
            "UPDATE jobs SET doc = $1 WHERE ukey = $2 RETURNING id",
            f'{{"installation_id":"{shop["id"]}","list":"orders","cursor":{{"since":"{early}"}},'
            f'"pause":30000.0}}'.encode(),
            f"poll/{shop['id']}/orders",
        )
        await api.post(f"/installations/{shop['id']}/disable")
        two_hours_ago = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S")
        woo.put(2, at=two_hours_ago)
        await api.services.polls.hurry(
            api.services.directory.installation(shop["id"])  # type: ignore[arg-type]  # it is there
        )

        async def parked() -> bool:
            return not (await shown(api, shop))["polls"]

        api.services.jobs.wake()
        await eventually(parked)
        asked = len(woo.asked)
        await api.post(f"/installations/{shop['id']}/enable")
        await come(api, shop, ("order.paid", "1"), ("order.paid", "2"))
        assert len(woo.asked) > asked


async def test_an_abandoned_checkout_is_found(api: Api) -> None:
    async with serving_api(Shopify()) as shopify:
        long_ago = (datetime.now(UTC) - timedelta(minutes=50)).isoformat(timespec="seconds")
        shopify.abandon(31, at=long_ago)
        settings = {"shop": SHOP, "abandoned_after_minutes": 30}
        shop = await connect(api, "shopify", shopify, **settings)
        await polled(api, shop)
        await come(api, shop, ("checkout.abandoned", "31"))
        body = shopify.checkouts[31]
        told = await deliver(api, shop, body, {"X-Shopify-Topic": "checkouts/update"})
        assert [event["duplicate"] for event in told.body["events"]] == [True]
        newer = body | {"note": "a word more", "cart_token": "c"}
        told = await deliver(api, shop, newer, {"X-Shopify-Topic": "checkouts/update"})
        assert told.body["events"] == [], "what is told by webhook waits for silence"
        await api.services.store.database.write(
            "UPDATE jobs SET due_at = 0 WHERE kind = 'defer' RETURNING id"
        )
        api.services.jobs.wake()
        await polled(api, shop)
        assert await events(api, shop) == [("checkout.abandoned", "31")], "the same silence"


async def test_irrobas_token_is_renewed_and_its_lists_tell_changes_once(api: Api) -> None:
    async with serving_api(Irroba()) as irroba:
        irroba.put(5, status=1)
        irroba.add_cart(8)
        settings = {"api_base_url": irroba.url, "poll_interval": 500}
        shop = await api.install(
            "irroba", settings=settings, credentials=CREDENTIALS["irroba"], instance="loja"
        )
        first = (("order.pending", "5"), ("checkout.abandoned", "8"))
        await come(api, shop, *first)
        logins = irroba.logins

        irroba.tokens.clear()
        irroba.put(5, status=2)
        await api.post(f"/installations/{shop['id']}/poll")
        await come(api, shop, *first, ("order.paid", "5"))
        assert irroba.logins == logins + 1


async def test_what_went_wrong_is_shown_and_tried_again(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo)
        woo.first.append(Reply({"error": "down"}, 500))
        await api.post(f"/installations/{shop['id']}/poll")

        async def failed() -> Any:
            polls = (await shown(api, shop))["polls"]
            return polls[0]["error"] if polls else None

        assert await eventually(failed) == "orders: HTTP 500"
        woo.put(1)
        well = await polled(api, shop)
        assert well["polls"][0]["error"] is None
        await come(api, shop, ("order.paid", "1"))


async def test_the_interval_is_the_installations_and_may_change(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo)
        await polled(api, shop)
        woo.put(1)
        often = {"settings": {"poll_interval": 0.02}}
        await api.patch(f"/installations/{shop['id']}", often)
        await come(api, shop, ("order.paid", "1"))
        woo.put(2)
        await come(api, shop, ("order.paid", "1"), ("order.paid", "2"))


async def test_a_list_of_nonsense_is_no_end(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo)
        woo.first += [Reply({"orders": "soon"}), Reply([{"id": 1}, {"id": 2, "status": "paid"}])]
        await polled(api, shop)
        await polled(api, shop)
        woo.put(3)
        await polled(api, shop)
        assert ("order.paid", "3") in await events(api, shop)


@pytest.mark.parametrize(
    ("driver", "credentials", "why"),
    [
        ("kiwify", {"secret": "s"}, "nothing to poll"),
        ("woocommerce", {"secret": "s"}, "needs the credentials consumer_key, consumer_secret"),
    ],
)
async def test_what_cannot_be_polled_says_why(
    api: Api, driver: str, credentials: dict[str, str], why: str
) -> None:
    shop = await api.install(driver, credentials=credentials)
    assert why in await refused(api, shop, "poll")
    await api.post(f"/installations/{shop['id']}/disable")
    assert await refused(api, shop, "poll")


async def test_the_lag_of_polls_is_a_metric(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo)
        woo.put(1)
        await polled(api, shop)
        async with api.session.get(f"{api.url}/metrics") as got:
            text = await got.text()
    assert "comporta_poll_lag_seconds 0.0" in text
    assert 'comporta_polls_total{driver="woocommerce",outcome="swept"}' in text
    assert 'comporta_polled_events_total{driver="woocommerce"} 1.0' in text
