"""What may stand between us and a server: something that ends TLS, something that cuts the line."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.sinks.receiver import talking


@asynccontextmanager
async def passing(
    port: int, *, context: ssl.SSLContext | None = None, cut_after: int | None = None
) -> AsyncIterator[int]:
    """Pass on to a port of the loopback what comes in, by TLS with `context`; gives the port it
    comes in by. `cut_after`: so many bytes, then the first connection that sends them is cut.
    """
    left = cut_after

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)

        async def onwards() -> None:
            nonlocal left
            while data := await reader.read(8192):
                inner_writer.write(data)
                await inner_writer.drain()
                left = None if left is None else left - len(data)
                if left is not None and left < 0:
                    left = None
                    writer.transport.abort()
                    return

        try:
            await asyncio.gather(onwards(), _pump(inner_reader, writer))
        finally:
            inner_writer.close()

    async with talking(talk, context) as outer:
        yield outer


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
