"""What the contract of all sinks does not say of Pusher: names, signatures, sizes, refusals."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from pusher.pusher_client import PusherClient

from gateway.egress import Egress
from schemas.delivery import Delivered, Outcome, Rejected, Retry
from schemas.sink_config import PusherConfig
from schemas.target import AllowList
from sinks import open_sink
from sinks.base import Context
from sinks.pusher import App
from tests.sinks.channels import APP_ID, KEY, MOST_BYTES, SECRET, PusherRig
from tests.sinks.contract import opened
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.receiver import receiving

WIDE = {"app_id": APP_ID, "key": KEY, "secret": SECRET, "cluster": "sa1"}


@pytest.fixture
async def rig() -> AsyncIterator[PusherRig]:
    async with (
        receiving() as receiver,
        Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress,
    ):
        yield PusherRig(receiver, egress)


async def tried(rig: PusherRig, context: Context | None = None, **config: Any) -> Outcome:
    sink = open_sink(rig.configured(**config), context or rig.context)
    [outcome] = await sink.send([a_message()])
    await sink.close()
    return outcome


def an_app(wide: dict[str, str] | None = None, **config: Any) -> App:
    fields: dict[str, Any] = {"id": "1", "tenant": "default", "instance": "loja-1"}
    return App.of(PusherConfig(**(fields | config)), WIDE if wide is None else wide)


@pytest.mark.parametrize("data", ['{"a":1}', '{"nome":"Conceição \U0001f6d2"}', ""])
def test_it_signs_as_the_official_package_does(data: str) -> None:
    client: Any = PusherClient  # the package publishes no types
    official = client(app_id=APP_ID, key=KEY, secret=SECRET, cluster="sa1", ssl=True)
    batch = [{"channel": "loja-1", "name": "order.paid", "data": data}]
    request = official.trigger_batch.make_request(batch, already_encoded=True)
    now = int(request.query_params["auth_timestamp"])

    url = an_app().signed(request.path, request.body, now)

    base, _, query = request.url.partition("?")
    assert url.partition("?")[0] == base.replace(":443", "")
    assert sorted(url.partition("?")[2].split("&")) == sorted(query.split("&"))


async def test_channel_and_event_are_upstreams(rig: PusherRig) -> None:
    event = an_event(name="group-participants.update")
    async with opened(rig) as sink:
        await sink.send([a_message(event)])
    sink = open_sink(rig.configured(tenant="acme"), rig.context)
    await sink.send([a_message(event)])
    await sink.close()
    await tried(rig, tenant="acme", channel="private-orders")

    found = [(triggered.channel, triggered.name) for triggered in rig.channels.events]
    assert found == [
        ("loja-1", "group-participants.update"),
        ("acme.loja-1", "group-participants.update"),
        ("private-orders", "order.paid"),
    ]


async def test_ten_go_in_one_call(rig: PusherRig) -> None:
    async with opened(rig) as sink:
        outcomes = await sink.send([a_message(an_event(i)) for i in range(1, 11)])

    assert [type(outcome) for outcome in outcomes] == [Delivered] * 10
    assert len(rig.receiver.got) == 1
    ids = [json.loads(event.data)["id"] for event in rig.channels.events]
    assert ids == [an_event(i).id for i in range(1, 11)]


async def test_exactly_as_much_as_pusher_takes_is_sent_whole(rig: PusherRig) -> None:
    spare = MOST_BYTES - len(rig.expected(an_event(data=b'""')))
    fits, too_large = (
        an_event(number, data=b'"' + b"x" * (spare + number - 1) + b'"') for number in (1, 2)
    )
    async with opened(rig) as sink:
        outcomes = await sink.send([a_message(fits), a_message(too_large)])

    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered]
    assert len(rig.receiver.got) == 1  # nothing had to be refused first
    whole, claimed = (json.loads(event.data)["data"] for event in rig.channels.events)
    assert whole == "x" * spare
    assert claimed["claim_url"] == rig.context.claim_url("default", too_large.id)
    assert claimed["bytes"] == len(too_large.data)


async def test_a_stricter_server_gets_a_claim_check(rig: PusherRig) -> None:
    rig.channels.most_bytes = 1000
    large, small = an_event(1, data=b'"' + b"x" * 2000 + b'"'), an_event(2)
    async with opened(rig) as sink:
        outcomes = await sink.send([a_message(large), a_message(small)])

    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered]
    found = {event["id"]: event["data"] for event in map(_envelope, rig.channels.events)}
    assert "claim_url" in found[large.id]
    assert found[small.id] == json.loads(small.data)


def _envelope(event: Any) -> Any:
    return json.loads(event.data)


async def test_one_bad_event_does_not_spoil_the_others(rig: PusherRig) -> None:
    bad = an_event(2, data=b'"poison"')
    async with opened(rig) as sink:
        outcomes = await sink.send([a_message(an_event(1)), a_message(bad), a_message(an_event(3))])

    assert [type(outcome) for outcome in outcomes] == [Delivered, Rejected, Delivered]
    assert isinstance(outcomes[1], Rejected)
    assert "not to its liking" in outcomes[1].reason
    assert not outcomes[1].disable


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Delivered),
        (202, Delivered),
        (301, Retry),
        (400, Rejected),
        (401, Retry),
        (403, Retry),
        (404, Retry),
        (410, Retry),
        (413, Rejected),
        (429, Retry),
        (500, Retry),
        (503, Retry),
    ],
)
async def test_what_an_answer_means(rig: PusherRig, status: int, kind: type[Outcome]) -> None:
    headers = {"Retry-After": "7"}
    rig.receiver.answer = lambda _: web.Response(status=status, headers=headers, text="said")

    outcome = await tried(rig)

    assert type(outcome) is kind
    assert outcome.exchange
    assert outcome.exchange.status == status
    if isinstance(outcome, Retry):
        assert outcome.after == (7 if status in {429, 503} else None)
        assert str(status) in outcome.reason


async def test_a_wrong_secret_is_told_and_not_shown(rig: PusherRig) -> None:
    outcome = await tried(rig, secret="wrong-secret")

    assert isinstance(outcome, Retry)
    assert "secret" in outcome.reason
    assert "wrong-secret" not in repr(outcome)


async def test_a_private_address_is_refused_unless_listed(rig: PusherRig) -> None:
    async with Egress() as egress:
        outcome = await tried(rig, a_context(egress))

    assert isinstance(outcome, Retry)
    assert "ssrf_blocked" in outcome.reason
    assert rig.receiver.got == []


async def test_without_an_app_nothing_is_asked(rig: PusherRig) -> None:
    outcome = await tried(rig, app_id="", key="", secret="")

    assert isinstance(outcome, Retry)
    assert "PUSHER_GLOBAL_APP_ID" in outcome.reason
    assert rig.receiver.got == []


async def test_the_servers_app_serves_who_has_none(rig: PusherRig) -> None:
    wide = {
        "app_id": APP_ID,
        "key": KEY,
        "secret": SECRET,
        "host": f"127.0.0.1:{rig.receiver.port}",
    }
    context = a_context(rig.context.http, {"pusher": wide})
    given = {"app_id": "", "key": "", "secret": "", "host": "", "use_tls": False}

    assert isinstance(await tried(rig, context, **given), Delivered)
    assert isinstance(await tried(rig, context, **given, tenant="a", channel="x"), Delivered)
    assert [event.channel for event in rig.channels.events] == ["loja-1", "a.x"]


def test_where_an_app_is() -> None:
    own: dict[str, Any] = {"app_id": "1", "key": "k", "secret": "s"}

    assert an_app().origin == "https://api-sa1.pusher.com"
    assert an_app(**own, cluster="eu").origin == "https://api-eu.pusher.com"
    assert an_app(**own).origin == "https://api-sa1.pusher.com"
    assert an_app(**own, host="ws.loja.example:6001").origin == "https://ws.loja.example:6001"
    assert an_app(**own, host="ws.loja.example/", use_tls=False).origin == "http://ws.loja.example"
    assert an_app(**own, host="http://ws.loja.example").origin == "http://ws.loja.example"
    assert an_app(WIDE | {"host": "soketi.example"}).origin == "https://soketi.example"


@pytest.mark.parametrize(
    ("wide", "config", "word"),
    [
        ({}, {}, "no Pusher app"),
        (WIDE, {"app_id": "1"}, "no Pusher app"),
        (WIDE | {"cluster": ""}, {}, "no Pusher app"),
        (WIDE | {"cluster": "evil.example/"}, {}, "cluster"),
        (WIDE, {"tenant": "acme", "host": "acme.example"}, "app of its own"),
    ],
)
def test_what_cannot_work_is_said(wide: dict[str, str], config: dict[str, Any], word: str) -> None:
    assert word in an_app(wide, **config).fault
    assert not an_app().fault
