"""The test servers are real: each one carries a message there and back, and survives a restart."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aio_pika
import aioboto3
import asyncpg
import nats as nats_client
import psutil
import pytest

from tests.services import Nats, Postgres, RabbitMQ, Server, Sqs, eventually, fresh_database


async def test_every_test_gets_an_empty_database(postgres_db: str) -> None:
    connection = await asyncpg.connect(postgres_db)
    try:
        tables = await connection.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
        await connection.execute("CREATE TABLE orders (id text)")
        durable = await connection.fetchval("SHOW fsync")
    finally:
        await connection.close()

    assert tables == []
    assert durable == "on"


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_postgres_keeps_its_data_over_a_restart(postgres: Postgres, how: str) -> None:
    async with fresh_database(postgres.url) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE orders AS SELECT 'A-1' AS id")
        await asyncio.to_thread(getattr(postgres, how))
        with pytest.raises(OSError, match="Connect"):
            await asyncpg.connect(url)
        connection.terminate()
        await asyncio.to_thread(postgres.start)

        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT id FROM orders") == "A-1"
        await connection.close()


async def test_rabbitmq_carries_a_message_over_a_restart(rabbitmq: RabbitMQ) -> None:
    connection = await aio_pika.connect(rabbitmq.url)
    channel = await connection.channel(publisher_confirms=True)
    queue = await channel.declare_queue("orders", durable=True)
    message = aio_pika.Message(b"A-1", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, routing_key="orders")
    await connection.close()
    await asyncio.to_thread(rabbitmq.restart)

    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("orders")
        received = await queue.get()
        await received.ack()
        await queue.delete()

    assert received.body == b"A-1"


async def test_rabbitmq_obeys_its_control_tool(rabbitmq: RabbitMQ) -> None:
    listed = await asyncio.to_thread(rabbitmq.control, "-q", "list_vhosts")

    assert "/" in listed.splitlines()


async def test_nats_keeps_its_stream_over_a_restart(nats: Nats) -> None:
    client = await nats_client.connect(nats.url)
    stream = client.jetstream()
    await stream.add_stream(name="ORDERS", subjects=["orders.*"])
    ack = await stream.publish("orders.new", b"A-1", headers={"Nats-Msg-Id": "1"})
    again = await stream.publish("orders.new", b"A-1", headers={"Nats-Msg-Id": "1"})
    await client.close()
    await asyncio.to_thread(nats.restart)

    client = await nats_client.connect(nats.url)
    kept = await client.jetstream().get_msg("ORDERS", ack.seq)
    await client.jetstream().delete_stream("ORDERS")
    await client.close()
    assert again.duplicate
    assert kept.data == b"A-1"


async def test_sqs_carries_a_message(sqs_endpoint: str) -> None:
    session = aioboto3.Session("key", "secret", region_name="us-east-1")
    async with session.client("sqs", endpoint_url=sqs_endpoint) as sqs:
        url = (await sqs.create_queue(QueueName="orders"))["QueueUrl"]
        await sqs.send_message(QueueUrl=url, MessageBody="A-1")
        answer = await sqs.receive_message(QueueUrl=url)
        await sqs.delete_queue(QueueUrl=url)

    assert [message["Body"] for message in answer["Messages"]] == ["A-1"]


def test_a_frozen_server_answers_again_when_it_thaws(nats: Nats) -> None:
    nats.pause()
    frozen = nats.ready()
    nats.resume()

    assert not frozen
    assert eventually(nats.ready, 10)


def test_a_broken_server_runs_again_for_the_next_test(sqs: Sqs) -> None:
    sqs.kill()
    sqs.start()

    assert sqs.ready()


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("kind", [Nats, Postgres])
def test_no_server_outlives_its_owner(kind: type[Server]) -> None:
    """Even an owner that gets no chance to say good-bye."""
    code = (
        f"from tests.services import {kind.__name__} as K; import time;"
        "s = K().start(); print(s._process.pid, s.folder, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        pid, folder = owner.stdout.readline().split()
        assert psutil.pid_exists(int(pid))
        os.kill(owner.pid, signal.SIGKILL)

    assert eventually(lambda: not psutil.pid_exists(int(pid)), 15)
    assert eventually(lambda: not Path(os.fsdecode(folder)).exists(), 15)
