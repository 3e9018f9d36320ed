"""The AsyncAPI document is valid, and what receivers really get is what it says."""

import json
import re

import pytest

from gateway.api.asyncapi import CHANNELS
from schemas.events import COMMERCE_NAMES
from schemas.published import document as schema_of
from schemas.sink_config import KINDS
from tests.api.delivered import asyncapi, faults
from tests.api.rig import Api
from tests.api.shop import opened
from tests.sinks.receiver import Receiver, until


def test_every_kind_and_every_event_is_there() -> None:
    assert {*KINDS, "socketio"} == set(CHANNELS)
    assert set(asyncapi()["channels"]) == {*CHANNELS, "operator"}
    for kind in CHANNELS:
        assert set(asyncapi()["channels"][kind]["messages"]) == {*COMMERCE_NAMES, "messaging"}


def test_references_lead_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(asyncapi()))):
        found = asyncapi()
        for part in reference.split("/"):
            found = found[part]


async def test_a_webhook_gets_what_it_says(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url)
    await shop.order(1)
    await until(lambda: bool(receiver.got))
    [call] = receiver.got

    body = json.loads(call.body)
    assert faults("webhook", "order.paid", "payload", body) == []
    said = asyncapi()["channels"]["webhook"]["messages"]["order.paid"]["headers"]["properties"]
    sent = {name.lower(): value for name, value in call.headers.items()}
    assert {name.lower() for name in said} <= set(sent)
    got = {name: sent[name.lower()] for name in said}
    assert faults("webhook", "order.paid", "headers", got) == []
    assert faults("webhook", "order.refunded", "payload", body)


@pytest.mark.parametrize("name", ["messages.upsert", "connection.update"])
async def test_a_messaging_event_is_what_it_says(api: Api, receiver: Receiver, name: str) -> None:
    await api.post("/webhook/set/loja", {"url": receiver.url})
    await api.post("/webhook/evolution/loja", {"event": name, "data": {"key": {"id": "1"}}})
    await until(lambda: bool(receiver.got))
    [call] = receiver.got

    assert faults("webhook", "messaging", "payload", json.loads(call.body)) == []


async def test_a_websocket_gets_what_it_says(api: Api) -> None:
    await api.post("/websocket/set/loja", {"enabled": True})
    shop = await opened(api)
    key = {"apikey": api.key or ""}
    async with api.session.ws_connect(f"{api.url}/ws/loja", headers=key) as socket:
        await shop.order(1)
        frame = json.loads((await socket.receive(timeout=20)).data)

    assert faults("websocket", "order.paid", "payload", frame) == []


def test_a_claim_check_is_told_where_there_may_be_one() -> None:
    claimed = {
        "event": "order.paid",
        "instance": "loja",
        "data": {"claim_url": "https://gw.example.com/claims/1", "bytes": 300000},
        "id": "01jd2m3x4y5z6a7b8c9d0e1f2g",
        "seq": 1,
        "occurred_at": "2024-01-15T10:45:00.000000Z",
    }
    for kind in CHANNELS:
        fits = not faults(kind, "order.paid", "payload", claimed)
        assert fits is (kind in {"rabbitmq", "sqs", "nats", "pusher"})


async def test_documents_are_served_to_anybody(api: Api) -> None:
    nobody = api.with_key(None)

    shown = await nobody.get("/asyncapi.json")
    assert shown.body == asyncapi()
    assert shown.headers["Access-Control-Allow-Origin"] == "*"
    for name in ("order.paid", "provider.event"):
        assert (await nobody.get(f"/schemas/{name}.json")).body == schema_of(name)
    for name in ("messages.upsert", "..%2Fjson%2Forder.paid", "order"):
        assert (await nobody.get(f"/schemas/{name}.json")).status == 404
