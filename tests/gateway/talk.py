"""Servers that say what a test wants, and how they are asked."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.egress import Egress
from schemas.target import AllowList
from sinks.base import HttpAnswer

LOOPBACK = AllowList.parse(["127.0.0.0/8"])
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(*answers: bytes, hang_up: bool = False) -> Talk:
    """A server that says these to the requests of a connection, one each."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        if not hang_up:
            await reader.read()

    return talk


async def get(egress: Egress, port: int, **headers: str) -> HttpAnswer:
    url = f"http://127.0.0.1:{port}/"
    return await egress.request("POST", url, headers=headers, timeout=5)
