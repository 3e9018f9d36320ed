"""What every kind of sink must do, asked of the real far side.

A kind joins by a `Rig` (open the sink, read what arrived, break and mend the far side) and a test
module with `class TestX(SinkContract)` and a fixture `rig`.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from schemas.delivery import Delivered, Message, Outcome, Retry
from schemas.events import StoredEvent
from schemas.sink_config import SinkConfig
from sinks import open_sink
from sinks.base import Context, Sink
from tests.sinks.given import a_message, an_event
from tests.sinks.receiver import until


@dataclass(frozen=True)
class Arrival:
    """One message at the far side. `headers` by lower case name: HTTP's, AMQP's, NATS's, …"""

    id: str
    body: bytes
    headers: Mapping[str, str]


class Rig(Protocol):
    """One sink's two ends. `secrets`: values of its configuration that must never be shown."""

    config: SinkConfig
    context: Context
    secrets: tuple[str, ...]

    def expected(self, event: StoredEvent) -> bytes:
        """The body that this event must arrive with (a claim, when it is too large)."""

    async def arrived(self) -> list[Arrival]:
        """Everything that arrived so far."""

    async def freeze(self) -> None:
        """Let the far side accept connections and answer nothing."""

    async def thaw(self) -> None:
        """Let it answer again, also what came while it was frozen."""

    async def stop(self) -> None:
        """Take the far side away."""

    async def start(self) -> None:
        """Bring it back where it was."""


@asynccontextmanager
async def opened(rig: Rig) -> AsyncIterator[Sink]:
    sink = open_sink(rig.config, rig.context)
    try:
        yield sink
    finally:
        await sink.close()


async def send_all(sink: Sink, messages: list[Message]) -> list[Outcome]:
    """As the dispatcher does: batches of the sink's size, as many at once as it takes."""
    size, slots = sink.batch_size, asyncio.Semaphore(sink.parallel)

    async def one(batch: list[Message]) -> list[Outcome]:
        async with slots:
            return list(await sink.send(batch))

    batches = [messages[i : i + size] for i in range(0, len(messages), size)]
    return [outcome for done in await asyncio.gather(*map(one, batches)) for outcome in done]


async def arrivals(rig: Rig, count: int) -> dict[str, Arrival]:
    """What arrived, by id, once there are `count` different ones."""
    async with asyncio.timeout(30):
        while len(found := {a.id: a for a in await rig.arrived()}) < count:
            await asyncio.sleep(0.01)
    return found


class SinkContract:
    """The cases. Every one opens its own sink."""

    async def test_bytes_id_and_headers_arrive(self, rig: Rig) -> None:
        message = a_message(
            an_event(7), attempt=3, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"
        )
        async with opened(rig) as sink:
            [outcome] = await sink.send([message])
        assert isinstance(outcome, Delivered), outcome
        arrival = (await arrivals(rig, 1))[message.event.id]
        assert arrival.body == rig.expected(message.event)
        assert message.traceparent in arrival.headers.values()
        assert "loja-1" in arrival.headers.values()

    async def test_any_payload_survives(self, rig: Rig) -> None:
        payloads = [
            b"{}",
            b"null",
            '{"nome":"Conceição \u2028 \U0001f6d2","e":"\\u0000\\ud800"}'.encode(),
            b'{"id":' + b"9" * 30 + b',"amount":10.00}',
            b'{"big":"' + b"x" * 262_144 + b'"}',
        ]
        events = [an_event(i, data=data) for i, data in enumerate(payloads, 1)]
        async with opened(rig) as sink:
            outcomes = await send_all(sink, [a_message(event) for event in events])
        assert all(isinstance(outcome, Delivered) for outcome in outcomes), outcomes
        found = await arrivals(rig, len(events))
        for event in events:
            assert found[event.id].body == rig.expected(event)

    async def test_five_hundred_at_once(self, rig: Rig) -> None:
        messages = [a_message(an_event(i)) for i in range(1, 501)]
        async with opened(rig) as sink:
            outcomes = await send_all(sink, messages)
        assert [o for o in outcomes if not isinstance(o, Delivered)] == []
        assert len(outcomes) == 500
        found = await arrivals(rig, 500)
        assert found.keys() == {message.event.id for message in messages}

    async def test_messaging_events_pass_too(self, rig: Rig) -> None:
        names = ["messages.upsert", "group-participants.update", "typebot.change-status"]
        events = [an_event(i, name=name) for i, name in enumerate(names, 1)]
        async with opened(rig) as sink:
            outcomes = await send_all(sink, [a_message(event) for event in events])
        assert all(isinstance(outcome, Delivered) for outcome in outcomes), outcomes
        assert (await arrivals(rig, 3)).keys() == {event.id for event in events}

    async def test_an_outage_is_a_retry_and_mends_itself(self, rig: Rig) -> None:
        """Down before the first connection, up, down under an open one, up: the same sink."""
        async with opened(rig) as sink:
            for number in (1, 2):
                await rig.stop()
                [outcome] = await sink.send([a_message(an_event(number))])
                assert isinstance(outcome, Retry), outcome
                assert outcome.reason
                await rig.start()
                delivered = await self._until_delivered(sink, a_message(an_event(number)))
                assert isinstance(delivered, Delivered)
        await arrivals(rig, 2)

    @staticmethod
    async def _until_delivered(sink: Sink, message: Message) -> Outcome:
        async with asyncio.timeout(60):
            while True:
                [outcome] = await sink.send([message])
                if not isinstance(outcome, Retry):
                    return outcome
                await asyncio.sleep(0.05)

    async def test_a_silent_far_side_is_a_retry_in_time(self, rig: Rig) -> None:
        config = rig.config.model_copy(update={"timeout": 0.5})
        sink = open_sink(config, rig.context)
        await rig.freeze()
        try:
            async with asyncio.timeout(15):
                [outcome] = await sink.send([a_message()])
        finally:
            await rig.thaw()
            await sink.close()
        assert isinstance(outcome, Retry), outcome

    async def test_close_waits_for_what_is_in_flight(self, rig: Rig) -> None:
        sink = open_sink(rig.config, rig.context)
        await sink.send([a_message(an_event(1))])
        await rig.freeze()
        sending = asyncio.create_task(self._outcomes(sink, a_message(an_event(2))))
        await asyncio.sleep(0)  # the send begins
        closing = asyncio.create_task(sink.close())
        done, _ = await asyncio.wait({closing}, timeout=0.2)
        await rig.thaw()
        async with asyncio.timeout(30):
            [outcome] = await sending
            await closing
        assert not done
        assert isinstance(outcome, Delivered), outcome

    @staticmethod
    async def _outcomes(sink: Sink, message: Message) -> list[Outcome]:
        return list(await sink.send([message]))

    async def test_closing_twice_leaves_no_task(self, rig: Rig) -> None:
        before = asyncio.all_tasks()
        sink = open_sink(rig.config, rig.context)
        await sink.send([a_message()])
        await sink.close()
        await sink.close()
        await until(lambda: asyncio.all_tasks() <= before)
        [outcome] = await sink.send([a_message()])
        assert isinstance(outcome, Retry)
        assert not outcome.counts

    async def test_closing_an_unused_sink_asks_nobody(self, rig: Rig) -> None:
        await rig.stop()
        async with asyncio.timeout(5):
            sink = open_sink(rig.config, rig.context)
            await sink.close()
        await rig.start()

    async def test_secrets_are_not_shown(self, rig: Rig) -> None:
        assert rig.secrets
        async with opened(rig) as sink:
            outcomes = list(await sink.send([a_message()]))
            await rig.stop()
            outcomes += await sink.send([a_message(an_event(2))])
            await rig.start()
            shown = f"{sink!r} {sink.health()!r} {rig.config!r} {rig.context!r} {outcomes!r}"
        assert [secret for secret in rig.secrets if secret in shown] == []

    async def test_health_is_known_without_asking(self, rig: Rig) -> None:
        async with opened(rig) as sink:
            assert sink.health().state
            await sink.send([a_message(an_event(1, id=str(uuid.uuid4())))])
            assert sink.health().state == "ok"
