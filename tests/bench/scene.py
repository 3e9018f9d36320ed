"""The parts of a measurement: the real program, far sides in processes of their own, and what the
program cost.
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil

from tests.bench.wire import request
from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import Program, program
from tests.services import free_port

CONNECTIONS = 64
WARM = 500


@asynccontextmanager
async def side(module: str, *words: str) -> AsyncIterator[int]:
    """A far side in a process of its own, told `words`; gives its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, str(port), *words)
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        yield port
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def gateway(store: str = "", *, workers: int = 1, **environ: str) -> AsyncIterator[Program]:
    """A started gateway, logging as it does by itself. `store`: a PostgreSQL's URL, else SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        more = {"LEASE_SECONDS": "15", "MAX_BACKLOG": "5000000"} | environ
        if store:
            more |= {"STORE": store, "WORKERS": str(workers)}
        async with program(Path(folder), **more) as running:
            await running.start()
            yield running


async def installed(running: Program, instance: str = "bench") -> str:
    """The path of a new installation's ingest URL."""
    made = await running.install("kiwify", instance, SECRET)
    return str(made["ingest_url"]).removeprefix(running.url)


def orders(path: str, numbers: range) -> list[bytes]:
    """Signed deliveries, each an order of its own."""
    made = (kiwify(n, SECRET) for n in numbers)
    return [request(path + d.query, d.body, d.headers) for d in made]


class Cost:
    """CPU seconds and memory of a program, all its processes together."""

    def __init__(self, running: Program) -> None:
        assert running.process
        self._process = psutil.Process(running.process.pid)
        self._before = self._used()

    def _used(self) -> float:
        times = [process.cpu_times() for process in self._all()]
        return sum(t.user + t.system for t in times)

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def micros(self, events: int) -> float:
        """Per event since this was made."""
        return (self._used() - self._before) / events * 1e6

    def rss_mb(self) -> float:
        return sum(process.memory_info().rss for process in self._all()) / 2**20


class Far:
    """What the receiver of `tests.bench.wire` tells of itself."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self._port = session, port
        self.url = f"http://127.0.0.1:{port}/hook"

    async def _ask(self, path: str) -> list[float]:
        async with self._session.get(f"http://127.0.0.1:{self._port}{path}") as answer:
            return [float(word) for word in (await answer.text()).split()]

    async def arrived(self, count: int, within: float = 120) -> float:
        """Wait until it has counted so many since it was last cleared; gives the last's time."""
        async with asyncio.timeout(within):
            while True:
                seen, last = (await self._ask("/count"))[:2]
                if seen >= count:
                    return last
                await asyncio.sleep(0.02)

    async def clear(self) -> None:
        await self._ask("/clear")

    async def lags(self) -> dict[int, float]:
        """Milliseconds from receipt to request: the 50th, 95th and 99th percentile."""
        return dict(zip((50, 95, 99), await self._ask("/lags"), strict=True))
