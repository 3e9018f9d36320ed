"""The integrations page that people come with, request by request, as it is written there: flat
bodies, no key.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import Answer, Program, program
from tests.e2e.sockets import listening
from tests.sinks.receiver import Receiver, until

WEBHOOK = """{
  "url": "https://meusite.com/webhook",
  "enabled": true,
  "events": [
    "APPLICATION_STARTUP",
    "QRCODE_UPDATED",
    "CONNECTION_UPDATE",
    "MESSAGES_UPSERT",
    "MESSAGES_UPDATE",
    "MESSAGES_DELETE",
    "SEND_MESSAGE",
    "CONTACTS_SET",
    "CONTACTS_UPSERT",
    "CONTACTS_UPDATE",
    "PRESENCE_UPDATE",
    "CHATS_SET",
    "CHATS_UPSERT",
    "CHATS_UPDATE",
    "CHATS_DELETE",
    "GROUPS_UPSERT",
    "GROUP_UPDATE",
    "GROUP_PARTICIPANTS_UPDATE",
    "NEW_JWT_TOKEN",
    "TYPEBOT_START",
    "TYPEBOT_CHANGE_STATUS"
  ],
  "webhook_by_events": false,
  "webhook_base64": false
}"""
BROKER = """{
  "enabled": true,
  "events": [
    "APPLICATION_STARTUP",
    "QRCODE_UPDATED",
    "CONNECTION_UPDATE",
    "MESSAGES_UPSERT",
    "MESSAGES_UPDATE",
    "SEND_MESSAGE"
  ]
}"""
CURL_WEBHOOK = """{
    "url": "https://meusite.com/webhook",
    "enabled": true,
    "events": [
      "MESSAGES_UPSERT",
      "CONNECTION_UPDATE"
    ],
    "webhook_by_events": false,
    "webhook_base64": false
  }"""
CURL_WEBSOCKET = """{
    "enabled": true,
    "events": [
      "MESSAGES_UPSERT",
      "SEND_MESSAGE"
    ]
  }"""
CURL_RABBITMQ = """{
    "enabled": true,
    "events": [
      "MESSAGES_UPSERT",
      "CONNECTION_UPDATE"
    ]
  }"""
MESSAGE = {
    "key": {
        "remoteJid": "5511999999999@s.whatsapp.net",
        "fromMe": False,
        "id": "3EB0C767D82B632A2E4A",
    },
    "message": {"conversation": "Olá, como você está?"},
    "messageTimestamp": 1640995200,
    "status": "RECEIVED",
}
CONNECTION = {"state": "open", "statusReason": 200}
PAYLOAD = "event instance data destination date_time sender server_url apikey".split()
# Nobody listens there: configuring does not wait for a broker.
SERVER_WIDE = {
    "RABBITMQ_URI": "amqp://guest:guest@127.0.0.1:1",
    "NATS_URL": "nats://127.0.0.1:1",
    "SQS_REGION": "sa-east-1",
    "SQS_ACCESS_KEY_ID": "id",
    "SQS_SECRET_ACCESS_KEY": "secret",
    "PUSHER_GLOBAL_APP_ID": "1",
    "PUSHER_GLOBAL_KEY": "key",
    "PUSHER_GLOBAL_SECRET": "secret",
    "PUSHER_GLOBAL_CLUSTER": "sa1",
}


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program as its user first tries it: on this machine, asking for no key."""
    for name, value in SERVER_WIDE.items():
        monkeypatch.setenv(name, value)
    async with program(tmp_path, AUTH="off") as running:
        await running.start()
        yield running


async def curl(server: Program, method: str, path: str, body: str | None = None) -> Answer:
    """As the page's commands do it."""
    if body is None:
        return await server.call(method, path, key=None)
    headers = {"Content-Type": "application/json"}
    return await server.post(server.url + path, body.encode(), headers)


async def test_set_and_find_webhook(server: Program) -> None:
    told = await curl(server, "POST", "/webhook/set/minha-instancia", WEBHOOK)
    assert told.status == 201, told.body
    assert "warnings" not in told.json
    found = await curl(server, "GET", "/webhook/find/minha-instancia")
    assert found.status == 200
    wanted = json.loads(WEBHOOK)
    assert {name: found.json[name] for name in wanted} == wanted

    told = await curl(server, "POST", "/webhook/set/minha-instancia", CURL_WEBHOOK)
    assert told.status == 201
    found = await curl(server, "GET", "/webhook/find/minha-instancia")
    wanted = json.loads(CURL_WEBHOOK)
    assert {name: found.json[name] for name in wanted} == wanted


@pytest.mark.parametrize("kind", ["websocket", "rabbitmq", "sqs", "nats", "pusher"])
async def test_set_and_find_the_others(server: Program, kind: str) -> None:
    for body in (BROKER, CURL_WEBSOCKET, CURL_RABBITMQ):
        told = await curl(server, "POST", f"/{kind}/set/minha-instancia", body)
        assert told.status == 201, told.body
        assert "warnings" not in told.json
        found = await curl(server, "GET", f"/{kind}/find/minha-instancia")
        assert found.status == 200
        wanted = json.loads(body)
        assert {name: found.json[name] for name in wanted} == wanted


async def channel(server: Program, event: str, data: Any) -> None:
    body = json.dumps({"event": event, "data": data})
    told = await curl(server, "POST", "/webhook/evolution/minha-instancia", body)
    assert told.status == 200, told.body
    assert told.json["status"] == "success"


async def test_the_webhook_payload(server: Program, receiver: Receiver) -> None:
    body = json.loads(CURL_WEBHOOK) | {"url": receiver.url}
    await curl(server, "POST", "/webhook/set/minha-instancia", json.dumps(body))
    await channel(server, "SEND_MESSAGE", MESSAGE)
    await channel(server, "MESSAGES_UPSERT", MESSAGE)
    await until(lambda: bool(receiver.got))
    (got,) = receiver.got
    payload = json.loads(got.body)
    assert list(payload)[: len(PAYLOAD)] == PAYLOAD
    assert payload["event"] == "MESSAGES_UPSERT"
    assert payload["instance"] == "minha-instancia"
    assert payload["data"] == MESSAGE
    assert payload["destination"] == receiver.url
    assert payload["date_time"].endswith("Z")
    assert len(payload["date_time"]) == len("2024-01-01T12:00:00.000Z")
    assert payload["sender"] == "Evolution API"
    assert payload["server_url"] == server.url


async def test_a_url_for_each_event(server: Program, receiver: Receiver) -> None:
    body = json.loads(CURL_WEBHOOK) | {"url": receiver.url, "webhook_by_events": True}
    await curl(server, "POST", "/webhook/set/minha-instancia", json.dumps(body))
    await channel(server, "MESSAGES_UPSERT", MESSAGE)
    await channel(server, "CONNECTION_UPDATE", CONNECTION)
    await until(lambda: len(receiver.got) == 2)
    assert {got.target for got in receiver.got} == {
        "/hook/messages_upsert",
        "/hook/connection_update",
    }


async def test_the_websocket_message(server: Program) -> None:
    await curl(server, "POST", "/websocket/set/minha-instancia", BROKER)
    async with listening(server, "minha-instancia", key=None) as client:
        await channel(server, "CONNECTION_UPDATE", CONNECTION)
        (frame,) = await client.heard(1)
    assert {name: frame[name] for name in ("event", "instance", "data")} == {
        "event": "CONNECTION_UPDATE",
        "instance": "minha-instancia",
        "data": CONNECTION,
    }
