"""A TCP line that a test can make slow, silent, narrow, or cut at the worst moment."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

CHUNK = 65_536
# Closing sends a reset at once, and what was not sent is thrown away.
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes bytes on to one server, both ways. All but `url` may change at any time.

    `latency`: seconds that each piece waits. `bandwidth`: bytes a second, 0 for any. `refusing`:
    who connects is reset. `cut_after`: a client that sends these bytes is cut off once the server
    has them and has answered, before it hears the answer; `cuts` counts them. `only_with`: but only
    when it has sent these, too, since it last sent those.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self.url = ""
        self.latency = 0.0
        self.bandwidth = 0
        self.refusing = False
        self.cut_after: bytes | None = None
        self.only_with = b""
        self.cuts = 0
        self.connections = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()

    def silence(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._flowing.clear()

    def heal(self) -> None:
        """Be a good line again; what was held back arrives."""
        self.latency, self.bandwidth, self.refusing, self.cut_after = 0.0, 0, False, None
        self._flowing.set()

    def cut_all(self) -> None:
        """Reset every connection, on both sides."""
        for writer in tuple(self._open):
            _reset(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until either side has had enough."""
        self.connections += 1
        if self.refusing:
            _reset(writer)
            return
        try:
            far_reader, far = await asyncio.open_connection(self._host, self._port)
        except OSError:
            _reset(writer)
            return
        both = {writer, far}
        self._open |= both
        quiet = asyncio.Event()
        answers = asyncio.create_task(self._answers(far_reader, writer, quiet))
        try:
            await self._requests(reader, far, quiet, answers)
        except (OSError, TimeoutError):
            pass
        finally:
            answers.cancel()
            for side in both:
                side.close()
            self._open -= both

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        far: asyncio.StreamWriter,
        quiet: asyncio.Event,
        answers: asyncio.Task[None],
    ) -> None:
        seen = b""
        while data := await reader.read(CHUNK):
            seen += data
            ends = self.cut_after is not None and self.cut_after in data
            fatal = ends and self.only_with in seen
            if ends or self.cut_after is None:
                seen = b""
            if fatal:
                self.cuts += 1
                quiet.set()  # what the server says from now on goes nowhere
            await self._pass(data, far)
            if fatal:
                await asyncio.wait_for(asyncio.shield(answers), 10)
                return

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, quiet: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                if quiet.is_set():
                    return  # the server has answered
                await self._pass(data, writer)
            writer.close()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        wait = self.latency + (len(data) / self.bandwidth if self.bandwidth else 0.0)
        if wait:
            await asyncio.sleep(wait)
        writer.write(data)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[Proxy]:
    """A line whose `url` is the server's but for the port."""
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    proxy.url = parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()
    try:
        yield proxy
    finally:
        server.close()
        proxy.heal()
        proxy.cut_all()
