"""What token endpoints answer, and the cheap call that proves what they gave."""

from datetime import UTC, datetime
from typing import Any

import pytest

from drivers import shopify, stripe, woocommerce
from drivers.base import Driver
from drivers.describe import granted

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"access_token": None}])
def test_an_answer_without_a_token_is_none(answer: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        granted(answer, NOW)


def test_stripes_token_names_its_account_and_what_it_may() -> None:
    told = {"access_token": "sk_x", "stripe_user_id": "acct_1", "scope": "read_write"}
    token = stripe.read_token(told, NOW)
    assert (token.access_token, token.extra) == ("sk_x", {"account": "acct_1"})
    assert set(token.scopes or ()) == {"read_write", "read_only"}
    assert stripe.read_token({"access_token": "sk_x"}, NOW).extra == {}


@pytest.mark.parametrize(
    ("driver", "settings", "url"),
    [
        (
            woocommerce.DRIVER,
            {"store_url": "https://loja.example/wp"},
            "https://loja.example/wp/wp-json/wc/v3/orders?per_page=1",
        ),
        (
            shopify.DRIVER,
            {"shop": "loja.myshopify.com"},
            "https://loja.myshopify.com/admin/api/",
        ),
    ],
    ids=lambda value: getattr(value, "slug", ""),
)
def test_a_shops_own_key_is_proven_where_the_shop_is(
    driver: Driver, settings: dict[str, Any], url: str
) -> None:
    assert driver.api
    assert driver.api.probe
    fetch = driver.api.probe(settings)
    assert fetch
    assert fetch.url.startswith(url)
    assert driver.api.probe({}) is None
