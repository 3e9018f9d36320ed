"""Media of messaging events: out of the payload, or fetched into it."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from gateway.egress import Egress
from schemas import codec
from schemas.delivery import Delivered, Outcome, Retry
from schemas.events import StoredEvent
from schemas.sink_config import WebhookConfig
from schemas.target import AllowList
from sinks import media, open_sink
from sinks.media import without_base64
from tests.sinks.given import a_context, a_message, an_event
from tests.sinks.receiver import Got, Receiver, receiving

FILE = b"\x89PNG not really"
ENCODED = base64.b64encode(FILE).decode()


def a_picture(**message: Any) -> StoredEvent:
    return an_event(name="messages.upsert", data=json.dumps({"message": message}).encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"message": {"base64": "x", "mediaUrl": "u"}}, {"message": {"mediaUrl": "u"}}),
        ({"base64": "x", "message": {}}, {"message": {}}),
        (
            {"message": {"imageMessage": {"url": "u", "base64": "x"}}},
            {"message": {"imageMessage": {"url": "u"}}},
        ),
        ([{"message": {"base64": "x"}}, 5], [{"message": {}}, 5]),
        ({"messages": [{"message": {"base64": "x"}}]}, {"messages": [{"message": {}}]}),
    ],
)
def test_base64_is_taken_out(before: Any, after: Any) -> None:
    data = without_base64(an_event(name="messages.upsert", data=json.dumps(before).encode()))
    assert data is not None
    assert json.loads(data) == after


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("qrcode.updated", {"base64": "x"}),  # a QR code is the event itself
        ("order.paid", {"base64": "x"}),
        ("messages.upsert", {"message": {"conversation": 'the word "base64"'}}),
        ("messages.upsert", {"elsewhere": {"base64": "x"}}),
        ("messages.upsert", "base64"),
    ],
)
def test_everything_else_stays_as_it_is(name: str, data: Any) -> None:
    assert without_base64(an_event(name=name, data=json.dumps(data).encode())) is None


def test_numbers_survive_the_reading() -> None:
    data = b'{"message":{"base64":"x"},"n":123456789012345678901234567890,"d":1.50,"s":"\\ud800"}'
    found = without_base64(an_event(name="messages.upsert", data=data))
    assert found is not None
    assert codec.loads(found) == codec.loads(data) | {"message": {}}
    assert b'"d":1.50' in found.replace(b" ", b"")


class Pair:
    """A media host and a receiver in one server: GET is the file, POST the event."""

    def __init__(self, receiver: Receiver, egress: Egress) -> None:
        self.receiver, self.egress = receiver, egress
        self.status = 200
        receiver.answer = self._answer

    def _answer(self, got: Got) -> web.StreamResponse:
        if got.method == "GET":
            return web.Response(body=FILE, status=self.status)
        return web.Response(text="ok")

    @property
    def file_url(self) -> str:
        return self.receiver.url.replace("/hook", "/media/1")

    async def send(self, event: StoredEvent, attempt: int = 1) -> Outcome:
        config = WebhookConfig(
            id="s",
            tenant="default",
            instance="loja-1",
            url=self.receiver.url,
            webhook_base64=True,
        )
        sink = open_sink(config, a_context(self.egress))
        [outcome] = await sink.send([a_message(event, attempt=attempt)])
        await sink.close()
        return outcome

    async def data(self, event: StoredEvent, attempt: int = 1) -> Any:
        outcome = await self.send(event, attempt)
        assert isinstance(outcome, Delivered), outcome
        return json.loads(self.receiver.got[-1].body)["data"]

    @property
    def fetched(self) -> int:
        return sum(got.method == "GET" for got in self.receiver.got)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with receiving() as receiver, Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress:
        yield Pair(receiver, egress)


async def test_media_is_fetched_into_the_payload(pair: Pair) -> None:
    url = pair.file_url
    found = await pair.data(a_picture(mediaUrl=url))
    assert found == {"message": {"mediaUrl": url, "base64": ENCODED}}
    found = await pair.data(a_picture(imageMessage={"url": url}))
    assert found["message"]["base64"] == ENCODED


async def test_nothing_is_fetched_that_is_there_or_cannot_be_read(pair: Pair) -> None:
    url = pair.file_url
    assert (await pair.data(a_picture(mediaUrl=url, base64="x")))["message"]["base64"] == "x"
    encrypted = {"imageMessage": {"url": url, "mediaKey": "k"}}
    assert await pair.data(a_picture(**encrypted)) == {"message": encrypted}
    assert await pair.data(a_picture(mediaUrl="file:///etc/passwd"))
    assert await pair.data(a_picture(mediaUrl="http://10.0.0.1/x"))
    assert pair.fetched == 0


@pytest.mark.parametrize("status", [403, 404, 302])
async def test_media_that_is_gone_keeps_its_url(pair: Pair, status: int) -> None:
    pair.status = status
    assert await pair.data(a_picture(mediaUrl=pair.file_url)) == {
        "message": {"mediaUrl": pair.file_url}
    }


async def test_media_that_is_too_large_keeps_its_url(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "MAX_MEDIA", len(FILE))
    assert "base64" in (await pair.data(a_picture(mediaUrl=pair.file_url)))["message"]
    monkeypatch.setattr(media, "MAX_MEDIA", len(FILE) - 1)
    assert "base64" not in (await pair.data(a_picture(mediaUrl=pair.file_url)))["message"]


async def test_a_media_host_in_trouble_is_waited_for_but_not_for_ever(pair: Pair) -> None:
    pair.status = 503
    event = a_picture(mediaUrl=pair.file_url)
    for attempt in (1, 2):
        outcome = await pair.send(event, attempt)
        assert isinstance(outcome, Retry)
        assert outcome.reason == "media: HTTP 503"
    assert "base64" not in (await pair.data(event, attempt=3))["message"]
