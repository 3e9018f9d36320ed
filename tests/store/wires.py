"""A wire to PostgreSQL that a test can cut at the worst moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Wire:
    """Passes bytes on. With `cut_after` set, a client that sends these bytes is cut off once the
    server has them, before it hears the answer.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.cut_after: bytes | None = None
        self.cuts = 0
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._url.hostname
        server_reader, server = await asyncio.open_connection(self._url.hostname, self._url.port)
        both = (writer, server)
        self._open.update(both)
        quiet = asyncio.Event()
        answers = asyncio.create_task(self._pass_on(server_reader, writer, quiet))
        try:
            while data := await reader.read(65536):
                if self.cut_after and self.cut_after in data:
                    self.cuts += 1
                    quiet.set()  # what the server says from now on goes nowhere
                    server.write(data)
                    await server.drain()
                    await asyncio.wait_for(asyncio.shield(answers), 10)
                    break
                server.write(data)
                await server.drain()
        except OSError:
            pass
        finally:
            answers.cancel()
            for side in both:
                side.close()
            self._open.difference_update(both)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, quiet: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if quiet.is_set():
                    return  # the server has answered
                writer.write(data)
                await writer.drain()
            writer.close()

    def cut_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()


@asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[Wire]:
    """A wire whose `url` is the server's but for the port."""
    wire = Wire(url)
    server = await asyncio.start_server(wire.serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    wire.url = parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
    try:
        yield wire
    finally:
        server.close()
        wire.cut_all()
