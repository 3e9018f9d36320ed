"""What is done on channels: declaring queues, and publishing with many confirms in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from aiormq import Channel
from aiormq.abc import AbstractChannel, AbstractConnection, ArgumentsType
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelClosed
from pamqp.commands import Basic

from schemas.sink_config import RabbitmqConfig
from sinks.amqp import CLOSE_SECONDS, broker_text


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


class Publisher:
    """One confirm channel, and what is being published on it.

    A publish that is given up may have counted itself without having been sent. From then on the
    broker's confirms would be taken for those of other messages, so the whole channel is given up.
    """

    def __init__(self, connection: AbstractConnection, channel: Channel) -> None:
        self.connection = connection
        self._channel = channel
        self._tasks: set[asyncio.Task[object]] = set()
        self._spoiled = False

    @classmethod
    async def open(cls, connection: AbstractConnection) -> Publisher:
        """On a new channel."""
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return cls(connection, cast("Channel", channel))

    def serves(self, connection: AbstractConnection) -> bool:
        """Whether it is a channel of this connection whose confirms can be trusted."""
        usable = not (self._spoiled or self._channel.is_closed)
        return usable and self.connection is connection

    def publish(
        self, body: bytes, exchange: str, routing_key: str, properties: Basic.Properties
    ) -> asyncio.Task[object]:
        """Begin to publish; the task ends with the broker's confirm, or raises."""
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(
            self._channel.basic_publish(
                body,
                exchange=exchange,
                routing_key=routing_key,
                properties=properties,
                mandatory=True,
                wait=False,  # each would go out by itself; see AmqpPeer.drained
            )
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def spoil(self) -> None:
        """Trust nothing that comes from now on: what is in flight ends as cancelled."""
        self._spoiled = True
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Give up the channel and all that is in flight on it."""
        self.spoil()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await close_channel(self._channel, ChannelClosed(0, "given up"))
