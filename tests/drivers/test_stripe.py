"""Stripe's own parts that no delivery reaches: polling, and how its API is called."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers.stripe import API_VERSION, DRIVER, READERS, needs, read_poll, start_poll
from drivers.verify import restore
from schemas.request import Inbound

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_a_sweep_starts_where_the_last_one_ended() -> None:
    first = urlsplit(start_poll({}, NOW, {}).url)
    assert (first.netloc, first.path) == ("api.stripe.com", "/v1/events")
    query = parse_qs(first.query)
    assert query["created[gte]"] == ["1795258800"]
    assert query["types[]"] == list(READERS)
    assert len(READERS) <= 20, "Stripe takes no more types in one question"
    again = parse_qs(urlsplit(start_poll({"since": 2000}, NOW, {}).url).query)
    assert again["created[gte]"] == ["1700"], "five minutes earlier"


def test_a_page_names_the_next_by_its_last_event() -> None:
    events = [{"id": "evt_2", "created": 20}, {"id": "evt_1", "created": 10}, {"id": "evt_0"}]
    page = read_poll({"data": events, "has_more": True}, {"since": 5})
    assert page.items == tuple(events)
    assert DRIVER.polls[0].newest_first
    assert (page.cursor, page.more) == ({"since": 20}, {"starting_after": "evt_0"})
    last = read_poll({"data": events[:1], "has_more": False}, {"since": 30})
    assert (last.cursor, last.more) == ({"since": 30}, {})
    nothings: tuple[Any, ...] = ({"data": []}, {"has_more": True}, None, "x")
    for nothing in nothings:
        empty = read_poll(nothing, {})
        assert (empty.items, empty.cursor, empty.more) == ((), {"since": None}, {})


def test_calls_carry_the_key_and_the_version() -> None:
    assert DRIVER.api
    assert DRIVER.api.authorize({"access_token": "rk_live_x"}) == {
        "Authorization": "Bearer rk_live_x",
        "Stripe-Version": API_VERSION,
    }
    assert DRIVER.api.probe
    fetch = DRIVER.api.probe({})
    assert fetch
    assert fetch.url == "https://api.stripe.com/v1/account"


def test_a_session_that_only_saves_a_card_asks_for_nothing() -> None:
    told = {
        "type": "checkout.session.completed",
        "data": {"object": {"id": "cs_1", "mode": "setup"}},
    }
    verified = restore(Inbound("POST", {}, {}, b"{}", NOW), {}, told, {})
    assert needs(verified) == ()


def test_a_look_back_begins_at_the_time_asked_for() -> None:
    [poll] = DRIVER.polls
    assert poll.since
    query = parse_qs(urlsplit(poll.start(poll.since(NOW), NOW, {}).url).query)
    assert query["created[gte]"] == ["1795262100"]


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("read_only", ("read_only",)),
        ("read_write", ("read_write", "read_only")),
        (None, None),
    ],
)
def test_a_connected_account_is_named_by_its_token(
    scope: str | None, granted: tuple[str, ...] | None
) -> None:
    assert DRIVER.oauth
    assert DRIVER.oauth.read_token
    told = {"access_token": "sk_x", "refresh_token": "rt_x", "scope": scope}
    token = DRIVER.oauth.read_token(told | {"stripe_user_id": "acct_1"}, NOW)
    assert (token.scopes, token.extra, token.expires_at) == (granted, {"account": "acct_1"}, None)
    assert DRIVER.oauth.read_token(told, NOW).extra == {}
    with pytest.raises(ValueError, match="empty"):
        DRIVER.oauth.read_token({"access_token": None}, NOW)
