"""Media of messages through the real program: in as base64 or as a URL, out as each sink wants
it.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import nats as nats_client
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.e2e.program import Program
from tests.e2e.test_evolution_channel import accepted, channel, envelope
from tests.sinks.receiver import Got, Receiver, until

FILE = bytes(range(256)) * 400  # 100 KiB
ENCODED = base64.b64encode(FILE).decode()
PICTURE = {"imageMessage": {"mimetype": "image/jpeg", "caption": "Comprovante"}}


@dataclass
class Line:
    """An instance with a webhook that wants files, one that does not, and a broker."""

    program: Program
    instance: str
    plain: Receiver
    full: Receiver
    secret: str
    broker: "asyncio.Queue[Any]"

    @property
    def file_url(self) -> str:
        """The host of the file is the receiver's, too."""
        return f"http://127.0.0.1:{self.full.port}/files/1.jpg"

    async def arrived(self) -> dict[str, Any]:
        """The next message, as each of the three got it; the signature must hold."""
        at_broker = await asyncio.wait_for(self.broker.get(), 30)
        await until(lambda: bool(posted(self.plain)) and bool(posted(self.full)))
        [plain], [full] = posted(self.plain), posted(self.full)
        Webhook(self.secret).verify(full.body, dict(full.headers))
        told = {"plain": plain.body, "full": full.body, "broker": at_broker}
        return {who: json.loads(body)["data"]["message"] for who, body in told.items()}


def posted(receiver: Receiver) -> list[Got]:
    return [got for got in receiver.got if got.method == "POST"]


@pytest.fixture
async def line(
    embedded: Program, receiver: Receiver, other: Receiver, nats_url: str
) -> AsyncIterator[Line]:
    await embedded.start()
    name, only = f"linha-{secrets.token_hex(4)}", ["MESSAGES_UPSERT"]
    other.answer = lambda got: web.Response(body=FILE if got.method == "GET" else b"ok")
    await embedded.webhook(name, receiver.url, events=only)
    made = await embedded.webhook(name, other.url, "full", events=only, webhook_base64=True)
    body = {"url": nats_url, "events": only}
    assert (await embedded.call("POST", f"/nats/set/{name}", body)).status == 201
    queue: asyncio.Queue[Any] = asyncio.Queue()
    async with await nats_client.connect(nats_url) as connection:

        async def heard(message: Any) -> None:
            queue.put_nowait(message.data)

        await connection.subscribe(f"{name}.messages.upsert", cb=heard)
        await connection.flush()
        yield Line(embedded, name, receiver, other, made["secret"], queue)


async def test_base64_reaches_who_asked_for_it(line: Line) -> None:
    sent = PICTURE | {"mediaUrl": line.file_url, "base64": ENCODED}
    body = channel("M1", message=sent, messageType="imageMessage")
    told = await accepted(line.program, body, f"/{line.instance}")
    got = await line.arrived()
    assert got["full"] == sent
    assert got["plain"] == PICTURE | {"mediaUrl": line.file_url}
    assert got["broker"] == sent  # a broker gets the event as it came
    event = await line.program.data("GET", f"/processing/events/{told['id']}")
    assert event["data"]["message"] == sent
    assert not [got for got in line.full.got if got.method == "GET"]  # it was there already


async def test_a_url_becomes_base64_for_who_asked_for_it(line: Line) -> None:
    sent = PICTURE | {"mediaUrl": line.file_url}
    data = {"key": {"remoteJid": "5511988887777@s.whatsapp.net", "id": "M2"}, "message": sent}
    body = envelope("messages.upsert", data)
    await accepted(line.program, body, f"/{line.instance}")
    got = await line.arrived()
    assert got["full"] == sent | {"base64": ENCODED}
    assert got["plain"] == got["broker"] == sent
