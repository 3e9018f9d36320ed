"""How Cakto, Eduzz, Hotmart, Kiwify and Pagar.me are asked; proofs of Kiwify without a sample."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drivers import cakto, eduzz, hotmart, kiwify, pagarme
from drivers.base import Driver, receive
from drivers.describe import Api, Fetch, link_query
from drivers.people import dialled
from schemas import codec
from schemas.errors import VerificationError
from schemas.request import Grant, Inbound

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CREDENTIALS = {
    "client_id": "id&1",
    "client_secret": "s=1",
    "basic": "Basic QUJD",
    "account_id": "acc-1",
    "access_token": "t-1",
    "secret_key": "sk_1",
}


def api_of(driver: Driver) -> Api:
    assert driver.api is not None
    return driver.api


@pytest.mark.parametrize(
    ("driver", "url"),
    [
        (cakto.DRIVER, "https://api.cakto.com.br/public_api/token/"),
        (eduzz.DRIVER, "https://accounts-api.eduzz.com/oauth/token"),
        (hotmart.DRIVER, "https://api-sec-vlc.hotmart.com/security/oauth/token"),
        (kiwify.DRIVER, "https://public-api.kiwify.com/v1/oauth/token"),
    ],
)
def test_a_login_presents_the_client_and_gives_a_token(driver: Driver, url: str) -> None:
    api = api_of(driver)
    assert api.login
    assert api.token
    fetch = api.login(CREDENTIALS)
    parts = urlsplit(fetch.url)
    assert (fetch.method, f"{parts.scheme}://{parts.netloc}{parts.path}") == ("POST", url)
    sent = parse_qs(parts.query) | parse_qs((fetch.body or b"").decode())
    assert (sent["client_id"], sent["client_secret"]) == (["id&1"], ["s=1"])
    token = api.token({"access_token": "t-1", "expires_in": 3600}, NOW)
    assert (token.access_token, token.expires_at) == ("t-1", NOW + timedelta(hours=1))


def test_an_api_is_called_with_what_is_known() -> None:
    used = api_of(eduzz.DRIVER).used
    assert used({"access_token": "t"}) == ("access_token",)
    assert used({"client_id": "i", "client_secret": "s"}) == ("client_id", "client_secret")
    assert used({"client_id": "i", "secret": "s"}) == ()
    assert api_of(cakto.DRIVER).used({"client_id": "i"}) == ()


def test_a_token_of_eduzz_never_ends_and_says_whose_it_is() -> None:
    oauth = eduzz.DRIVER.oauth
    assert oauth
    assert oauth.read_token
    told = {"access_token": "t-1", "refresh_token": None, "expires_in": 0, "scope": "webhook_read"}
    token = oauth.read_token(told | {"user": {"eduzzId": 98239281}}, NOW)
    assert (token.access_token, token.refresh_token, token.expires_at) == ("t-1", None, None)
    assert token.extra == {"account": "98239281"}
    assert oauth.read_token(told, NOW).extra == {}


def test_calls_carry_what_each_api_wants() -> None:
    bearer = {"Authorization": "Bearer t-1"}
    assert api_of(cakto.DRIVER).authorize(CREDENTIALS) == bearer
    assert api_of(hotmart.DRIVER).authorize(CREDENTIALS) == bearer
    assert api_of(eduzz.DRIVER).authorize(CREDENTIALS) == bearer
    who = api_of(eduzz.DRIVER).probe
    assert who
    assert who({}) == Fetch(name="account", url="https://api.eduzz.com/accounts/v1/me")
    assert api_of(kiwify.DRIVER).authorize(CREDENTIALS) == bearer | {"x-kiwify-account-id": "acc-1"}
    assert api_of(pagarme.DRIVER).authorize(CREDENTIALS) == {"Authorization": "Basic c2tfMTo="}
    login = api_of(hotmart.DRIVER).login
    assert login
    assert login(CREDENTIALS).headers == {"Authorization": "Basic QUJD"}


def test_pagarme_is_asked_for_what_may_have_been_paid_since() -> None:
    def since(cursor: Mapping[str, Any]) -> list[str]:
        return parse_qs(urlsplit(pagarme.start_poll(cursor, NOW, {}).url).query)["created_since"]

    assert since({}) == ["2026-11-20T12:00:00Z"]
    orders = [{"created_at": "2026-11-21T09:00:00.1234567Z"}, {"created_at": None}]
    answer = {"data": orders, "paging": {"next": "https://elsewhere.example/orders?page=2&size=30"}}
    page = pagarme.read_poll(answer, {"since": "2026-11-21T08:00:00+00:00"})
    assert page.more == {"page": "2", "size": "30"}
    assert since(page.cursor) == ["2026-11-17T09:00:00Z"], "a boleto is paid days later"
    assert pagarme.read_poll({"data": []}, {}).cursor == {}
    nobody_bought = pagarme.start_poll({}, NOW, {}).cursor
    assert pagarme.read_poll({"data": []}, nobody_bought).cursor == {"since": NOW.isoformat()}
    [poll] = pagarme.DRIVER.polls
    assert poll.since
    assert since(poll.since(NOW)) == ["2026-11-21T12:00:00Z"]
    probe = api_of(pagarme.DRIVER).probe
    assert probe
    fetch = probe({})
    assert fetch
    assert fetch.url == "https://api.pagar.me/core/v5/orders?size=1"


def told(*ids: int, following: str | None = None, previous: str | None = None) -> dict[str, Any]:
    return {"previous": previous, "next": following, "results": [{"id": i} for i in ids]}


def test_caktos_history_is_read_back_to_where_the_last_sweep_began() -> None:
    read, link = cakto.DRIVER.polls[0].read, "https://x.example/?page=2"
    first = read(told(9, 8, following=link), {})
    assert ([i["id"] for i in first.items], first.more) == ([9, 8], {})
    newer = read(told(12, 11, following=link), first.cursor)
    assert ([i["id"] for i in newer.items], newer.more) == ([12, 11], {"page": "2"})
    rest = read(told(10, 9, 8, previous="p1", following=link), newer.cursor)
    assert ([i["id"] for i in rest.items], rest.more) == ([10], {})
    assert rest.cursor == {"last": "12"}
    assert read(told(), rest.cursor).cursor["last"] == "12"


def test_caktos_history_is_no_news_at_first() -> None:
    poll = cakto.DRIVER.polls[0]
    begun = poll.start({}, NOW, {}).cursor
    assert begun == {"since": (NOW - timedelta(hours=1)).isoformat()}
    assert poll.start({"last": "12"}, NOW, {}).cursor == {"since": None}
    ages = {
        "minutes": {"createdAt": "2026-11-01T00:00:00Z", "paidAt": "2026-11-21T11:50:00Z"},
        "a day": [{"createdAt": "2026-11-20T11:50:00Z"}],
    }
    rows = [{"id": n, "payload": {"data": data}} for n, data in ages.items()]
    answer = {"previous": None, "next": "https://x.example/?page=2", "results": rows}
    page = poll.read(answer, begun)
    assert [i["id"] for i in page.items] == ["minutes"]
    assert page.more == {"page": "2"}
    older = poll.read(answer | {"previous": "p1", "results": rows[1:]}, page.cursor)
    assert (older.items, older.more, older.cursor) == ((), {}, {"last": "minutes"})
    assert poll.since
    assert poll.start(poll.since(NOW), NOW, {}).cursor == {"since": NOW.isoformat()}


def test_a_link_without_text_asks_for_nothing() -> None:
    assert link_query(None) == {}


ORDER = {"order_id": "o-1", "webhook_event_type": "order_approved", "order_status": "paid"}


def sha1(message: bytes) -> str:
    return hmac.new(b"token-1", message, hashlib.sha1).hexdigest()


def events(body: bytes, query: Mapping[str, tuple[str, ...]]) -> list[str]:
    inbound = Inbound("POST", {"content-type": ("application/json",)}, query, body, NOW)
    receipt = receive(kiwify.DRIVER, inbound, Grant(secrets=("token-1",)))
    return [event.name for event in receipt.events]


def wrapped(order: bytes, signature: str) -> bytes:
    return b'{"url": "https://x.example", "signature": "%s", "order": %s}' % (
        signature.encode(),
        order,
    )


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_wrapped_order_may_be_signed_as_written_or_as_javascript_writes_it(mark: bytes) -> None:
    spaced, terse = b'{ "order_id": "o-1", "order_status": "paid" }', codec.dumps(ORDER)
    in_body = mark + wrapped(spaced, sha1(spaced))
    assert events(in_body, {}) == ["order.paid"]
    rewritten = codec.dumps({"order_id": "o-1", "order_status": "paid"})
    assert events(wrapped(spaced, ""), {"signature": (sha1(rewritten),)}) == ["order.paid"]
    whole = wrapped(terse, "")
    assert events(whole, {"signature": (sha1(whole),)}) == ["order.paid"]


@pytest.mark.parametrize(
    ("order", "signed"), [(b'{"order_id": "o-2"}', b'{"order_id": "o-1"}'), (b"{}", b"")]
)
def test_a_wrapped_order_with_another_signature_is_refused(order: bytes, signed: bytes) -> None:
    for body, query in (
        (wrapped(order, sha1(signed)), {}),
        (wrapped(order, ""), {"signature": (sha1(signed),)}),
        (wrapped(order, sha1(order)), {"signature": (sha1(signed),)}),
    ):
        with pytest.raises(VerificationError):
            events(body, query)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (("55", "47", "991204478"), "+5547991204478"),
        ((None, "47", "99120-4478"), "4799120-4478"),
        ((55, 47, "47991204478"), "+5547991204478"),
        (("", "", "(47) 99120-4478"), "(47) 99120-4478"),
        (("55", "47", "+1 617 555 0123"), "+1 617 555 0123"),
        (("55", "47", ""), None),
    ],
)
def test_a_number_in_parts_becomes_one(
    parts: tuple[str | int | None, ...], whole: str | None
) -> None:
    assert dialled(*parts) == whole
