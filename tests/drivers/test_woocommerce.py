"""WooCommerce's own parts that no delivery reaches: polling, and how a store's API is called."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers.woocommerce import DRIVER, PAGE, read_poll, start_poll
from schemas.errors import MalformedError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_an_installation_must_have_a_secret() -> None:
    assert DRIVER.scheme.needs_secret


def test_a_sweep_starts_where_the_last_one_ended() -> None:
    first = urlsplit(start_poll({}, NOW, {"store_url": "https://example.com/loja/"}).url)
    assert (first.netloc, first.path) == ("example.com", "/loja/wp-json/wc/v3/orders")
    assert parse_qs(first.query)["modified_after"] == ["2026-11-21T11:00:00"]
    again = start_poll({"since": "2026-11-21T09:00:00"}, NOW, {"api_base_url": "http://127.0.0.1"})
    assert urlsplit(again.url).netloc == "127.0.0.1"
    assert parse_qs(urlsplit(again.url).query)["modified_after"] == ["2026-11-21T09:00:00"]
    for nowhere in ({}, {"store_url": "loja"}, {"store_url": None}):
        with pytest.raises(MalformedError):
            start_poll({}, NOW, nowhere)


def test_a_full_page_asks_for_the_next() -> None:
    orders = [
        {"id": n, "date_modified_gmt": f"2026-11-21T00:{n // 60:02}:{n % 60:02}"}
        for n in range(PAGE)
    ]
    full = read_poll(orders, {})
    assert full.more == {"modified_after": "2026-11-21T00:01:39"}
    assert full.cursor == {"since": "2026-11-21T00:01:39"}
    assert read_poll(orders[:1] * PAGE, {}).more == {}
    assert read_poll(orders[:2], {}).more == {}
    nothings: tuple[Any, ...] = ([], {}, None, "x")
    for nothing in nothings:
        empty = read_poll(nothing, {"since": "x"})
        assert (empty.items, empty.cursor, empty.more) == ((), {"since": "x"}, {})


def test_calls_carry_key_and_secret() -> None:
    assert DRIVER.api
    headers = DRIVER.api.authorize({"consumer_key": "ck_é", "consumer_secret": "cs_1"})
    assert headers == {"Authorization": "Basic Y2tfw6k6Y3NfMQ=="}
