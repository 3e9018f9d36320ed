"""Shopify's own parts that no delivery reaches: OAuth callback, token, polling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers.describe import Poll
from drivers.shopify import DRIVER, check_callback, read_token, shop_of
from drivers.verify import restore
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


def test_a_token_is_proven_where_the_shop_is_known() -> None:
    assert DRIVER.api
    assert DRIVER.api.probe
    fetch = DRIVER.api.probe({"shop": "casa", "api_version": "2026-10"})
    assert fetch
    place = "https://casa.myshopify.com/admin/api/2026-10/orders.json"
    assert fetch.url == f"{place}?status=any&limit=1"
    assert DRIVER.api.probe({}) is None


def test_a_scope_to_write_implies_the_one_to_read() -> None:
    token = read_token({"access_token": "shpat_x", "scope": "write_orders,read_customers"}, NOW)
    assert token.scopes == ("write_orders", "read_customers", "read_orders")


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


ORDERS, CHECKOUTS = DRIVER.polls


def test_a_sweep_starts_a_little_before_the_last_one_ended() -> None:
    settings = {"shop": "casaaruana", "api_version": "2026-10"}
    asked = ORDERS.start({}, NOW, settings)
    first = urlsplit(asked.url)
    assert first.netloc == "casaaruana.myshopify.com"
    assert first.path == "/admin/api/2026-10/orders.json"
    assert parse_qs(first.query)["updated_at_min"] == ["2026-11-21T11:00:00+00:00"]
    assert asked.cursor == {"since": "2026-11-21T11:00:00+00:00"}
    for poll in (ORDERS, CHECKOUTS):
        again = urlsplit(poll.start({"since": "2026-11-21T08:59:00-03:00"}, NOW, settings).url)
        assert parse_qs(again.query)["updated_at_min"] == ["2026-11-21T11:54:00+00:00"]
        with pytest.raises(MalformedError):
            poll.start({}, NOW, {})
    assert ORDERS.since
    look_back = parse_qs(urlsplit(ORDERS.start(ORDERS.since(NOW), NOW, settings).url).query)
    assert look_back["updated_at_min"] == ["2026-11-21T11:55:00+00:00"]


@pytest.mark.parametrize("poll", DRIVER.polls, ids=lambda poll: poll.name)
def test_the_latest_change_of_a_page_is_kept(poll: Poll) -> None:
    rows = [
        {"id": 1, "updated_at": "2026-11-21T12:00:00Z"},
        {"id": 2, "updated_at": "2026-11-21T10:00:00Z"},
    ]
    page = poll.read({poll.name: rows}, {"since": "2026-11-21T09:00:00Z"})
    assert page.items == tuple(rows)
    assert page.cursor == {"since": "2026-11-21T12:00:00+00:00"}
    assert (page.more, page.next, poll.links) == ({}, None, True)
    nothings: tuple[Any, ...] = ({poll.name: []}, {}, None, "x")
    for nothing in nothings:
        empty = poll.read(nothing, {"since": "2026-11-21T09:00:00Z"})
        assert (empty.items, empty.cursor) == ((), {"since": "2026-11-21T09:00:00+00:00"})
        assert poll.read(nothing, {}).cursor == {}


@pytest.mark.parametrize(("age", "wait"), [(0, 3600), (50, 600), (90, 0), (None, 3600)])
def test_a_listed_checkout_waits_only_for_the_rest_of_its_silence(
    age: int | None, wait: int
) -> None:
    updated = None if age is None else (NOW - timedelta(minutes=age)).isoformat()
    told = {"id": 7, "token": "t", "updated_at": updated}
    inbound = CHECKOUTS.inbound(told, NOW)
    [event] = DRIVER.normalize(restore(inbound, {}, DRIVER.parse(inbound), {}))
    assert (event.name, event.defer_seconds, event.defer_as) == ("checkout.abandoned", wait, "t")
