"""Webhooks that never came are found in what the provider lists, and emitted once."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.connected import come, connect, deliver, events, polled, refused, shown
from tests.api.rig import Api, eventually
from tests.provider_apis.cakto import Cakto
from tests.provider_apis.pagarme import Pagarme
from tests.provider_apis.server import Asked, ProviderApi, Reply, serving_api, too_many
from tests.provider_apis.shopify import Shopify
from tests.provider_apis.stripe import Stripe
from tests.provider_apis.woocommerce import WooCommerce

Sale = Callable[[ProviderApi, int, datetime], Any]
Send = Callable[[Api, Any, Any], Awaitable[Any]]


def shopify_sale(shop: Any, number: int, at: datetime) -> Any:
    return shop.put(number, status="pending", at=at.isoformat(timespec="seconds"))


def woo_sale(shop: Any, number: int, at: datetime) -> Any:
    return shop.put(number, at=at.replace(tzinfo=None).isoformat(timespec="seconds"))


def stripe_sale(account: Any, number: int, at: datetime) -> Any:
    return account.happen(number, ago=round((datetime.now(UTC) - at).total_seconds()))


def pagarme_sale(account: Any, number: int, at: datetime) -> Any:
    order = account.put(number, at=at)
    return {"id": f"hook_{number}", "type": "order.paid", "data": order}


def cakto_sale(account: Any, number: int, at: datetime) -> Any:
    return account.tell(number, at=at.isoformat())


async def send_shopify(api: Api, shop: Any, body: Any) -> None:
    await deliver(api, shop, body, {"X-Shopify-Topic": "orders/create"})


async def send_woo(api: Api, shop: Any, body: Any) -> None:
    await deliver(api, shop, body, {"X-WC-Webhook-Topic": "order.updated"})


async def send(api: Api, shop: Any, body: Any) -> None:
    await deliver(api, shop, body)


PROVIDERS: dict[str, tuple[type[ProviderApi], Sale, Send, str, str]] = {
    "shopify": (Shopify, shopify_sale, send_shopify, "order.created", ""),
    "woocommerce": (WooCommerce, woo_sale, send_woo, "order.paid", ""),
    "stripe": (Stripe, stripe_sale, send, "order.paid", "pi_"),
    "pagarme": (Pagarme, pagarme_sale, send, "order.paid", "or_"),
    "cakto": (Cakto, cakto_sale, send, "order.paid", "sale-"),
}


async def reconciled(api: Api, shop: Any, **body: Any) -> Any:
    """Reconcile, and wait for the end; gives the report."""
    answer = await api.post(f"/installations/{shop['id']}/reconcile", body or None)
    assert answer.status == 202, answer.body
    assert answer.data["reconciliation"]["state"] == "running"

    async def ended() -> Any:
        report = (await shown(api, shop))["reconciliation"]
        return report if report["state"] != "running" else None

    return await eventually(ended)


@pytest.mark.parametrize("driver", PROVIDERS)
async def test_a_webhook_that_never_came_is_found_and_told_once(api: Api, driver: str) -> None:
    made, sale, deliver_it, name, prefix = PROVIDERS[driver]
    async with serving_api(made()) as provider:
        now = datetime.now(UTC)
        sale(provider, 1, now - timedelta(hours=30))
        came = sale(provider, 2, now - timedelta(hours=20))
        sale(provider, 3, now - timedelta(hours=19))
        shop = await connect(api, driver, provider, reconcile_interval=0)
        await deliver_it(api, shop, came)

        report = await reconciled(api, shop)
        wanted = [(name, f"{prefix}{number}") for number in (2, 3)]
        await come(api, shop, *wanted)
        assert (report["state"], report["found"], report["error"]) == ("done", 1, None)
        assert report["checked"] == 2
        [ident] = report["events"]
        assert (await api.get(f"/processing/events/{ident}")).data["key"] == f"{prefix}3"

        again = await reconciled(api, shop)
        assert (again["checked"], again["found"], again["events"]) == (2, 0, [])
        further = await reconciled(api, shop, hours=48)
        assert (further["checked"], further["found"]) == (3, 1)
        await come(api, shop, *wanted, (name, f"{prefix}1"))


async def test_it_also_happens_by_itself(api: Api) -> None:
    async with serving_api(Stripe()) as stripe:
        shop = await connect(api, "stripe", stripe, reconcile_interval=0.02)
        stripe.happen(1, ago=1)
        await come(api, shop, ("order.paid", "pi_1"))
        stripe.happen(2, ago=0)
        await come(api, shop, ("order.paid", "pi_1"), ("order.paid", "pi_2"))


async def test_secrets_of_a_list_are_not_kept(api: Api) -> None:
    async with serving_api(Stripe()) as stripe:
        stripe.happen(1)
        shop = await connect(api, "stripe", stripe)
        await polled(api, shop)
        rows = await api.services.store.database.fetch("SELECT body FROM inbounds")
        assert [b"secret_x" in bytes(body) for (body,) in rows] == [False]


async def test_it_goes_on_after_being_told_to_wait(api: Api) -> None:
    async with serving_api(Stripe(page=2)) as stripe:
        shop = await connect(api, "stripe", stripe, reconcile_interval=0)
        for number in range(5):
            stripe.happen(number)

        def busy_at_the_second_page(_: Asked) -> None:
            if len(stripe.asked) == 2:
                stripe.first.append(too_many(after=1))

        stripe.on_ask = busy_at_the_second_page
        report = await reconciled(api, shop)
        assert (report["checked"], report["found"]) == (5, 5)
        assert stripe.statuses == [200, 429, 200, 200]
        after = [asked.query.get("starting_after") for asked in stripe.asked]
        assert after == [None, "evt_3", "evt_3", "evt_1"]


async def test_one_at_a_time(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo, reconcile_interval=0)
        woo.first.append(too_many(after=3600))
        path = f"/installations/{shop['id']}/reconcile"
        first = (await api.post(path, {"hours": 5})).data["reconciliation"]
        second = (await api.post(path, {"hours": 9})).data["reconciliation"]
        assert (second["state"], second["since"]) == ("running", first["since"])


async def test_a_list_that_is_refused_ends_it_with_the_reason(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo, reconcile_interval=0)
        woo.first.append(Reply({"code": "rest_invalid_param"}, 400))
        report = await reconciled(api, shop)
        assert (report["state"], report["error"]) == ("failed", "orders: HTTP 400")
        woo.put(1)
        assert (await reconciled(api, shop))["found"] == 1
        assert await events(api, shop) == [("order.paid", "1")]


@pytest.mark.parametrize(
    ("driver", "credentials", "why"),
    [
        ("kiwify", {"secret": "s"}, "no list that its webhooks could be compared with"),
        ("pagarme", {"secret": "u:p"}, "needs the credentials secret_key"),
    ],
)
async def test_what_cannot_be_compared_says_why(
    api: Api, driver: str, credentials: dict[str, str], why: str
) -> None:
    shop = await api.install(driver, credentials=credentials)
    assert why in await refused(api, shop, "reconcile")
    if driver == "pagarme":
        await api.post(f"/installations/{shop['id']}/disable")
        assert "not active" in await refused(api, shop, "reconcile")


@pytest.mark.parametrize("hours", [0, -1, 2161, 721, "24", None, 1.5])
async def test_a_look_back_is_bounded(api: Api, hours: Any) -> None:
    shop = await api.install("pagarme", credentials={"secret": "u:p", "secret_key": "sk_1"})
    answer = await api.post(f"/installations/{shop['id']}/reconcile", {"hours": hours})
    assert "hours" in answer.faults
