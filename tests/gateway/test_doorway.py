"""How a server's connections end: idle ones, busy ones, and those of a server that ends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway import doorway
from gateway.answers import Answer
from gateway.arrival import Arrival
from gateway.doorway import Doorway

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Coroutine[Any, Any, Streams]]
POST = b"POST /hooks/kiwify/token HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


class Slow:
    """Answers once it may."""

    def __init__(self) -> None:
        self.asked, self.may = asyncio.Event(), asyncio.Event()

    async def __call__(self, arrival: Arrival) -> Answer:
        assert await arrival.body(10) == b"{}"
        self.asked.set()
        await self.may.wait()
        return Answer(b"done", headers={"X-Driver": arrival.driver})


def nobody() -> asyncio.Protocol:
    raise AssertionError("all of this is plain")


@asynccontextmanager
async def open_door(
    slow: Slow, idle: float = 60.0, other: Callable[[], asyncio.Protocol] = nobody
) -> AsyncIterator[tuple[Doorway, Connect]]:
    door = Doorway(slow, other, {"Server": "x"}, most=100, idle=idle, now=lambda: 0.0)
    server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield door, lambda: asyncio.open_connection("127.0.0.1", port)
    finally:
        server.close()
        slow.may.set()
        await door.close(1.0)


async def test_who_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway, "PATIENCE", 0.0)
    monkeypatch.setattr(doorway, "SWEEP", 0.01)
    async with open_door(Slow(), idle=0.05) as (_, connect):
        reader, writer = await connect()
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_who_is_being_served_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway, "PATIENCE", 0.0)
    monkeypatch.setattr(doorway, "SWEEP", 0.01)
    slow = Slow()
    async with open_door(slow, idle=0.0) as (door, connect):
        reader, writer = await connect()
        writer.write(POST)
        await slow.asked.wait()
        for line in door._open:
            line.age(float("inf"), 0.0)
        slow.may.set()
        assert b"X-Driver: kiwify\r\nServer: x\r\n" in await reader.readuntil(b"done")
        writer.close()


async def test_a_server_that_ends_answers_what_it_serves_and_hangs_up() -> None:
    slow = Slow()
    async with open_door(slow) as (door, connect):
        reader, writer = await connect()
        idle_reader, idle_writer = await connect()
        writer.write(POST)
        await slow.asked.wait()
        closing = asyncio.create_task(door.close(10.0))
        assert await asyncio.wait_for(idle_reader.read(), 10) == b""
        assert not closing.done()
        slow.may.set()
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        await asyncio.wait_for(closing, 10)
        for one in (writer, idle_writer):
            one.close()


async def test_it_does_not_wait_for_ever() -> None:
    slow = Slow()
    async with open_door(slow) as (door, connect):
        reader, writer = await connect()
        writer.write(POST)
        await slow.asked.wait()
        await asyncio.wait_for(door.close(0.05), 10)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_what_comes_while_another_is_served_has_its_turn() -> None:
    slow = Slow()
    async with open_door(slow) as (_, connect):
        reader, writer = await connect()
        writer.write(POST)
        await slow.asked.wait()
        slow.asked.clear()
        writer.write(POST[:30])
        await asyncio.sleep(0.02)
        writer.write(POST[30:])
        await asyncio.sleep(0.02)
        slow.may.set()
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert slow.asked.is_set()
        writer.close()


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        ("Host: x\r\nHost: y", 2),
        ("Host: x", 101),
        ("Host: x\r\nContent-Encoding: gzip", 2),
        ("Host: x\r\nX: " + "x" * 9000, 2),
    ],
    ids=["two hosts", "too large", "encoded", "a long head"],
)
async def test_what_is_not_plain_is_given_away(lines: str, size: int) -> None:
    start = f"POST /hooks/kiwify/token HTTP/1.1\r\n{lines}\r\nContent-Length: {size}\r\n\r\n"
    sent = start.encode() + b"{}".ljust(size)
    given: list[bytes] = []

    class Other(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            given.append(data)

    slow = Slow()
    async with open_door(slow, other=Other) as (_, connect):
        _, writer = await connect()
        writer.write(sent)
        async with asyncio.timeout(10):
            while not given:  # a protocol's call, not an event of ours
                await asyncio.sleep(0.01)
        assert b"".join(given) == sent
        assert not slow.asked.is_set()
        writer.close()
