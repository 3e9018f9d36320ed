"""Webhooks are registered at the provider, follow the installation, and go with it."""

from pathlib import Path
from typing import Any

import pytest

from gateway import subscriptions
from tests.api.connected import connect, deliver, shown
from tests.api.rig import Api, eventually, serving
from tests.provider_apis.cakto import Cakto
from tests.provider_apis.hooks import Hooks
from tests.provider_apis.server import ProviderApi, Reply, serving_api
from tests.provider_apis.shopify import Shopify
from tests.provider_apis.stripe import Stripe
from tests.provider_apis.woocommerce import WooCommerce

PROVIDERS: dict[str, tuple[type[ProviderApi], str]] = {
    "shopify": (Shopify, "address"),
    "woocommerce": (WooCommerce, "delivery_url"),
    "stripe": (Stripe, "url"),
    "cakto": (Cakto, "url"),
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again after a moment."""
    monkeypatch.setattr(subscriptions, "FIRST_PAUSE", 0.01)


async def subscribed(api: Api, shop: Any, state: str = "active", **more: Any) -> Any:
    """Wait until the subscription is in this state; gives the installation."""

    async def look() -> Any:
        one = await shown(api, shop)
        told = one["subscription"]
        fits = told["state"] == state and all(told[k] == v for k, v in more.items())
        return one if fits else None

    return await eventually(look)


async def look_again(api: Api, shop: Any) -> None:
    """As a day later."""
    await api.services.store.database.write(
        "UPDATE jobs SET due_at = 0 WHERE ukey = $1 RETURNING id", f"subscribe/{shop['id']}"
    )
    api.services.jobs.wake()


def hooks_of(provider: Any) -> Hooks:
    hooks: Hooks = provider.hooks
    return hooks


@pytest.mark.parametrize("driver", PROVIDERS)
async def test_they_come_move_and_go_with_the_installation(api: Api, driver: str) -> None:
    made, address = PROVIDERS[driver]
    few = {"shopify": {"webhook_topics": ["orders/paid", "refunds/create"]}}
    async with serving_api(made()) as provider:
        hooks = hooks_of(provider)
        other = hooks.add(**{address: "https://elsewhere.example/hook"}, topic="x", status="x")
        shop = await connect(
            api, driver, provider, reconcile_interval=0, subscribe=True, **few.get(driver, {})
        )
        one = await subscribed(api, shop, url=shop["ingest_url"])
        hooks.remove(str(other["id"]))
        assert set(hooks.values(address)) == {shop["ingest_url"]}
        assert one["subscription"]["ids"] == list(hooks.kept)
        assert one["warnings"] == []

        await look_again(api, shop)
        moved = (await api.post(f"/installations/{shop['id']}/rotate-token")).data
        await subscribed(api, shop, url=moved["ingest_url"])
        assert moved["ingest_url"] != shop["ingest_url"]
        assert set(hooks.values(address)) == {moved["ingest_url"]}

        await api.post(f"/installations/{shop['id']}/disable")
        await subscribed(api, shop, "off")
        assert hooks.kept == {}
        await api.post(f"/installations/{shop['id']}/enable")
        await subscribed(api, shop)
        assert set(hooks.values(address)) == {moved["ingest_url"]}

        await api.delete(f"/installations/{shop['id']}")

        async def gone() -> bool:
            return not hooks.kept

        await eventually(gone)


async def test_a_look_finds_nothing_to_do(api: Api) -> None:
    async with serving_api(Shopify()) as shopify:
        shop = await connect(api, "shopify", shopify, reconcile_interval=0, subscribe=True)
        before = await subscribed(api, shop)
        asked = len(shopify.asked)
        await look_again(api, shop)

        async def looked() -> bool:
            return len(shopify.asked) > asked

        await eventually(looked)
        assert [a.method for a in shopify.asked[asked:] if "webhooks" in a.path] == ["GET"]
        assert (await shown(api, shop))["updated_at"] == before["updated_at"]


async def test_what_the_provider_switched_off_is_made_again(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo, subscribe=True)
        await subscribed(api, shop)
        [first, *_] = woo.hooks.kept
        woo.hooks.change(first, status="disabled")
        await look_again(api, shop)

        async def well() -> bool:
            return first not in woo.hooks.kept and len(woo.hooks.kept) == 3

        await eventually(well)
        assert set(woo.hooks.values("status")) == {"active"}


async def test_a_secret_that_stripe_makes_verifies_what_comes(api: Api) -> None:
    async with serving_api(Stripe()) as stripe:
        settings = {"api_base_url": stripe.url, "reconcile_interval": 0}
        key = {"access_token": "rk_test_of_these_tests"}
        shop = await api.install("stripe", credentials=key, settings=settings)
        one = await subscribed(api, shop)
        assert one["warnings"] == []
        [hook] = stripe.hooks.kept.values()
        event = stripe.happen(1)
        told = await deliver(api, shop, event, secret=f"whsec_{hook['id']}")
        assert told.body["events"][0]["event"] == "order.paid"

        secret = {"secret": "whsec_by_hand", "overlap_seconds": 60}
        await api.post(f"/installations/{shop['id']}/rotate-credentials", secret)
        await deliver(api, shop, stripe.happen(2), secret=f"whsec_{hook['id']}")


async def test_a_new_secret_of_ours_is_told_to_the_store(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(api, "woocommerce", woo, subscribe=True)
        await subscribed(api, shop)
        first = set(woo.hooks.kept)
        body = {"secret": "another-secret", "overlap_seconds": 60}
        await api.post(f"/installations/{shop['id']}/rotate-credentials", body)

        async def renewed() -> bool:
            return len(woo.hooks.kept) == 3 and not first & set(woo.hooks.kept)

        await eventually(renewed)
        sent = [a.json["secret"] for a in woo.asked if a.method == "POST"]
        assert sent[-3:] == ["another-secret"] * 3


async def test_what_fails_is_a_warning_and_tried_again(api: Api) -> None:
    async with serving_api(Stripe()) as stripe:
        down = True

        def refuse(asked: Any) -> None:
            if down and "webhook_endpoints" in asked.path:
                stripe.first.append(Reply({"error": "down"}, 500))

        stripe.on_ask = refuse
        shop = await connect(api, "stripe", stripe, reconcile_interval=0, subscribe=True)
        one = await subscribed(api, shop, "failed")
        assert one["status"] == "active"
        assert one["warnings"] == ["webhooks are missing at Stripe: webhooks: HTTP 500"]
        await deliver(api, shop, stripe.happen(1))
        down = False
        well = await subscribed(api, shop)
        assert well["warnings"] == []


async def test_topics_that_an_app_may_not_have_are_told(api: Api) -> None:
    async with serving_api(Shopify(refuses={"checkouts/create"})) as shopify:
        shop = await connect(api, "shopify", shopify, reconcile_interval=0, subscribe=True)
        one = await subscribed(api, shop)
        assert one["warnings"] == ["webhooks are missing at Shopify: checkouts/create: HTTP 422"]
        assert "checkouts/create" not in one["subscription"]["topics"]
        assert len(shopify.hooks.kept) == 11


async def test_topics_are_the_installations(api: Api) -> None:
    async with serving_api(WooCommerce()) as woo:
        shop = await connect(
            api, "woocommerce", woo, webhook_topics=["order.updated"], subscribe=True
        )
        await subscribed(api, shop, topics=["order.updated"])
        topics = {"settings": {"webhook_topics": ["order.updated", "subscription.updated"]}}
        await api.patch(f"/installations/{shop['id']}", topics)
        await subscribed(api, shop, topics=["order.updated", "subscription.updated"])
        off = {"settings": {"subscribe": False}}
        await api.patch(f"/installations/{shop['id']}", off)
        await subscribed(api, shop, "off")
        assert woo.hooks.kept == {}


@pytest.mark.parametrize(
    ("driver", "credentials", "why"),
    [
        ("bling", {"access_token": "t", "secret": "s"}, "takes webhooks by hand only"),
        ("pagarme", {"secret_key": "sk", "secret": "u:p"}, "takes webhooks by hand only"),
        ("kiwify", {"secret": "s"}, "takes webhooks by hand only"),
        ("woocommerce", {"secret": "s"}, "without its API credentials"),
        ("stripe", {"access_token": "t", "secret": "s"}, "COMPORTA_PUBLIC_URL cannot be reached"),
    ],
)
async def test_what_has_to_be_done_by_hand_says_so(
    tmp_path: Path, driver: str, credentials: dict[str, str], why: str
) -> None:
    async with serving(tmp_path, public_url="http://127.0.0.1:8080") as api:
        shop = await api.install(driver, credentials=credentials)
        assert shop["subscription"]["state"] == "manual"
        assert why in shop["subscription"]["error"]
        assert shop["warnings"] == [] or "could not be checked" in shop["warnings"][0]
