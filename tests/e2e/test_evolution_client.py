"""Clients of Evolution API against us: `evolutionapi`, its makers' own, unmodified; and what npm's
`evolution-api-sdk` sends.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from evolutionapi.client import EvolutionClient
from evolutionapi.models.instance import WebhookConfig
from evolutionapi.models.websocket import WebSocketConfig

from tests.e2e.program import KEY, Program, program
from tests.sinks.receiver import Receiver, until

EVENTS = ["MESSAGES_UPSERT", "CONNECTION_UPDATE"]


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Program]:
    monkeypatch.setenv("RABBITMQ_URI", "amqp://guest:guest@127.0.0.1:1")
    async with program(tmp_path) as running:
        await running.start()
        yield running


@pytest.fixture
def client(server: Program) -> Any:
    return EvolutionClient(base_url=server.url, api_token=KEY)


async def test_its_sockets_are_configured_and_hear(server: Program, client: Any) -> None:
    sockets, heard = client.websocket, list[Any]()
    # What was never configured is told, too: upstream's `null` breaks this client.
    before = await asyncio.to_thread(sockets.find_websocket, "linha-1", KEY)
    assert (before.enabled, before.events) == (False, [])
    config = WebSocketConfig(enabled=True, events=EVENTS)
    await asyncio.to_thread(sockets.set_websocket, "linha-1", config, KEY)
    found = await asyncio.to_thread(sockets.find_websocket, "linha-1", KEY)
    assert (found.enabled, found.events) == (True, EVENTS)

    manager = client.create_websocket(instance_id="linha-1", api_token=KEY, max_retries=0)
    manager.on("messages.upsert", heard.append)
    await asyncio.to_thread(manager.connect)
    try:
        body = {"event": "messages.upsert", "data": {"key": {"id": "EV1"}}}
        assert (await server.call("POST", "/webhook/evolution/linha-1", body)).status == 200
        await until(lambda: bool(heard))
    finally:
        await asyncio.to_thread(manager.disconnect)
    assert heard[0]["event"] == "messages.upsert"
    assert heard[0]["data"] == {"key": {"id": "EV1"}}


async def test_its_webhook_is_set_found_and_sent_to(
    server: Program, client: Any, receiver: Receiver
) -> None:
    given: dict[str, Any] = {
        "url": receiver.url,
        "byEvents": True,
        "base64": False,
        "events": EVENTS,
    }
    config = WebhookConfig(**given, headers={"x-token": "t1"})
    for body in ({"webhook": {"enabled": True, **config.__dict__}}, config.__dict__):
        told = await asyncio.to_thread(client.post, "webhook/set/linha-1", body)
        assert (told["url"], told["events"]) == (receiver.url, EVENTS), told
        found = await asyncio.to_thread(client.get, "webhook/find/linha-1")
        assert (found["enabled"], found["events"]) == (True, EVENTS)
        assert (found["webhookByEvents"], found["webhookBase64"]) == (True, False)
    message = {"event": "MESSAGES_UPSERT", "data": {"key": {"id": "EV2"}}}
    await server.call("POST", "/webhook/evolution/linha-1", message)
    await until(lambda: bool(receiver.got))
    assert receiver.got[0].target == "/hook/messages-upsert"
    assert receiver.got[0].headers["x-token"] == "t1"
    assert json.loads(receiver.got[0].body)["event"] == "messages.upsert"


async def test_rabbitmq_is_set_and_found(client: Any) -> None:
    for body in ({"rabbitmq": {"enabled": True, "events": EVENTS}}, {"enabled": True}):
        told = await asyncio.to_thread(client.post, "rabbitmq/set/linha-1", body)
        assert told["enabled"] is True
        found = await asyncio.to_thread(client.get, "rabbitmq/find/linha-1")
        assert (found["enabled"], found["events"]) == (True, EVENTS)


SDK_HEADERS = {"apikey": KEY, "Content-Type": "application/json"}


async def test_the_typescript_sdks_requests(server: Program, receiver: Receiver) -> None:
    """npm's evolution-api-sdk 0.6.46 (github.com/gusnips/evolution-api-sdk at 8a6fa38): flat camel
    case, a slash at the end, always parses the answer.
    """
    body = {
        "enabled": True,
        "url": receiver.url,
        "webhookByEvents": False,
        "webhookBase64": True,
        "events": EVENTS,
    }
    target = f"{server.url}/webhook/set/linha-1/"
    told = await server.post(target, json.dumps(body).encode(), SDK_HEADERS)
    assert told.status == 201
    assert {name: told.json[name] for name in body} == body
    async with server.session.get(
        f"{server.url}/webhook/find/linha-1/", headers=SDK_HEADERS
    ) as answer:
        found = await answer.json()
    assert {name: found[name] for name in body} == body
    bad = json.dumps({"enabled": True, "url": "ftp://x", "events": EVENTS}).encode()
    refused = await server.post(target, bad, SDK_HEADERS)
    assert refused.status == 400
    assert "url" in refused.json["response"]["message"][0][0]


async def test_the_typescript_sdk_sets_what_it_has_no_words_for(server: Program) -> None:
    """Its generic calls put the instance and a slash behind every path, too."""
    for kind in ("websocket", "rabbitmq"):
        body = json.dumps({"enabled": True, "events": EVENTS}).encode()
        told = await server.post(f"{server.url}/{kind}/set/linha-1/", body, SDK_HEADERS)
        assert (told.status, told.json["events"]) == (201, EVENTS), told.body
        address = f"{server.url}/{kind}/find/linha-1/"
        async with server.session.get(address, headers=SDK_HEADERS) as answer:
            found = await answer.json()
        assert (found["enabled"], found["events"]) == (True, EVENTS)
