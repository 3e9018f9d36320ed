"""Brokers restart, forget, run short, or take only some: rows 14, 15, 17 and 19."""

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aio_pika
import aiohttp
import nats as nats_client
import pytest
from aiohttp import web
from nats.js.errors import NotFoundError

from tests.e2e.program import Program
from tests.faults.conftest import Scene
from tests.faults.ledger import Arrival
from tests.faults.provider import Provider
from tests.faults.test_sinks import MEGABYTE, memory
from tests.faults.witness import ORDER
from tests.services import Nats, RabbitMQ, Sqs
from tests.sinks.queues import KEY_ID, REGION, SECRET, consumer
from tests.store.waiting import until


@pytest.fixture
def instance() -> str:
    """One that no other test's queues are named after."""
    return f"loja-{secrets.token_hex(4)}"


async def configure(node: Program, kind: str, instance: str, **body: Any) -> None:
    answer = await node.call("POST", f"/{kind}/set/{instance}", {"enabled": True, **body})
    assert answer.status == 201, answer.body


def arrival(event_id: str, body: bytes) -> Arrival:
    return Arrival(order_of(body), event_id, time.monotonic())


def order_of(body: bytes) -> str:
    found = ORDER.search(body)
    assert found, body
    return found.group().decode()


@dataclass
class Queue:
    """A RabbitMQ queue, read as any consumer would. `arrivals`: what was taken from it."""

    server: RabbitMQ
    name: str
    arrivals: list[Arrival] = field(default_factory=list)

    async def drain(self) -> set[str]:
        async with await aio_pika.connect(self.server.url) as connection:
            channel = await connection.channel()
            try:
                queue = await channel.get_queue(self.name)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                return set()
            left = queue.declaration_result.message_count or 0
            while left and (message := await queue.get(fail=False, no_ack=True)):
                self.arrivals.append(arrival(str(message.message_id), message.body))
                left -= 1
        return {one.event_id for one in self.arrivals}

    async def delete(self) -> None:
        async with await aio_pika.connect(self.server.url) as connection:
            await (await connection.channel()).queue_delete(self.name)

    async def has_all(self, scene: Scene) -> bool:
        return await self.drain() >= set(scene.ledger.acknowledged.values())


async def rabbit_shop(
    node: Program, scene: Scene, server: RabbitMQ, instance: str
) -> tuple[Provider, Queue]:
    """A shop whose orders go to the witness and to a queue."""
    await node.start()
    await configure(node, "rabbitmq", instance, uri=server.url)
    provider = await scene.provider(node, instance=instance)
    queue = Queue(server, f"{instance}.order.paid")
    await provider.insist()
    await scene.all_arrived()
    await until(lambda: published(node, instance), 60)
    return provider, queue


async def published(node: Program, instance: str) -> bool:
    status = await node.call("GET", f"/rabbitmq/status/{instance}")
    return bool(status.json["last_success_at"])


async def report(scene: Scene, node: Program, fault: str, queue: Queue, **more: Any) -> None:
    scene.report(fault, scene.ledger.audit(queue.arrivals), **more)
    assert (await scene.audit(node)).hold().duplicates == 0  # nobody else's business


@pytest.mark.fault(14)
@pytest.mark.timeout(900)
async def test_rabbitmq_restarts_in_mid_publish(
    node: Program, scene: Scene, rabbitmq: RabbitMQ, instance: str
) -> None:
    provider, queue = await rabbit_shop(node, scene, rabbitmq, instance)
    tries, recovery = scene.pick(1, 5), 0.0
    with scene.ledger.fault():
        for _ in range(tries):
            async with provider.busy(posters=3, pause=0.02):
                await provider.acknowledges(40)
                await asyncio.to_thread(rabbitmq.stop)
                await provider.acknowledges(40)
                await scene.all_arrived()  # at the other sink, while this one is down
                await asyncio.to_thread(rabbitmq.start)
                back = time.monotonic()
            await until(lambda: queue.has_all(scene), 90)
            recovery = max(recovery, time.monotonic() - back)
    assert set(provider.answers) == {200}
    await scene.all_arrived()
    await report(scene, node, "RabbitMQ restart", queue, tries=tries, recovery=recovery)


@pytest.mark.fault(15)
@pytest.mark.timeout(900)
async def test_rabbitmq_loses_a_queue_and_runs_short_of_memory(
    node: Program, scene: Scene, rabbitmq: RabbitMQ, instance: str
) -> None:
    provider, queue = await rabbit_shop(node, scene, rabbitmq, instance)
    with scene.ledger.fault():
        await queue.drain()
        await queue.delete()
        await provider.tell_all([provider.fresh() for _ in range(10)])
        await until(lambda: queue.has_all(scene), 60)

        await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "0.0000001")
        before = memory(node)
        try:
            told = scene.pick(100, 1000)
            await provider.tell_all([provider.fresh() for _ in range(told)])
            await scene.all_arrived()
            await until(lambda: circuit_open(node, instance), 60)
        finally:
            await asyncio.to_thread(rabbitmq.control, "set_vm_memory_high_watermark", "0.4")
        grown = memory(node) - before
        assert grown < 50 * MEGABYTE
        back = time.monotonic()
        await until(lambda: queue.has_all(scene), 240)
    recovery = time.monotonic() - back
    note = f"queue deleted, memory alarm; RSS +{grown / MEGABYTE:.0f} MB"
    await report(scene, node, "RabbitMQ short", queue, tries=2, recovery=recovery, note=note)


async def circuit_open(node: Program, instance: str) -> bool:
    status = await node.call("GET", f"/rabbitmq/status/{instance}")
    return bool(status.json["state"] == "open")


@dataclass
class Stream:
    """What a JetStream stream holds, and held before it was deleted."""

    server: Nats
    subject: str
    gone: list[Arrival] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)

    async def read(self) -> None:
        """All of it, from the beginning."""
        found = list(self.gone)
        async with connected(self.server) as (_, stream):
            # No stream: it was deleted, and nothing has arrived yet for which it is made again.
            with suppress(TimeoutError, NotFoundError):
                puller = await stream.pull_subscribe(self.subject)
                while messages := await puller.fetch(100, timeout=0.5):
                    found += [arrival(m.headers["Nats-Msg-Id"], m.data) for m in messages]
        self.arrivals = found

    async def delete(self) -> None:
        await self.read()
        self.gone = list(self.arrivals)
        async with connected(self.server) as (_, stream):
            await stream.delete_stream(await stream.find_stream_name_by_subject(self.subject))

    async def has_all(self, scene: Scene) -> bool:
        await self.read()
        return {a.event_id for a in self.arrivals} >= set(scene.ledger.acknowledged.values())


@asynccontextmanager
async def connected(server: Nats) -> AsyncIterator[tuple[Any, Any]]:
    connection = await nats_client.connect(server.url)
    try:
        yield connection, connection.jetstream()
    finally:
        await connection.close()


@pytest.mark.fault(17)
async def test_nats_is_killed_and_loses_its_stream(
    node: Program, scene: Scene, nats: Nats, instance: str
) -> None:
    await node.start()
    await configure(node, "nats", instance, url=nats.url)
    provider = await scene.provider(node, instance=instance)
    stream = Stream(nats, f"{instance}.order.paid")
    tries, recovery = scene.pick(1, 5), 0.0
    with scene.ledger.fault():
        for _ in range(tries):
            async with provider.busy(posters=3, pause=0.02):
                await provider.acknowledges(40)
                await asyncio.to_thread(nats.kill)
                await provider.acknowledges(40)
                await scene.all_arrived()
                await asyncio.to_thread(nats.start)
                back = time.monotonic()
            await until(lambda: stream.has_all(scene), 60)
            recovery = max(recovery, time.monotonic() - back)
        await stream.delete()
        await provider.tell_all([provider.fresh() for _ in range(5)])
        await until(lambda: stream.has_all(scene), 60)
    found = scene.ledger.audit(stream.arrivals)
    assert not found.duplicates  # one copy each, inside the window
    assert set(provider.answers) == {200}
    scene.report("NATS killed, stream deleted", found, tries=tries + 1, recovery=recovery)


@dataclass
class Picky:
    """Stands before an SQS and fails these orders, each once; the others it lets through."""

    server: Sqs
    refuses: set[str]
    seen: Counter[str] = field(default_factory=Counter)
    port: int = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        failed: list[Any] = []
        if request.headers.get("X-Amz-Target", "").endswith("SendMessageBatch"):
            asked = json.loads(body)
            failed = [entry for entry in asked["Entries"] if self._fails(entry)]
            asked["Entries"] = [entry for entry in asked["Entries"] if entry not in failed]
            body = json.dumps(asked).encode()
            if not asked["Entries"]:
                return self._answer({"Successful": []}, failed)
        headers = {k: v for k, v in request.headers.items() if k.lower() != "content-length"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.server.url + request.path, data=body, headers=headers) as answer,
        ):
            told = await answer.json(content_type=None)
        return self._answer(told, failed, answer.status)

    def _fails(self, entry: Any) -> bool:
        order = order_of(entry["MessageBody"].encode())
        self.seen[order] += 1
        return order in self.refuses and self.seen[order] == 1

    @staticmethod
    def _answer(told: Any, failed: list[Any], status: int = 200) -> web.Response:
        if failed:
            trouble = {"SenderFault": False, "Code": "InternalError", "Message": "not today"}
            told["Failed"] = [{"Id": entry["Id"], **trouble} for entry in failed]
        return web.json_response(told, status=status, content_type="application/x-amz-json-1.0")


@asynccontextmanager
async def picky(server: Sqs, refuses: set[str]) -> AsyncIterator[Picky]:
    between = Picky(server, refuses)
    runner = web.ServerRunner(web.Server(between.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    between.port = runner.addresses[0][1]
    try:
        yield between
    finally:
        await runner.cleanup()


@pytest.mark.fault(19)
async def test_what_fails_in_a_batch_goes_again_and_nothing_else(
    node: Program, scene: Scene, sqs: Sqs, instance: str
) -> None:
    orders = [f"order-{number:06d}" for number in range(10)]
    async with picky(sqs, set(orders[2:5])) as between:
        await node.start()
        where = {"endpoint_url": f"http://127.0.0.1:{between.port}", "region": REGION}
        keys = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
        await configure(node, "sqs", instance, **where, **keys)
        provider = await scene.provider(node, instance=instance)
        await provider.tell_all(range(10), at_once=10)
        name = f"{instance}_order_paid.fifo"
        arrivals: list[Arrival] = []

        async def all_taken() -> bool:
            arrivals.extend(await asyncio.to_thread(taken, sqs, name))
            return {a.order for a in arrivals} >= set(orders)

        await until(all_taken, 60)
        assert between.seen == {o: 2 if o in between.refuses else 1 for o in orders}
        found = scene.ledger.audit(arrivals)
        assert not found.duplicates
        scene.report("3 of 10 fail in SQS", found, tries=3)
        await node.end()


def taken(server: Sqs, name: str) -> list[Arrival]:
    """Received and deleted."""
    client = consumer(server.url)
    try:
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
    except client.exceptions.QueueDoesNotExist:
        return []
    found = []
    for message in client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        body = json.loads(message["Body"])
        found.append(arrival(body["id"], message["Body"].encode()))
        client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found
