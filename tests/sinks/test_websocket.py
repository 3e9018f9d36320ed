"""The websocket sink, its far side a client of the running program.

Cases of the contract that speak of a far side that is down do not apply: there is always the store.
They are replaced by what holds instead.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.intake import micros
from gateway.store.base import Append, NewEvent
from schemas.delivery import Delivered
from schemas.envelope import frame
from schemas.events import StoredEvent
from schemas.sink_config import RabbitmqConfig, SinkConfig, WebsocketConfig
from sinks import open_sink
from sinks.websocket import open_websocket
from tests.api.rig import Api, serving
from tests.sinks.contract import Arrival, Rig, SinkContract, arrivals, opened
from tests.sinks.given import a_message, an_event


class WebsocketRig:
    """Events sent through the sink are in the store before, as the dispatcher's are."""

    secrets: tuple[str, ...] = ("cmp_secret_of_the_sink",)

    def __init__(self, api: Api, config: WebsocketConfig) -> None:
        self.api = api
        self.config: SinkConfig = config.model_copy(update={"apikey": self.secrets[0]})
        self.context = replace(api.services.sink_context, publish=self._publish)
        self._seqs: dict[str, int] = {}
        self._arrived: list[Arrival] = []
        self._reading: asyncio.Task[None] | None = None
        self._warm = asyncio.Event()
        self._warm.set()

    async def _publish(self, event: StoredEvent, again: bool) -> None:
        """Store the event, if it is not, and go on as the program does."""
        await self._warm.wait()
        if event.id not in self._seqs:
            told = await self.api.services.store.log.append(appended(event))
            self._seqs[event.id] = told.events[0].seq
        await self.api.services.hub.publish(replace(event, seq=self._seqs[event.id]), again)

    def expected(self, event: StoredEvent) -> bytes:
        return frame(replace(event, seq=self._seqs[event.id]), naming="canonical")

    async def arrived(self) -> list[Arrival]:
        return self._arrived

    async def freeze(self) -> None:
        self._warm.clear()

    async def thaw(self) -> None:
        self._warm.set()

    async def start(self, since: str = "") -> None:
        """Connect a client."""
        asked = {"apikey": self.api.key or ""} | ({"since": since} if since else {})
        target = f"{self.api.url}/ws/loja-1"
        socket = await self.api.session.ws_connect(target, params=asked, max_msg_size=0)
        self._reading = asyncio.create_task(self._read(socket))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async with socket:
            async for message in socket:
                body = message.data.encode()
                told: dict[str, Any] = message.json()
                self._arrived.append(Arrival(id=told["id"], body=body, headers={}))

    async def stop(self) -> None:
        """Let the client go."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._reading = None


def appended(event: StoredEvent) -> Append:
    row = NewEvent(
        id=event.id,
        name=event.name,
        key=event.key,
        dedupe_key=event.id,
        occurred_at=micros(event.occurred_at),
        provider_event=event.provider_event,
        data=event.data,
    )
    return Append(
        tenant=event.tenant,
        instance=event.instance,
        installation_id=event.installation_id,
        driver=event.driver,
        received_at=micros(event.received_at),
        events=(row,),
    )


@asynccontextmanager
async def made(folder: Path) -> AsyncIterator[WebsocketRig]:
    async with serving(folder) as api:
        assert (await api.post("/websocket/set/loja-1", {})).status == 201
        config = api.services.directory.find_sink("default", "websocket", "loja-1", "default")
        assert isinstance(config, WebsocketConfig)
        rig = WebsocketRig(api, config)
        await rig.start()
        yield rig
        await rig.stop()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[WebsocketRig]:
    async with made(tmp_path) as rig:
        yield rig


class TestWebsocket(SinkContract):
    async def test_bytes_id_and_headers_arrive(self, rig: Rig) -> None:
        """Frames have no headers."""
        message = a_message(an_event(7), attempt=3)
        async with opened(rig) as sink:
            [outcome] = await sink.send([message])
        assert isinstance(outcome, Delivered), outcome
        assert (await arrivals(rig, 1))[message.event.id].body == rig.expected(message.event)

    async def test_an_outage_is_a_retry_and_mends_itself(self, rig: Rig) -> None:
        """Nobody there is no failure: who comes back reads on where it was."""
        assert isinstance(rig, WebsocketRig)
        async with opened(rig) as sink:
            await sink.send([a_message(an_event(1))])
            await arrivals(rig, 1)
            await rig.stop()
            [outcome] = await sink.send([a_message(an_event(2))])
            assert isinstance(outcome, Delivered), outcome
            await rig.start(since=an_event(1).id)
            found = await arrivals(rig, 2)
        assert list(found) == [an_event(1).id, an_event(2).id]

    async def test_a_silent_far_side_is_a_retry_in_time(self, rig: Rig) -> None:
        """A client that reads nothing keeps nobody waiting."""
        assert isinstance(rig, WebsocketRig)
        await rig.stop()
        asked = {"apikey": rig.api.key or ""}
        async with (
            rig.api.session.ws_connect(f"{rig.api.url}/ws/loja-1", params=asked),
            opened(rig) as sink,
            asyncio.timeout(15),
        ):
            big = b'"' + b"x" * 500_000 + b'"'
            outcomes = [
                outcome
                for number in range(1, 60)
                for outcome in await sink.send([a_message(an_event(number, data=big))])
            ]
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)


async def test_what_is_replayed_by_hand_is_pushed_again(rig: WebsocketRig) -> None:
    message = a_message()
    async with opened(rig) as sink:
        await sink.send([message])
        await arrivals(rig, 1)
        await sink.send([replace(message, dedupe_id=f"{message.event.id}-again")])
        async with asyncio.timeout(20):
            while len(await rig.arrived()) < 2:
                await asyncio.sleep(0.01)
    assert {arrival.id for arrival in await rig.arrived()} == {message.event.id}


async def test_only_a_websockets_configuration_opens_one(rig: WebsocketRig) -> None:
    other = RabbitmqConfig(id="x", tenant="default", instance="loja-1")
    with pytest.raises(TypeError):
        open_websocket(other, rig.context)
    sink = open_sink(rig.config, rig.context)
    assert repr(sink) == f"WebsocketSink({rig.config.id})"
    await sink.close()
