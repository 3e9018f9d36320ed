"""Claim checks: the signed URL of a whole event."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography.fernet import Fernet

from gateway import samples
from gateway.claims import PURPOSE, Claims
from gateway.security import Vault
from schemas.errors import ForbiddenError, GoneError
from tests.api.rig import PUBLIC, Answer, Api
from tests.api.shop import SECRET, opened
from tests.sinks.channels import APP_ID, KEY, Channels
from tests.sinks.channels import SECRET as PUSHER_SECRET
from tests.sinks.receiver import Receiver, until

DAY = 86_400_000_000
NOW = 1_705_315_500_000_000
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def claims(*keys: str, now: int = NOW) -> Claims:
    return Claims(Vault(keys or (OLD,)).derived(PURPOSE), "https://gate.example/gw", lambda: now)


def parts(url: str) -> tuple[str, dict[str, str]]:
    """The event and the parameters of a URL."""
    split = urlsplit(url)
    return split.path.rpartition("/")[2], dict(parse_qsl(split.query, keep_blank_values=True))


async def fetched(api: Api, url: str, **changes: str) -> Answer:
    """GET without a key; `changes`: parameters replaced."""
    event, query = parts(url)
    return await api.with_key(None).get(f"/claims/{event}?{urlencode(query | changes)}")


async def test_the_url_gives_the_whole_event_to_whoever_holds_it(api: Api) -> None:
    event = await (await opened(api)).order(1)
    url = api.services.sink_context.claim_url("default", event)

    got = await fetched(api, url)

    assert url.startswith(f"{PUBLIC}/claims/{event}?")
    assert got.status == 200
    assert got.headers["Content-Type"].startswith("application/json")
    assert "no-store" in got.headers["Cache-Control"]
    assert got.body["id"] == event
    assert got.body["event"] == "order.paid"
    assert got.body["instance"] == "loja"
    assert got.body["data"] == (await api.get(f"/processing/events/{event}")).data["data"]


async def test_what_pusher_cannot_take_is_fetched_from_the_claim_in_it(
    api: Api, receiver: Receiver
) -> None:
    channels, host = Channels(receiver), f"127.0.0.1:{receiver.port}"
    app = {"app_id": APP_ID, "key": KEY, "secret": PUSHER_SECRET, "host": host, "use_tls": False}
    assert (await api.post("/pusher/set/loja", app)).status == 201
    shop = await opened(api)
    body = json.loads(samples.load("hotmart/purchase_approved").body)
    body["data"]["product"]["name"] = "x" * 12_000

    headers = {"X-Hotmart-Hottok": SECRET}
    async with api.session.post(api.url + shop.path, json=body, headers=headers) as got:
        [accepted] = (await got.json())["events"]
    await until(lambda: bool(channels.events))
    message: Any = json.loads(channels.events[0].data)
    whole = await fetched(api, message["data"]["claim_url"])

    assert message["id"] == whole.body["id"] == accepted["id"]
    assert len(channels.events[0].data) < 1500
    assert "x" * 12_000 in json.dumps(whole.body["data"])
    del message["data"], whole.body["data"]
    assert message == whole.body


async def test_a_changed_url_is_refused(api: Api) -> None:
    shop = await opened(api)
    event, other = await shop.order(1), await shop.order(2)
    url = api.services.sink_context.claim_url("default", event)
    later = str(int(parts(url)[1]["expires"]) + 1)
    changes: list[dict[str, str]] = [
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "é"},
        {"expires": later},
        {"expires": "9" * 30},
        {"expires": "-1"},
        {"expires": ""},
        {"tenant": "other"},
        {"tenant": ""},
    ]

    for change in changes:
        refused = await fetched(api, url, **change)
        assert refused.status == 403, change
        assert refused.body["code"] == "invalid_claim"
        assert refused.body["error"] == "Forbidden"
    assert (await fetched(api, url.replace(event, other))).status == 403
    assert (await api.get(f"/claims/{event}")).status == 403  # no key replaces a signature


async def test_an_old_url_and_an_event_that_is_gone_are_told_apart(api: Api) -> None:
    event = await (await opened(api)).order(1)
    old = Claims(api.services.vault.derived(PURPOSE), PUBLIC, lambda: NOW)

    expired = await fetched(api, old.url("default", event))
    purged = await fetched(api, api.services.sink_context.claim_url("default", "0" * 26))

    assert (expired.status, expired.body["code"]) == (410, "claim_expired")
    assert (purged.status, purged.body["code"]) == (410, "event_gone")


def test_it_holds_for_a_week_and_not_much_longer() -> None:
    event, query = parts(claims().url("loja", "01hm6z"))

    assert claims(now=NOW + 7 * DAY).check(event, query) == "loja"
    with pytest.raises(GoneError):
        claims(now=NOW + 8 * DAY).check(event, query)


def test_a_retry_on_the_same_day_sends_the_same_url() -> None:
    day = NOW - NOW % DAY

    assert claims(now=day).url("loja", "1") == claims(now=day + DAY - 1).url("loja", "1")
    assert claims(now=day).url("loja", "1") != claims(now=day + DAY).url("loja", "1")


def test_the_newest_key_signs_and_older_ones_still_verify() -> None:
    before, after = claims(OLD).url("loja", "1"), claims(NEW, OLD).url("loja", "1")

    assert claims(NEW, OLD).check(*parts(before)) == "loja"
    assert claims(NEW).check(*parts(after)) == "loja"
    with pytest.raises(ForbiddenError):
        claims(NEW).check(*parts(before))


def test_no_two_claims_are_signed_as_the_same_bytes() -> None:
    _, query = parts(claims().url("a", "bc"))

    with pytest.raises(ForbiddenError):
        claims().check("c", query | {"tenant": "ab"})


def test_a_key_for_claims_tells_nothing_of_the_vault() -> None:
    vault = Vault([OLD])

    assert vault.derived(PURPOSE) != vault.derived("something else")
    assert OLD not in repr(vault) + repr(claims())
