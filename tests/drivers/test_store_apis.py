"""How Appmax, Bling, Irroba and Troquecommerce are asked, page by page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers import appmax, bagy, bling, irroba, troquecommerce
from drivers.base import Driver
from drivers.describe import Api
from drivers.verify import restore

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def api_of(driver: Driver) -> Api:
    assert driver.api is not None
    return driver.api


def asked(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def test_calls_carry_what_each_api_wants() -> None:
    known = {"access_token": "t-1"}
    assert api_of(bling.DRIVER).authorize(known) == {
        "Authorization": "Bearer t-1",
        "enable-jwt": "1",
    }
    assert api_of(irroba.DRIVER).authorize(known)["Authorization"] == "t-1"
    assert api_of(troquecommerce.DRIVER).authorize(known) == {"token": "t-1"}
    assert api_of(appmax.DRIVER).authorize(known) == {"Accept": "application/json"}
    query = api_of(appmax.DRIVER).query
    assert query
    assert query(known) == {"access-token": "t-1"}


@pytest.mark.parametrize(
    ("driver", "url"),
    [
        (bling.DRIVER, "https://api.bling.com.br/Api/v3/empresas/me/dados-basicos"),
        (irroba.DRIVER, "https://api.irroba.com.br/v1/status"),
        (
            troquecommerce.DRIVER,
            "https://www.troquecommerce.com.br/api/public/order/list?page=1",
        ),
    ],
    ids=lambda value: getattr(value, "slug", ""),
)
def test_credentials_are_proven_by_a_cheap_call(driver: Driver, url: str) -> None:
    probe = api_of(driver).probe
    assert probe
    fetch = probe({})
    assert fetch
    assert fetch.url == url


def test_blings_client_presents_itself_in_a_header() -> None:
    oauth = bling.DRIVER.oauth
    assert oauth
    assert (oauth.client_auth, oauth.token_headers) == ("basic", {"enable-jwt": "1"})


def test_irrobas_login_sends_user_and_password() -> None:
    fetch = irroba.login({"username": "u", "password": "p", "secret": "no"})
    assert (fetch.method, fetch.url) == ("POST", "https://api.irroba.com.br/v1/getToken")
    assert json.loads(fetch.body or b"") == {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("told", "minutes"),
    [
        ("2026-11-21 09:20:00", 20),
        ("2026-11-21 12:20:00", 30),  # in another zone than ours, or a lie
        ("2026-11-21 06:20:00", 30),
        (None, 30),
    ],
)
def test_irrobas_token_lasts_half_an_hour_at_most(told: str | None, minutes: int) -> None:
    granted = {"authorization": "t-1", "date_expire": told}
    for data in (granted, [granted]):
        token = irroba.read_token({"success": "true", "data": data}, NOW)
        assert (token.access_token, token.expires_at) == ("t-1", NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    "answer", [{"success": "false", "error": "Invalid Key x"}, {"success": True, "data": []}, None]
)
def test_irroba_refuses_a_login_with_a_200(answer: Any) -> None:
    with pytest.raises((KeyError, ValueError)):
        irroba.read_token(answer, NOW)


def test_irroba_is_asked_for_days_of_brasilia() -> None:
    night = datetime(2026, 3, 1, 1, tzinfo=UTC)
    urls = {poll.name: poll.start({}, night, {}).url for poll in irroba.DRIVER.polls}
    assert urls == {
        "orders": "https://api.irroba.com.br/v1/order/added/2026-02-27/2026-02-28",
        "open_orders": "https://api.irroba.com.br/v1/order/added/2026-01-29/2026-02-28",
        "abandoned_carts": "https://api.irroba.com.br/v1/customer/abandoned_cart",
    }


def test_a_polled_order_of_irroba_is_asked_for_only_where_its_row_is_bare() -> None:
    driver, needs = irroba.DRIVER, api_of(irroba.DRIVER).needs
    assert needs
    rows = [{"order_id": 7, "order_product": []}, {"order_id": 8}, {"abandoned_cart_id": 9}]
    names = [
        [fetch.name for fetch in needs(verified(driver, row))]
        for row in (poll_of(driver).inbound(r, NOW) for r in rows)
    ]
    assert names == [[], ["order:8"], []]


def poll_of(driver: Driver) -> Any:
    return driver.polls[0]


def verified(driver: Driver, inbound: Any) -> Any:
    return restore(inbound, {}, driver.parse(inbound), {})


WINDOWS: tuple[tuple[Driver, str, str, str], ...] = (
    (bling.DRIVER, "dataAlteracaoInicial", "dataAlteracaoFinal", " "),
    (troquecommerce.DRIVER, "updated_from", "updated_to", "T"),
)


@pytest.mark.parametrize(
    ("driver", "since", "until", "gap"), WINDOWS, ids=[w[0].slug for w in WINDOWS]
)
def test_a_sweep_begins_a_little_before_the_last_one_ended(
    driver: Driver, since: str, until: str, gap: str
) -> None:
    """Wall time in Brasília, without an offset."""
    poll = poll_of(driver)
    first = poll.start({}, NOW, {})
    assert asked(first.url)[until] == [f"2026-11-21{gap}09:00:00"]
    assert asked(first.url)[since][0].startswith(f"2026-11-20{gap}08:5")
    last = poll.read({"data": [], "list": []}, {**first.cursor})
    assert last.more == {}
    again = poll.start(last.cursor, NOW + timedelta(minutes=5), {})
    assert asked(again.url)[since][0].startswith(f"2026-11-21{gap}08:5")
    assert asked(again.url)[until] == [f"2026-11-21{gap}09:05:00"]


def test_blings_full_page_has_a_next_one() -> None:
    poll = poll_of(bling.DRIVER)
    start = {"since": "x"} | dict(poll.start({}, NOW, {}).cursor)
    full = poll.read({"data": [{"id": n} for n in range(bling.PAGE)]}, start)
    assert (len(full.items), full.more) == (bling.PAGE, {"pagina": "2"})
    more = poll.read({"data": [{"id": n} for n in range(bling.PAGE)]}, full.cursor)
    assert more.more == {"pagina": "3"}
    assert more.cursor["since"] == "x", "the sweep is not over"
    rest = poll.read({"data": [{"id": 1}]}, more.cursor)
    assert (rest.more, rest.cursor) == ({}, {"since": "x", "again": True})


def test_bling_is_read_again_where_pages_may_have_moved() -> None:
    """An order that changes during a sweep draws those after it to a page that is read already."""
    poll = poll_of(bling.DRIVER)
    before = {"since": (NOW - timedelta(hours=1)).isoformat(), "again": True}
    start = {**before, **poll.start(before, NOW, {}).cursor, "page": 2}
    assert poll.read({"data": []}, start).cursor == {"since": NOW.isoformat()}
    look_back = poll.start(poll.since(NOW), NOW, {})
    assert asked(look_back.url)["dataAlteracaoInicial"] == ["2026-11-21 08:55:00"]


@pytest.mark.parametrize("driver", [bling.DRIVER, troquecommerce.DRIVER], ids=lambda d: d.slug)
def test_a_sweep_that_was_cut_short_goes_on_in_its_own_window(driver: Driver) -> None:
    poll = poll_of(driver)
    first = poll.start({}, NOW, {})
    rows = [{"id": n} for n in range(bling.PAGE)]
    page = poll.read({"data": rows, "list": rows, "page": 1, "total_pages": 9}, first.cursor)
    later = poll.start(page.cursor, NOW + timedelta(hours=1), {})
    turned = {"pagina": ["2"], "page": ["2"]}
    was, now = asked(first.url), asked(later.url)
    assert now == was | {name: turned[name] for name in turned if name in was}
    assert later.cursor == {"until": NOW.isoformat(), "page": 2}


def test_troquecommerces_answer_counts_its_pages() -> None:
    poll = poll_of(troquecommerce.DRIVER)
    start: Mapping[str, Any] = {"since": "x", **poll.start({}, NOW, {}).cursor}
    page = poll.read({"page": 1, "total_pages": "2", "list": [{"id": "a"}]}, start)
    assert (page.more, page.cursor) == ({"page": "2"}, {**start, "page": 2})
    last = poll.read({"page": 2, "total_pages": 2, "list": [{"id": "b"}]}, page.cursor)
    assert (last.more, last.cursor) == ({}, {"since": NOW.isoformat()})
    nothings: tuple[Any, ...] = (None, "x", [], {"list": {}})
    assert [poll.read(nothing, start).items for nothing in nothings] == [(), (), (), ()]


@pytest.mark.parametrize(
    ("driver", "made", "whole"),
    [
        (irroba.DRIVER, "date_added", lambda rows: {"success": "true", "data": rows}),
        (
            bagy.DRIVER,
            "updated_at",
            lambda rows: {"data": rows, "meta": {"current_page": 1, "last_page": 2}},
        ),
    ],
    ids=["irroba", "bagy"],
)
def test_carts_of_long_ago_are_news_only_at_first(driver: Driver, made: str, whole: Any) -> None:
    [poll] = [one for one in driver.polls if one.name == "abandoned_carts"]
    old, fresh = {made: "2026-10-01 10:00:00"}, {made: "2026-11-21 08:00:00"}
    answer, last = whole([fresh, old, {}]), {"data": [], "success": "true"}

    def swept(cursor: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        page = poll.read(answer, {**cursor, **poll.start(cursor, NOW, {}).cursor})
        return page.items, poll.read(last, page.cursor).cursor

    items, kept = swept({})
    assert items == (fresh, old, {})
    again, _ = swept(kept)
    assert again == (fresh, {}), "told long ago, and perhaps forgotten"
    assert poll.read(last, {}).cursor == {}
