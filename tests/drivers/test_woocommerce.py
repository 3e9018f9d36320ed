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
    assert parse_qs(urlsplit(again.url).query)["modified_after"] == ["2026-11-21T08:55:00"]
    assert again.cursor["since"] == "2026-11-21T09:00:00"
    for nowhere in ({}, {"store_url": "loja"}, {"store_url": None}):
        with pytest.raises(MalformedError):
            start_poll({}, NOW, nowhere)


def at(second: int) -> dict[str, Any]:
    return {
        "id": second,
        "date_modified_gmt": f"2026-11-21T00:{second // 60:02}:{second % 60:02}",
    }


def test_a_full_page_asks_again_from_its_last_second() -> None:
    begun = {"since": "2026-11-20T00:00:00", "after": "2026-11-19T23:55:00", "page": 1}
    full = read_poll([at(n) for n in range(PAGE)], begun)
    assert full.more == {"modified_after": "2026-11-21T00:01:38", "page": "1"}
    assert full.cursor["since"] == "2026-11-21T00:01:39"
    same_second = read_poll([at(99)] * PAGE, full.cursor)
    assert same_second.more == {"modified_after": "2026-11-21T00:01:38", "page": "2"}
    more_of_it = read_poll([at(99)] * PAGE, same_second.cursor)
    assert more_of_it.more == {"modified_after": "2026-11-21T00:01:38", "page": "3"}
    on = read_poll([*([at(99)] * (PAGE - 1)), at(101)], more_of_it.cursor)
    assert on.more == {"modified_after": "2026-11-21T00:01:40", "page": "1"}
    last = read_poll([at(101), at(102)], on.cursor)
    assert (last.more, last.cursor) == ({}, {"since": "2026-11-21T00:01:42"})


def test_a_page_without_orders_keeps_the_cursor() -> None:
    nothings: tuple[Any, ...] = ([], {}, None, "x")
    for nothing in nothings:
        empty = read_poll(nothing, {"since": "x"})
        assert (empty.items, empty.cursor, empty.more) == ((), {"since": "x"}, {})
    assert read_poll([{"id": 1}] * PAGE, {"since": "x"}).more == {}
    assert read_poll([at(1)] * PAGE, {}).more == {
        "modified_after": "2026-11-21T00:00:00",
        "page": "1",
    }


def test_a_look_back_begins_at_the_time_asked_for() -> None:
    [poll] = DRIVER.polls
    assert poll.since
    asked = poll.start(poll.since(NOW), NOW, {"api_base_url": "http://127.0.0.1"})
    assert parse_qs(urlsplit(asked.url).query)["modified_after"] == ["2026-11-21T11:55:00"]


def test_calls_carry_key_and_secret() -> None:
    assert DRIVER.api
    headers = DRIVER.api.authorize({"consumer_key": "ck_é", "consumer_secret": "cs_1"})
    assert headers == {"Authorization": "Basic Y2tfw6k6Y3NfMQ=="}


def test_a_key_is_proven_where_the_store_is_known() -> None:
    assert DRIVER.api
    assert DRIVER.api.probe
    fetch = DRIVER.api.probe({"store_url": "https://example.com/loja/"})
    assert fetch
    assert fetch.url == "https://example.com/loja/wp-json/wc/v3/orders?per_page=1"
    assert DRIVER.api.probe({}) is None
