"""What the libraries alone reach on this machine, now: the ceilings that ratios are taken of."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import aio_pika
import aiohttp
import apsw
import nats
import orjson
import uvloop
from aiohttp import web

IN_FLIGHT = 512  # as many messages as the lane of a broker's sink has on their way


async def bare_handler(port: int) -> None:
    """H: an aiohttp POST handler that reads the body and answers JSON, and nothing else."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(
            body=orjson.dumps({"received": len(body)}), content_type="application/json"
        )

    app = web.Application()
    app.router.add_post("/hooks/{driver}/{token}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def bare_client(port: int, body: bytes, count: int, connections: int) -> float:
    """C: requests a second of an aiohttp client, as many at once as the lane of a sink has."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:

        async def post(_: int) -> None:
            url = f"http://127.0.0.1:{port}/hook"
            async with session.post(url, data=body, headers={"X-Event-Type": "a"}) as answer:
                await answer.read()

        return await rate(post, count, connections)


async def bare_nats(url: str, body: bytes, count: int) -> float:
    """N: messages a second that JetStream acknowledged, published by nats-py's own means."""
    client = await nats.connect(url)
    stream = client.jetstream(publish_async_max_pending=IN_FLIGHT)
    await stream.add_stream(name="bare", subjects=["bare"])
    try:
        started = time.perf_counter()
        for number in range(count):
            await stream.publish_async("bare", body, headers={"Nats-Msg-Id": str(number)})
        await stream.publish_async_completed()
        return count / (time.perf_counter() - started)
    finally:
        await stream.delete_stream("bare")
        await client.close()


async def bare_rabbitmq(uri: str, body: bytes, count: int) -> float:
    """R: messages a second that a quorum queue confirmed, published by aio-pika, pipelined."""
    connection = await aio_pika.connect(uri)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(
            "bare", durable=True, arguments={"x-queue-type": "quorum"}
        )
        exchange = channel.default_exchange

        async def publish(number: int) -> None:
            message = aio_pika.Message(
                body,
                message_id=str(number),
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await exchange.publish(message, queue.name, mandatory=True)

        try:
            return await rate(publish, count, IN_FLIGHT)
        finally:
            await queue.delete(if_unused=False, if_empty=False)


async def rate(work: Callable[[int], Awaitable[None]], count: int, at_once: int) -> float:
    """How many a second, `at_once` on their way."""
    left: Iterable[int] = iter(range(count))

    async def take() -> None:
        for number in left:
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*(take() for _ in range(at_once)))
    return count / (time.perf_counter() - started)


def bare_insert(folder: Path, body: bytes, count: int, batch: int) -> float:
    """S: rows a second into one table by transactions of `batch`, each on the disk."""
    connection = apsw.Connection(str(folder / "bare.db"))
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, body BLOB) STRICT")
        started = time.perf_counter()
        for start in range(0, count, batch):
            with connection:
                rows = [(f"{number:026d}", body) for number in range(start, start + batch)]
                connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        return count / (time.perf_counter() - started)
    finally:
        connection.close()


if __name__ == "__main__":
    run = asyncio.run if "asyncio" in sys.argv else uvloop.run
    run(bare_handler(int(sys.argv[1])))
