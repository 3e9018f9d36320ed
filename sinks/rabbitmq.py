"""The RabbitMQ sink: a topic exchange per instance, a durable queue per event, every message
confirmed.

Exchange, queues and bindings are made before the first message of an event, and again when the
broker hands a message back because no queue took it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache, partial

from aiormq.exceptions import (
    AMQPError,
    ChannelNotFoundEntity,
    DeliveryError,
    PublishError,
)
from pamqp.commands import Basic

from schemas.delivery import Delivered, Health, Message, Outcome, Retry
from schemas.envelope import claim, envelope, trace_parent, wire_name
from schemas.sink_config import RabbitmqConfig, SinkConfig
from sinks.amqp import AmqpPeer, Place, broker_text, connect
from sinks.amqp_channel import Confirmed, Publisher, Topology
from sinks.amqp_frames import Content, Properties
from sinks.base import Context, Sink
from sinks.flight import Flight, grounded
from sinks.link import Link, LinkError

BATCH_SIZE, PARALLEL = 128, 4
# RabbitMQ 4 takes no more unless told to, and closes the channel over it.
LARGEST_BODY = 16 * 1024 * 1024 - 4096
DELIVERED = Delivered()
UNROUTED = Retry(reason="it routed the message to no queue")
BLOCKED = "it takes no messages now: it is short of memory or disk"
NOTHING = "no RabbitMQ to publish to: set `uri` here, or RABBITMQ_URI on the server"


def open_rabbitmq(config: SinkConfig, context: Context) -> Sink:
    """The sink of a RabbitMQ configuration."""
    if not isinstance(config, RabbitmqConfig):
        raise TypeError(f"a {config.kind} configuration is not RabbitMQ's")
    return RabbitmqSink(config, context)


class RabbitmqSink:
    """See `sinks.base.Sink`. The connection is shared, the channel is its own."""

    batch_size = BATCH_SIZE

    def __init__(self, config: RabbitmqConfig, context: Context) -> None:
        self._config, self._context = config, context
        self.parallel = config.concurrency or PARALLEL
        self._timeout = config.timeout or context.timeout
        self._topology = Topology.of(config)
        self._properties = lru_cache(256)(self._named)  # one per event name: they are few
        self._uri = config.uri or context.server_wide.get("rabbitmq", {}).get("uri", "")
        self._place = "RabbitMQ"
        self._link: Link[AmqpPeer] | None = None
        self._publisher: Publisher | None = None
        self._preparing = asyncio.Lock()
        self._declared: set[str] = set()  # events, on the connection of the publisher
        self._unmade: dict[str, str] = {}  # why the queue of an event was not ours to make
        self._flight = Flight()
        self._giving_up: set[asyncio.Task[None]] = set()
        self._error: str | None = None

    def __repr__(self) -> str:
        return f"RabbitmqSink({self._config.id})"

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """See `sinks.base.Sink.send`."""
        if self._flight.closed:
            return grounded(len(batch))
        with self._flight.one():
            deadline = asyncio.get_running_loop().time() + self._timeout
            outcomes = await self._round(batch, deadline)
            unrouted = [i for i, outcome in enumerate(outcomes) if outcome is UNROUTED]
            if unrouted:  # the queue is gone: it is made again, once
                again = await self._round([batch[i] for i in unrouted], deadline)
                for i, outcome in zip(unrouted, again, strict=True):
                    given_up = outcome is UNROUTED
                    outcomes[i] = self._retry(UNROUTED.reason) if given_up else outcome
        failures = (outcome.reason for outcome in outcomes if not isinstance(outcome, Delivered))
        self._error = next(failures, None)
        return outcomes

    def health(self) -> Health:
        """How the connection is, and what went wrong last."""
        peer = self._link.peer if self._link else None
        if self._link is None:
            state = "unknown"
        elif peer is None:
            state = "connecting"
        elif peer.blocked:
            state = "blocked"
        else:
            state = "failing" if self._error else "ok"
        lost = self._link.error if self._link and not peer else None
        error = self._error or (f"{self._place}: {lost.reason}" if lost else None)
        return Health(state=state, detail={"error": error} if error else {})

    async def close(self) -> None:
        """See `sinks.base.Sink.close`."""
        await self._flight.close()
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.close()
        await asyncio.gather(*self._giving_up)
        link, self._link = self._link, None
        if link is not None:
            await self._context.links.leave(link)

    async def _round(self, batch: Sequence[Message], deadline: float) -> list[Outcome]:
        """Try each message once; UNROUTED is what may do better at once."""
        try:
            async with asyncio.timeout_at(deadline):
                publisher, refused = await self._prepared({m.event.name for m in batch})
        except LinkError as error:
            return [self._retry(error.reason, counts=not error.ours)] * len(batch)
        except TimeoutError:
            return [self._retry(self._silence())] * len(batch)
        except (AMQPError, OSError, RuntimeError) as error:  # RuntimeError: closed in between
            return [self._retry(broker_text(error))] * len(batch)
        sent = [message for message in batch if message.event.name not in refused]
        contents = [self._content(message) for message in sent]
        answers = await self._confirmed(publisher, contents, deadline)
        outcomes = (self._outcome(*one) for one in zip(sent, answers, strict=True))
        reasons = (refused.get(message.event.name) for message in batch)
        return [next(outcomes) if why is None else self._retry(why) for why in reasons]

    async def _prepared(self, events: set[str]) -> tuple[Publisher, dict[str, str]]:
        """A channel to publish these events on, and why some of them cannot be.

        Raises LinkError, AMQPError, OSError, RuntimeError.
        """
        peer = await self._linked().ready()
        if peer.blocked:
            raise LinkError(BLOCKED)
        await peer.drained()
        async with self._preparing:
            publisher = self._publisher
            if publisher is None or publisher.connection is not peer.connection:
                self._declared.clear()
            if publisher is None or not publisher.serves(peer.connection):
                publisher = self._publisher = await Publisher.open(
                    peer.connection, self._topology.exchange
                )
            refusals = await self._topology.declare(peer.connection, events - self._declared)
            self._declared |= events - refusals.fatal.keys()
            self._unmade = {e: r for e, r in self._unmade.items() if e not in events}
            self._unmade |= refusals.access
        return publisher, refusals.fatal

    def _linked(self) -> Link[AmqpPeer]:
        if not self._uri:
            raise LinkError(NOTHING)
        if self._link is None:
            context, own = self._context, bool(self._config.uri)
            dial = partial(
                connect,
                self._uri,
                guard=context.guard if own else None,
                ca_file=context.ca_file,
                name=context.user_agent,
            )
            key = ("rabbitmq", self._uri, self._config.tenant if own else None)
            self._link = context.links.take(key, dial)
            self._place = str(Place.parse(self._uri))
        return self._link

    def _content(self, message: Message) -> Content:
        event = message.event
        trace = message.traceparent or trace_parent(
            event.id, f"{message.delivery_id}/{message.attempt}"
        )
        properties = self._properties(event.name, event.instance).written(
            ident=event.id,
            attempt=message.attempt,
            trace=trace,
            message_id=message.dedupe_id,
            second=int(event.received_at.timestamp()),
        )
        body = self._body(message)
        if len(body) > LARGEST_BODY:
            url = self._context.claim_url(event.tenant, event.id)
            body = self._body(message, claim(url, len(event.data)))
        return Content(event.name, message.dedupe_id, properties, body)

    def _named(self, name: str, instance: str) -> Properties:
        wire = wire_name(name, self._config.naming)
        return Properties(wire, instance, self._context.user_agent)

    def _body(self, message: Message, data: bytes | None = None) -> bytes:
        return envelope(
            message.event,
            naming=self._config.naming,
            server_url=self._context.server_url,
            apikey=self._config.shown_apikey,
            data=data,
            gap=message.gap,
        )

    async def _confirmed(
        self, publisher: Publisher, contents: list[Content], deadline: float
    ) -> list[Confirmed | None]:
        """Publish, and wait for what is said to each. Whatever makes the channel doubtful ends
        it.
        """
        answers = publisher.publish(contents)
        try:
            async with asyncio.timeout_at(deadline):
                await answers.complete
        except TimeoutError:
            self._give_up(publisher)
        except asyncio.CancelledError:
            self._give_up(publisher)
            raise
        return answers.given

    def _give_up(self, publisher: Publisher) -> None:
        if self._publisher is publisher:
            self._publisher = None
        publisher.spoil()
        task = asyncio.get_running_loop().create_task(publisher.close())
        self._giving_up.add(task)
        task.add_done_callback(self._giving_up.discard)

    def _outcome(self, message: Message, error: Confirmed | None) -> Outcome:
        """What the end of a publish means."""
        if isinstance(error, Basic.Ack):
            return DELIVERED
        if error is None or isinstance(error, asyncio.CancelledError):
            return self._retry(self._silence())
        name = message.event.name
        if isinstance(error, PublishError | ChannelNotFoundEntity):
            self._declared.clear()
            if name in self._unmade:
                return self._retry(f"routed to no queue, and making one: {self._unmade[name]}")
            return UNROUTED
        if isinstance(error, DeliveryError):
            return self._retry("it refused the message: the queue is full, or it has trouble")
        return self._retry(broker_text(error))

    def _silence(self) -> str:
        """Why nothing came in time."""
        peer = self._link.peer if self._link else None
        if peer is None:
            return f"no connection within {self._timeout:g} s"
        return BLOCKED if peer.blocked else f"no confirm within {self._timeout:g} s"

    def _retry(self, reason: str, *, counts: bool = True) -> Retry:
        hint = ""
        if reason.startswith("PRECONDITION_FAILED - inequivalent"):
            hint = " (configure the sink as it is, or delete it)"
        return Retry(reason=f"{self._place}: {reason}{hint}"[:600], counts=counts)
