"""Several processes on one PostgreSQL: what one is told, all of them know."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from tests.e2e.deliveries import SECRET, kiwify, post_all
from tests.e2e.program import Program, program
from tests.sinks.receiver import Receiver

SOON = 30.0  # seconds; it takes milliseconds, a pause of the circuit, or a busy machine longer


@pytest.fixture
async def nodes(tmp_path: Path, postgres_db: str) -> AsyncIterator[list[Program]]:
    async with AsyncExitStack() as stack:
        running = []
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            node = await stack.enter_async_context(program(folder, STORE=postgres_db))
            running.append(node)
        await asyncio.gather(*(node.start() for node in running))
        yield running


async def soon(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON):
        while not await is_so():
            await asyncio.sleep(0.02)


async def test_what_is_configured_at_one_is_known_to_the_other(
    nodes: list[Program], receiver: Receiver
) -> None:
    one, two = nodes
    made = await one.install("kiwify", "loja-1", SECRET)
    url = made["ingest_url"].replace(one.url, two.url)
    number = 0

    async def deliver() -> int:
        nonlocal number
        number += 1
        return (await kiwify(number).post(two, url)).status

    async def is_taken() -> bool:
        return await deliver() == 200

    await soon(is_taken)
    await one.webhook("loja-1", receiver.url)

    async def is_sent() -> bool:
        return await deliver() == 200 and bool(receiver.got)

    await soon(is_sent)
    await one.call("POST", f"/installations/{made['id']}/disable")

    async def is_refused() -> bool:
        return await deliver() == 404

    await soon(is_refused)
    key = (await two.data("POST", "/api-keys", {"name": "k", "permissions": ["*"]}))["key"]

    async def is_known() -> bool:
        return (await one.call("GET", "/api-keys", key=key)).status == 200

    await soon(is_known)


async def test_a_sink_that_one_found_down_is_open_at_both(
    nodes: list[Program], receiver: Receiver
) -> None:
    one, two = nodes
    receiver.answer = lambda _: web.Response(status=500)
    made = await one.install("kiwify", "loja-1", SECRET)
    await one.webhook("loja-1", receiver.url, retry=[600])
    await post_all(one, made["ingest_url"], range(12))

    for node in (one, two):

        async def is_open(node: Program = node) -> bool:
            status = (await node.call("GET", "/webhook/status/loja-1")).json
            return status["state"] == "open" and "HTTP 500" in status["reason"]

        await soon(is_open)

    async def is_told() -> bool:
        told = await two.call("GET", "/processing/events?filter[name]=sink.circuit_opened")
        assert len(told.json["data"]) <= 1
        return bool(told.json["data"])

    await soon(is_told)

    receiver.answer = lambda _: web.Response()
    number = 100

    async def are_well() -> bool:
        """What comes in meanwhile is what it is tried with."""
        nonlocal number
        number += 1
        await kiwify(number).post(one, made["ingest_url"])
        told = [await node.call("GET", "/webhook/status/loja-1") for node in nodes]
        return [answer.json["circuit"] for answer in told] == ["closed", "closed"]

    await soon(are_well)
