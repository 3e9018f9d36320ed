"""Far sides on the loopback: an HTTP server that remembers, a TCP server that misbehaves."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from multidict import CIMultiDictProxy

PATIENCE = 20.0


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for a condition; the test fails when it does not come true in time."""
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Got:
    """One request as it arrived. `target`: path and query as they stood on the wire."""

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    body: bytes
    peer: tuple[str, int]


Answer = Callable[[Got], web.StreamResponse | Awaitable[web.StreamResponse]]


def answer_ok(_: Got) -> web.StreamResponse:
    return web.Response(text="ok")


class Receiver:
    """An HTTP server on a port it keeps: `stop` and `start` are an outage."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Answer = answer_ok
        self.port = 0
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport
        peer = request.transport.get_extra_info("peername")[:2]
        body = await request.content.read()
        got = Got(request.method, request.raw_path, request.headers, body, peer)
        self.got.append(got)
        answer = self.answer(got)
        return answer if isinstance(answer, web.StreamResponse) else await answer

    async def start(self, ssl_context: ssl.SSLContext | None = None) -> None:
        # Not decompressed: the test wants the body as it was sent.
        server = web.Server(self._handle, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=ssl_context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        self._runner = None


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A TCP server (with `context`, TLS) that says what `talk` says to each connection; gives its
    port.
    """
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        running.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()
