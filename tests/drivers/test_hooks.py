"""How Cakto, Shopify, Stripe and WooCommerce are asked to send webhooks."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers import BY_SLUG
from drivers.describe import HookWish, Webhooks
from schemas.errors import MalformedError

URL = "https://hooks.example.com/hooks/x/t"
SETTINGS = {"shop": "casa", "store_url": "https://loja.example/pt"}
# What each shows of a webhook, and where it is.
KNOWN: dict[str, tuple[str, Any, str]] = {
    "shopify": (
        "https://casa.myshopify.com/admin/api/2026-07/webhooks",
        {"webhooks": [{"id": 7, "address": URL, "topic": "orders/paid"}]},
        ".json",
    ),
    "woocommerce": (
        "https://loja.example/pt/wp-json/wc/v3/webhooks",
        [{"id": 7, "delivery_url": URL, "topic": "order.updated", "status": "active"}],
        "",
    ),
    "stripe": (
        "https://api.stripe.com/v1/webhook_endpoints",
        {"data": [{"id": 7, "url": URL, "enabled_events": ["x"], "status": "enabled"}]},
        "",
    ),
    "cakto": (
        "https://api.cakto.com.br/public_api/webhook/",
        {"results": [{"id": 7, "url": URL, "events": [{"custom_id": "x"}], "status": "active"}]},
        "",
    ),
}
BY_DRIVER = [pytest.param(slug, *known, id=slug) for slug, known in KNOWN.items()]


def webhooks(slug: str) -> Webhooks:
    api = BY_SLUG[slug].api
    assert api
    assert api.webhooks
    return api.webhooks


def wish(slug: str, *topics: str, **more: Any) -> HookWish:
    known: dict[str, Any] = {"url": URL, "topics": topics, "secret": "s", "settings": SETTINGS}
    return HookWish(**(known | more))


@pytest.mark.parametrize(("slug", "place", "answer", "ending"), BY_DRIVER)
def test_they_are_listed_and_removed(slug: str, place: str, answer: Any, ending: str) -> None:
    hooks = webhooks(slug)
    listed = hooks.list(SETTINGS)
    assert listed.method == "GET"
    assert listed.url.partition("?")[0] == place + ending
    [hook] = hooks.read(answer)
    assert (hook.id, hook.url, hook.live, len(hook.topics)) == ("7", URL, True, 1)
    removed = hooks.remove("7", SETTINGS)
    assert removed.method == "DELETE"
    parts = urlsplit(removed.url)
    assert parts.path.rstrip("/").endswith(f"/7{ending}")
    assert hooks.read(None) == ()


@pytest.mark.parametrize("slug", ["woocommerce", "stripe", "cakto"])
def test_one_that_is_switched_off_is_seen(slug: str) -> None:
    _, answer, _ = KNOWN[slug]
    rows = answer if isinstance(answer, list) else next(iter(answer.values()))
    [hook] = webhooks(slug).read(json.loads(json.dumps(answer).replace(rows[0]["status"], "off")))
    assert not hook.live


def test_shopify_is_asked_topic_by_topic() -> None:
    hooks = webhooks("shopify")
    assert hooks.each
    made = hooks.create(wish("shopify", "orders/paid"))
    assert json.loads(made.body or b"") == {
        "webhook": {"topic": "orders/paid", "address": URL, "format": "json"}
    }
    hook = hooks.made({"webhook": {"id": 8, "address": URL, "topic": "orders/paid"}})
    assert (hook.id, hook.topics, hook.secret) == ("8", ("orders/paid",), None)
    with pytest.raises(MalformedError):
        hooks.list({})


def test_woocommerce_is_told_the_secret() -> None:
    hooks = webhooks("woocommerce")
    assert hooks.signs_with == "ours"
    body = json.loads(hooks.create(wish("woocommerce", "order.updated")).body or b"")
    assert (body["secret"], body["topic"], body["delivery_url"]) == ("s", "order.updated", URL)
    with pytest.raises(MalformedError):
        hooks.list({})


def test_stripe_makes_the_secret() -> None:
    hooks = webhooks("stripe")
    assert hooks.signs_with == "theirs"
    form = parse_qs((hooks.create(wish("stripe", "a", "b")).body or b"").decode())
    assert form["enabled_events[]"] == ["a", "b"]
    assert form["api_version"] == ["2026-06-24.dahlia"]
    told = {"id": "we_1", "url": URL, "status": "enabled", "secret": "whsec_1"}
    assert hooks.made(told).secret == "whsec_1"
    assert hooks.made(told).topics == ()
    assert hooks.about({}) is None


@pytest.mark.parametrize(
    ("settings", "known", "products"),
    [
        ({}, {"results": [{"id": "p-1"}, {"id": "p-2"}, {}]}, ["p-1", "p-2"]),
        ({"webhook_products": ["p-9"]}, None, ["p-9"]),
    ],
)
def test_cakto_is_told_of_which_products(
    settings: dict[str, Any], known: Any, products: list[str]
) -> None:
    hooks = webhooks("cakto")
    asked = hooks.about(settings)
    assert (asked is None) == bool(settings)
    assert asked is None or asked.url == "https://api.cakto.com.br/public_api/products/"
    made = hooks.create(wish("cakto", "refund", settings=settings, known=known))
    body = json.loads(made.body or b"")
    assert (body["products"], body["events"], body["status"]) == (products, ["refund"], "active")
    told = {"id": 5, "url": URL, "status": "active", "fields": {"secret": "uuid"}}
    assert hooks.made(told).secret == "uuid"
