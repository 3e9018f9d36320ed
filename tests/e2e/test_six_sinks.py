"""One event to all six kinds at once, each read by a client that knows nothing of us."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aio_pika
import nats as nats_client
import pytest

from tests.api.delivered import assert_as_described
from tests.e2e.deliveries import SECRET, ids, kiwify
from tests.e2e.program import Program
from tests.e2e.sockets import Listener, listening
from tests.services import Nats, RabbitMQ, Sqs
from tests.sinks.channels import APP_ID, Channels
from tests.sinks.channels import KEY as PUSHER_KEY
from tests.sinks.channels import SECRET as PUSHER_SECRET
from tests.sinks.queues import KEY_ID, REGION, consumer
from tests.sinks.queues import SECRET as AWS_SECRET
from tests.sinks.receiver import Receiver

PATIENCE = 60.0
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


def described(kind: str, body: str | bytes, headers: dict[str, Any] | None) -> str:
    """The id of a message that is as documented, and goes on with its provider's trace."""
    ident = assert_as_described(kind, body, headers)
    of_provider = not json.loads(body)["event"].startswith("sink.")
    if of_provider and headers is not None:
        assert headers["traceparent"][3:35] == TRACE, kind
    return ident


@dataclass
class Far:
    """The far sides: what each has received of an instance, by event id."""

    instance: str
    hook: Receiver
    channels: Channels
    channels_port: int
    rabbitmq: RabbitMQ
    nats: Nats
    sqs: Sqs
    listener: Listener | None = None
    queued: set[str] = field(default_factory=set)

    async def by_webhook(self) -> set[str]:
        for got in self.hook.got:
            described("webhook", got.body, dict(got.headers))
        return set(ids(self.hook))

    async def by_pusher(self) -> set[str]:
        events = self.channels.events
        for event in events:
            if "traceparent" in event.headers:  # a call with several events is of several traces
                assert event.headers["traceparent"][3:35] == TRACE
        return {described("pusher", event.data, None) for event in events}

    async def by_websocket(self) -> set[str]:
        assert self.listener
        traced = [f["traceparent"] for f in self.listener.frames if "traceparent" in f]
        assert {trace[3:35] for trace in traced} <= {TRACE}
        assert bool(traced) is bool(self.listener.frames)
        return set(self.listener.ids)

    async def by_nats(self) -> set[str]:
        connection = await nats_client.connect(self.nats.url)
        try:
            subject = f"{self.instance}.order.paid"
            puller = await connection.jetstream().pull_subscribe(subject)
            messages = await puller.fetch(100, timeout=1)
            return {described("nats", m.data, m.headers) for m in messages}
        except (nats_client.errors.TimeoutError, nats_client.js.errors.NotFoundError):
            return set()
        finally:
            await connection.close()

    async def by_rabbitmq(self) -> set[str]:
        """Taken from the queue: what was seen is kept."""
        connection = await aio_pika.connect(self.rabbitmq.url)
        async with connection:
            channel = await connection.channel()
            queue = await channel.get_queue(f"{self.instance}.order.paid", ensure=False)
            try:
                while message := await queue.get(fail=False):
                    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT
                    headers = dict(message.headers)
                    ident = described("rabbitmq", message.body, headers)
                    assert message.message_id == ident
                    self.queued.add(ident)
                    await message.ack()
            except aio_pika.exceptions.ChannelClosed:
                pass  # no such queue yet
        return self.queued

    async def by_sqs(self) -> set[str]:
        return await asyncio.to_thread(self._taken_from_sqs)

    def _taken_from_sqs(self) -> set[str]:
        client = consumer(self.sqs.url)
        try:
            name = f"{self.instance}_order_paid.fifo"
            url = client.get_queue_url(QueueName=name)["QueueUrl"]
        except client.exceptions.QueueDoesNotExist:
            return set()
        answer = client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
        )
        return {described("sqs", m["Body"], _attributes(m)) for m in answer.get("Messages", [])}


def _attributes(message: Any) -> dict[str, Any]:
    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


async def until_all(wanted: set[str], seen: Callable[[], Awaitable[set[str]]]) -> None:
    """Wait until everything wanted has arrived there."""
    found: set[str] = set()
    async with asyncio.timeout(PATIENCE):
        while not wanted <= found:
            found |= await seen()
            await asyncio.sleep(0.05)


async def configure(program: Program, far: Far) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "webhook": {"url": far.hook.url},
        "websocket": {},
        "rabbitmq": {"uri": far.rabbitmq.url},
        "nats": {"url": far.nats.url},
        "sqs": {
            "endpoint_url": far.sqs.url,
            "region": REGION,
            "access_key_id": KEY_ID,
            "secret_access_key": AWS_SECRET,
        },
        "pusher": {
            "app_id": APP_ID,
            "key": PUSHER_KEY,
            "secret": PUSHER_SECRET,
            "host": f"127.0.0.1:{far.channels_port}",
            "use_tls": False,
        },
    }
    for kind, body in bodies.items():
        answer = await program.call("POST", f"/{kind}/set/{far.instance}", {"enabled": True} | body)
        assert answer.status == 201, (kind, answer.body)


@pytest.fixture
async def far(receiver: Receiver, other: Receiver, rabbitmq: RabbitMQ, nats: Nats, sqs: Sqs) -> Far:
    instance = f"loja-{secrets.token_hex(4)}"
    return Far(instance, receiver, Channels(other), other.port, rabbitmq, nats, sqs)


@pytest.mark.timeout(300)
async def test_each_kind_gets_the_event_and_a_dead_broker_costs_the_others_nothing(
    embedded: Program, far: Far
) -> None:
    await embedded.start()
    await embedded.call("POST", "/instances", {"name": far.instance})
    await embedded.call("POST", f"/websocket/set/{far.instance}", {"enabled": True})
    async with listening(embedded, far.instance) as far.listener:
        await configure(embedded, far)
        shop = await embedded.install("kiwify", far.instance, SECRET)
        five = (far.by_webhook, far.by_websocket, far.by_pusher, far.by_nats, far.by_sqs)

        first = await posted(embedded, shop["ingest_url"], range(1))
        for seen in (*five, far.by_rabbitmq):
            await until_all(first, seen)

        await asyncio.to_thread(far.rabbitmq.stop)
        later = await posted(embedded, shop["ingest_url"], range(1, 6))
        for seen in five:
            await until_all(later, seen)
        status = await embedded.call("GET", f"/rabbitmq/status/{far.instance}")
        assert status.json["backlog"] == 5

        await asyncio.to_thread(far.rabbitmq.start)
        await until_all(first | later, far.by_rabbitmq)


async def posted(program: Program, url: str, numbers: range) -> set[str]:
    """Post orders; the ids of their events."""
    orders = [kiwify(number) for number in numbers]
    traced = [replace(order, headers=order.headers | TRACED) for order in orders]
    answers = [await order.post(program, url) for order in traced]
    assert {a.status for a in answers} == {200}
    return {a.json["events"][0]["id"] for a in answers}
