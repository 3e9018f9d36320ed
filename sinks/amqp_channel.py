"""What is done on channels: declaring queues, and publishing with many confirms in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from aiormq import Channel
from aiormq.abc import AbstractChannel, AbstractConnection, ArgumentsType, ChannelFrame
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelClosed
from pamqp.commands import Basic

from schemas.sink_config import RabbitmqConfig
from sinks.amqp import CLOSE_SECONDS, broker_text
from sinks.amqp_frames import Content, Frames
from sinks.answers import Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The exchange of a sink and the queues behind it, one per event."""

    exchange: str
    exchange_type: str
    queues: str
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, config: RabbitmqConfig) -> Topology:
        """Upstream's names; tenants but `default` are told apart by a prefix."""
        prefix = "" if config.tenant == "default" else f"{config.tenant}."
        dead = config.dead_letter_exchange
        if dead and not config.uri:  # on a broker that tenants share: nobody's but their own
            dead = prefix + dead
        options = {
            "x-queue-type": config.queue_type,
            "x-message-ttl": config.message_ttl,
            "x-max-length": config.max_length,
            "x-dead-letter-exchange": dead or None,
        }
        return cls(
            exchange=prefix + (config.exchange or config.instance),
            exchange_type=config.exchange_type,
            queues=prefix + config.instance,
            arguments={name: value for name, value in options.items() if value is not None},
        )

    def queue(self, event: str) -> str:
        """The queue of an event, named as upstream names it."""
        return f"{self.queues}.{event}"

    async def declare(self, connection: AbstractConnection, events: Iterable[str]) -> Refusals:
        """Make what is missing for these events; gives those where the broker refused, and why.

        On channels of its own, because a refusal closes the channel with all that is in flight.
        """
        refusals = Refusals({}, {})
        channel: AbstractChannel | None = None
        try:
            for event in events:
                try:
                    channel = channel or await self._channel(connection)
                    await self._declare(channel, event)
                except ChannelAccessRefused as error:
                    refusals.access[event] = broker_text(error)
                    channel = None
                except ChannelClosed as error:
                    refusals.fatal[event] = broker_text(error)
                    channel = None
        finally:
            if channel is not None:
                await close_channel(channel, ChannelClosed(0, "declared"))
        return refusals

    async def _channel(self, connection: AbstractConnection) -> AbstractChannel:
        channel = await connection.channel(publisher_confirms=False)
        await channel.exchange_declare(
            self.exchange, exchange_type=self.exchange_type, durable=True
        )
        return channel

    async def _declare(self, channel: AbstractChannel, event: str) -> None:
        queue = self.queue(event)
        await channel.queue_declare(queue, durable=True, arguments=dict(self.arguments))
        # An exchange of type `headers` matches these instead of the routing key.
        match: ArgumentsType = {}
        if self.exchange_type == "headers":
            match = {"x-match": "all", "event": event}
        await channel.queue_bind(queue, self.exchange, routing_key=event, arguments=match)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Events whose queue could not be made. `access`: it may exist all the same, an operator may
    keep the right to make queues.
    """

    fatal: dict[str, str]
    access: dict[str, str]


async def close_channel(channel: AbstractChannel, error: AMQPError) -> None:
    """Close it, soon even if the broker is silent; what is in flight on it ends with `error`."""
    with suppress(AMQPError, OSError, TimeoutError, RuntimeError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await channel.close(error)


Confirmed = Basic.Ack | BaseException


class _Confirm:
    """A message's place in its batch, as the future that aiormq keeps until the broker confirms."""

    __slots__ = ("_answers", "_ids", "_message_id", "_position")

    def __init__(
        self, answers: Answers[Confirmed], position: int, message_id: str, ids: dict[str, int]
    ) -> None:
        self._answers, self._position = answers, position
        self._message_id, self._ids = message_id, ids

    def done(self) -> bool:
        return self._answers.given[self._position] is not None

    def set_result(self, frame: Basic.Ack) -> None:
        self._ids.pop(self._message_id, None)
        self._answers.give(self._position, frame)

    def set_exception(self, error: BaseException) -> None:
        self._ids.pop(self._message_id, None)
        self._answers.give(self._position, error)


class Publisher:
    """One confirm channel, and what is being published on it by the batch.

    aiormq counts what is published one message at a time, by a task and two futures for each; the
    counting is done here, in its own books, so that it reads the broker's confirms.
    """

    def __init__(self, connection: AbstractConnection, channel: Channel, exchange: str) -> None:
        self.connection = connection
        self._channel = channel
        self._frames = Frames(exchange, channel.number, channel.max_content_size)
        self._pending: set[Answers[Confirmed]] = set()
        self._spoiled = False
        channel.closing.add_done_callback(self._closed)

    @classmethod
    async def open(cls, connection: AbstractConnection, exchange: str) -> Publisher:
        """On a new channel."""
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return cls(connection, cast("Channel", channel), exchange)

    def serves(self, connection: AbstractConnection) -> bool:
        """Whether it is a channel of this connection whose confirms can be trusted."""
        usable = not (self._spoiled or self._channel.is_closed)
        return usable and self.connection is connection

    def publish(self, contents: Sequence[Content]) -> Answers[Confirmed]:
        """Begin to publish. Each is answered by the broker's confirm, or by what it or the
        connection said instead.
        """
        payload = b"".join(chain.from_iterable(map(self._frames.of, contents)))
        answers: Answers[Confirmed] = Answers(len(contents))
        # What is counted is sent: one that was not would shift the confirms of all that follow.
        books: Any = self._channel
        ids = books.message_id_delivery_tag
        for position, content in enumerate(contents):
            books.delivery_tag += 1
            confirm = _Confirm(answers, position, content.message_id, ids)
            books.confirmations[books.delivery_tag] = confirm
            ids[content.message_id] = books.delivery_tag
        # It has no limit: see `sinks.amqp`.
        books.write_queue.put_nowait(ChannelFrame(payload=payload, should_close=False))
        self._pending.add(answers)
        answers.complete.add_done_callback(lambda _: self._pending.discard(answers))
        return answers

    def spoil(self) -> None:
        """Trust nothing that comes from now on: what is in flight ends without an answer."""
        self._spoiled = True
        for answers in tuple(self._pending):
            answers.end()

    async def close(self) -> None:
        """Give up the channel and all that is in flight on it."""
        self.spoil()
        await close_channel(self._channel, ChannelClosed(0, "given up"))

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        """The channel, by whomever."""
        error = None if closing.cancelled() else closing.exception()
        for answers in tuple(self._pending):
            answers.give_rest(error or asyncio.CancelledError())
