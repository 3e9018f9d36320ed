"""Every address that somebody gives us leads nowhere it must not, whatever it is for."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.api.rig import Api, serving
from tests.sinks.receiver import Receiver, until

HOSTS = (
    "127.0.0.1",
    "localhost",
    "[::1]",
    "10.1.2.3",
    "169.254.169.254",
    "metadata.google.internal",
    "[fd00:ec2::254]",
    "2130706433",
    "0x7f.1",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "①②⑦.⓪.⓪.①",
)
# What takes an address: how it is asked, and where in the body the address stands.
PLACES: dict[str, tuple[str, str, Any]] = {
    "webhook": ("POST", "/webhook/set/loja", lambda h: {"url": f"https://{h}/"}),
    "rabbitmq": ("POST", "/rabbitmq/set/loja", lambda h: {"uri": f"amqp://u:p@{h}/"}),
    "nats": ("POST", "/nats/set/loja", lambda h: {"url": f"nats://{h}"}),
    "nats, second": ("POST", "/nats/set/loja", lambda h: {"url": f"nats://n.example,nats://{h}"}),
    "sqs endpoint": (
        "POST",
        "/sqs/set/loja",
        lambda h: {"region": "sa-east-1", "endpoint_url": f"https://{h}"},
    ),
    "sqs queue": ("POST", "/sqs/set/loja", lambda h: {"queue_url": f"https://{h}/1/q"}),
    "pusher": (
        "POST",
        "/pusher/set/loja",
        lambda h: {"app_id": "1", "key": "k", "secret": "s", "host": h},
    ),
    "api_base_url": (
        "POST",
        "/installations",
        lambda h: {
            "driver": "shopify",
            "instance": "loja",
            "credentials": {"secret": "a-secret"},
            "settings": {"api_base_url": f"https://{h}"},
        },
    ),
    "send-test-event": (
        "POST",
        "/drivers/kiwify/send-test-event",
        lambda h: {"webhook_url": f"https://{h}/", "event_name": "order.paid"},
    ),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_refused_address_is_refused_where_it_is_given(tmp_path: Path, place: str) -> None:
    method, path, body = PLACES[place]
    async with serving(tmp_path, allow_targets=()) as api:
        for host in HOSTS:
            answer = await api.call(method, path, body(host))
            assert answer.status in {400, 422}, (host, answer.body)
    async with serving(tmp_path, allow_targets=("0.0.0.0/0", "::/0")) as api:
        for host in ("169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]"):
            answer = await api.call(method, path, body(host))
            assert answer.status in {400, 422}, (host, answer.body)


async def test_media_are_fetched_through_the_guard(api: Api, receiver: Receiver) -> None:
    """An event that says where its picture is cannot have us look at what is ours: the receiver
    would answer, but for it to be named so is not allowed. The message goes out without the file.
    """
    made = await api.post("/webhook/set/loja", {"url": receiver.url, "webhook_base64": True})
    assert made.status == 201
    where = f"http://localhost:{receiver.port}/picture"
    picture = {"imageMessage": {"url": where, "mimetype": "image/png"}, "mediaUrl": where}
    key = {"remoteJid": "5511@s.whatsapp.net", "id": "1", "fromMe": False}
    body = {"event": "messages.upsert", "data": {"key": key, "message": picture}}
    assert (await api.post("/webhook/evolution/loja", body)).status == 200

    await until(lambda: bool(receiver.got))
    (sent,) = receiver.got
    assert sent.method == "POST"
    assert b"base64" not in sent.body
    allowed = await api.services.egress.request("GET", receiver.url, headers={})
    assert allowed.status == 200, "it was there to be fetched"


async def test_a_broker_is_judged_again_where_it_is_dialled(tmp_path: Path) -> None:
    """A name may say one thing when it is configured, and another later."""
    async with serving(tmp_path, allow_targets=()) as api:
        api.services.egress._resolver._lookup = lambda _: ["127.0.0.1"]
        kinds: dict[str, dict[str, Any]] = {
            "rabbitmq": {"uri": "amqp://u:p@turn.example/"},
            "nats": {"url": "nats://turn.example"},
            "sqs": {
                "region": "sa-east-1",
                "endpoint_url": "https://turn.example",
                "access_key_id": "a",
                "secret_access_key": "b",
            },
            "pusher": {"app_id": "1", "key": "k", "secret": "s", "host": "turn.example"},
        }
        for kind, body in kinds.items():
            made = await api.post(f"/{kind}/set/loja", body)
            assert made.status == 201, made.body
            tried = (await api.post(f"/{kind}/test/loja")).body
            told = tried.get("data", tried)
            assert told["success"] is False
            assert "127.0.0.1" in told["reason"], (kind, told)
            assert "not public" in told["reason"], (kind, told)


async def test_a_redirect_of_a_providers_api_is_not_followed(api: Api, receiver: Receiver) -> None:
    where = {"Location": "http://169.254.169.254/latest/meta-data"}
    receiver.answer = lambda _: web.Response(status=302, headers=where)
    answer = await api.services.egress.request("GET", receiver.url, headers={})

    assert answer.status == 302
    assert len(receiver.got) == 1
