"""The webhook sink against a real HTTP server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.egress import Egress
from schemas.envelope import envelope
from schemas.events import StoredEvent
from schemas.sink_config import WebhookConfig
from schemas.target import AllowList
from tests.sinks.contract import Arrival, SinkContract
from tests.sinks.given import a_context
from tests.sinks.receiver import Got, Receiver, receiving

SECRET = "whsec_" + "c2VjcmV0" * 5
TOKEN = "Bearer super-secret"


class WebhookRig:
    secrets = (
        SECRET,
        SECRET.removeprefix("whsec_"),
        "super-secret",
        "jwt-secret",
        "query-secret",
        "cmp_secret",
    )

    def __init__(self, receiver: Receiver, egress: Egress) -> None:
        self._receiver = receiver
        self._warm = asyncio.Event()
        self._warm.set()
        receiver.answer = self._answer
        self.context = a_context(egress)
        self.config = WebhookConfig(
            id="01hm6sink",
            tenant="default",
            instance="loja-1",
            url=receiver.url,
            headers={"X-Token": TOKEN, "jwt_key": "jwt-secret"},
            secrets=((SECRET, None),),
            query={"key": "query-secret"},
            apikey="cmp_secret",
        )

    async def _answer(self, got: Got) -> web.StreamResponse:
        await self._warm.wait()
        return web.Response(text="ok")

    def expected(self, event: StoredEvent) -> bytes:
        server_url, url = self.context.server_url, self.config.url
        return envelope(event, naming="canonical", server_url=server_url, destination=url)

    async def arrived(self) -> list[Arrival]:
        return [
            Arrival(
                id=got.headers["webhook-id"],
                body=got.body,
                headers={name.lower(): value for name, value in got.headers.items()},
            )
            for got in self._receiver.got
        ]

    async def freeze(self) -> None:
        self._warm.clear()

    async def thaw(self) -> None:
        self._warm.set()

    async def stop(self) -> None:
        await self._receiver.stop()

    async def start(self) -> None:
        await self._receiver.start()


@pytest.fixture
async def rig() -> AsyncIterator[WebhookRig]:
    async with (
        receiving() as receiver,
        Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress,
    ):
        yield WebhookRig(receiver, egress)


class TestWebhook(SinkContract):
    pass
