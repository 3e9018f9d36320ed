"""Shopify's own parts that no delivery reaches: OAuth callback, token, polling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers.shopify import PAGE, check_callback, read_poll, read_token, shop_of, start_poll
from schemas.errors import MalformedError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECRET = "hush-casa-aruana"
# The digest was computed by Node 20: crypto.createHmac('sha256', SECRET) over the sorted pairs,
# each side written by encodeURIComponent, as Shopify/shopify-app-js does.
CALLBACK = {
    "code": "0907a61c0c8d55e99db179b68161bc00",
    "host": "YWRtaW4uc2hvcGlmeS5jb20vc3RvcmUvY2FzYWFydWFuYQ==",
    "shop": "casaaruana.myshopify.com",
    "state": "n'o(n)ce *!~ é/+&",
    "timestamp": "1795262400",
    "hmac": "ec97ca51f5fbc6c2281cf1433097e65e6888f39a408ba813d454a05771b09674",
}


def test_a_genuine_callback_is_believed_for_90_seconds() -> None:
    assert check_callback(CALLBACK, SECRET, NOW)
    assert check_callback(CALLBACK | {"signature": "legacy"}, SECRET, NOW + timedelta(seconds=90))
    assert not check_callback(CALLBACK, SECRET, NOW + timedelta(seconds=91))
    assert not check_callback(CALLBACK, SECRET, NOW - timedelta(seconds=91))


@pytest.mark.parametrize(
    "change",
    [
        {"code": "x"},
        {"shop": "casaaruana.myshopify.com.example.org"},
        {"hmac": ""},
        {"hmac": "é"},
        {"timestamp": "²"},
        {"timestamp": ""},
        {"extra": "1"},
    ],
)
def test_a_changed_callback_is_not(change: dict[str, str]) -> None:
    assert not check_callback(CALLBACK | change, SECRET, NOW)
    assert not check_callback(CALLBACK, SECRET + "x", NOW)
    assert not check_callback({}, SECRET, NOW)


def test_granted_scopes_are_separated_by_commas() -> None:
    answer = {"access_token": "shpat_x", "scope": "read_orders,read_customers", "expires_in": 3600}
    token = read_token(answer | {"refresh_token": "shprt_x"}, NOW)
    assert token.scopes == ("read_orders", "read_customers")
    assert token.expires_at == NOW + timedelta(hours=1)
    assert token.refresh_token == "shprt_x"
    assert read_token({"access_token": "shpat_x"}, NOW).expires_at is None


@pytest.mark.parametrize(
    ("settings", "told", "shop"),
    [
        ({"shop": "casaaruana"}, None, "casaaruana.myshopify.com"),
        ({"shop": " CasaAruana.myshopify.com "}, "x.myshopify.com", "casaaruana.myshopify.com"),
        ({}, "casaaruana.myshopify.com", "casaaruana.myshopify.com"),
        ({}, "evil.example.org", None),
        ({}, "evil.example.org/x.myshopify.com", None),
        ({}, None, None),
    ],
)
def test_a_shop_is_one_of_shopify(settings: dict[str, Any], told: str, shop: str | None) -> None:
    assert shop_of(settings, told) == shop


def test_a_sweep_starts_where_the_last_one_ended() -> None:
    settings = {"shop": "casaaruana", "api_version": "2026-10"}
    first = urlsplit(start_poll({}, NOW, settings).url)
    assert first.netloc == "casaaruana.myshopify.com"
    assert first.path == "/admin/api/2026-10/orders.json"
    assert parse_qs(first.query)["updated_at_min"] == ["2026-11-21T11:00:00+00:00"]
    again = urlsplit(start_poll({"since": "2026-11-21T08:59:00-03:00"}, NOW, settings).url)
    assert parse_qs(again.query)["updated_at_min"] == ["2026-11-21T08:59:00-03:00"]
    with pytest.raises(MalformedError):
        start_poll({}, NOW, {})


def test_a_full_page_asks_for_the_next() -> None:
    def at(minute: int) -> dict[str, Any]:
        return {"id": minute, "updated_at": f"2026-11-21T{minute // 60:02}:{minute % 60:02}:00Z"}

    full = read_poll({"orders": [at(n) for n in range(PAGE)]}, {})
    assert full.cursor == {"since": "2026-11-21T04:09:00Z"}
    assert full.more == {"updated_at_min": "2026-11-21T04:09:00Z"}
    stuck = read_poll({"orders": [at(0)] * PAGE}, {})
    assert stuck.more == {}
    last = read_poll({"orders": [at(1)]}, {"since": "x"})
    assert (last.cursor, last.more) == ({"since": "2026-11-21T00:01:00Z"}, {})
    nothings: tuple[Any, ...] = ({"orders": []}, {}, None, "x")
    for nothing in nothings:
        empty = read_poll(nothing, {"since": "x"})
        assert (empty.items, empty.cursor, empty.more) == ((), {"since": "x"}, {})
