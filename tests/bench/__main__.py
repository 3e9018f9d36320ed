"""`python -m tests.bench [--quick]`: figures of the real program, as ratios against ceilings that
are measured in the same run. Machines are noisy: medians of several rounds, with their spread.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from tests.bench.ceilings import bare_client
from tests.bench.drivers import normalizing
from tests.bench.wire import Load, paced, request
from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import Program, free_port, program

CONNECTIONS = 64
OUT = Path("bench.json")


@asynccontextmanager
async def side(module: str) -> AsyncIterator[int]:
    """A far side in a process of its own; gives its port."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, str(port))
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


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory now."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def orders(path: str, numbers: range) -> list[bytes]:
    """Signed deliveries, each an order of its own."""
    made = (kiwify(n, SECRET) for n in numbers)
    return [request(path + d.query, d.body, d.headers) for d in made]


async def arrived(session: aiohttp.ClientSession, port: int, count: int) -> tuple[float, float]:
    """Wait until the receiver has counted so many; gives the times of its first and last."""
    async with asyncio.timeout(120):
        while True:
            async with session.get(f"http://127.0.0.1:{port}/count") as answer:
                seen, first, last = (await answer.text()).split()
            if int(seen) >= count:
                return float(first), float(last)
            await asyncio.sleep(0.02)


class Bench:
    """One run: rounds of each figure, and what they come to."""

    def __init__(self, *, quick: bool) -> None:
        self.rounds = 3 if quick else 5
        self.count = 3000 if quick else 10_000
        self.figures: dict[str, list[float]] = {}

    def note(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    async def ceilings(self) -> None:
        """H and C, fresh each round, because the machine's speed drifts."""
        async with side("tests.bench.ceilings") as port:
            load = Load(orders("/hooks/kiwify/token", range(self.count)), CONNECTIONS)
            self.note("H: bare aiohttp handler, requests/s", self.count / await load.run(port))
        async with side("tests.bench.wire") as port:
            body = kiwify(1, SECRET).body * 2  # about an envelope's size
            speed = await bare_client(port, body, self.count, 8)
            self.note("C: bare aiohttp client, requests/s", speed)

    async def ingest(self, folder: Path) -> None:
        """Verified, normalized, committed, answered; no sink."""
        async with program(folder) as gateway:
            await gateway.start(LOG_LEVEL="warning")
            path = await _installed(gateway)
            await Load(orders(path, range(500)), CONNECTIONS).run(gateway.port)  # warm
            await self._ingest_round(gateway, path)

    async def _ingest_round(self, gateway: Program, path: str) -> None:
        assert gateway.process
        load = Load(orders(path, range(1000, 1000 + self.count)), CONNECTIONS)
        before = cpu_seconds(gateway.process.pid)
        seconds = await load.run(gateway.port)
        assert load.bad == 0, f"{load.bad} deliveries were refused"
        self.note("ingest, requests/s", self.count / seconds)
        used = cpu_seconds(gateway.process.pid) - before
        self.note("ingest, CPU µs/event", used / self.count * 1e6)

    async def complete(self, folder: Path) -> None:
        """In, delivered to a webhook, settled."""
        async with side("tests.bench.wire") as port, program(folder) as gateway:
            await gateway.start(LOG_LEVEL="warning")
            await gateway.webhook("bench", f"http://127.0.0.1:{port}/hook")
            path = await _installed(gateway)
            await Load(orders(path, range(500)), CONNECTIONS).run(gateway.port)
            await arrived(gateway.session, port, 500)
            assert gateway.process
            load = Load(orders(path, range(1000, 1000 + self.count)), CONNECTIONS)
            before, started = cpu_seconds(gateway.process.pid), time.time()
            await load.run(gateway.port)
            _, last = await arrived(gateway.session, port, 500 + self.count)
            self.note("complete, events/s", self.count / (last - started))
            used = cpu_seconds(gateway.process.pid) - before
            self.note("complete, CPU µs/event", used / self.count * 1e6)
            self.note("complete, RSS MB", rss_mb(gateway.process.pid))

    async def latency(self, folder: Path, rate: float) -> None:
        """Open loop: the provider's wait for its answer."""
        async with side("tests.bench.wire") as port, program(folder) as gateway:
            await gateway.start(LOG_LEVEL="warning")
            await gateway.webhook("bench", f"http://127.0.0.1:{port}/hook")
            path = await _installed(gateway)
            load = await paced(orders(path, range(int(rate * 5))), gateway.port, rate)
            ordered = sorted(load.latencies)
            for share in (50, 95, 99):
                value = ordered[int(len(ordered) * share / 100)] * 1000
                self.note(f"answer at {rate:g}/s, p{share} ms", value)

    async def run(self) -> None:
        for _ in range(self.rounds):
            await self.ceilings()
            for measure in (self.ingest, self.complete):
                with tempfile.TemporaryDirectory() as folder:
                    await measure(Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            await self.latency(Path(folder), 200)

    def report(self) -> dict[str, Any]:
        handler, client = (self.median(n) for n in list(self.figures)[:2])
        ideal = 1 / (1 / handler + 1 / client)
        ratios = {
            "ingest / H (goal 0.50)": self.median("ingest, requests/s") / handler,
            "complete / (1/(1/H+1/C)) (goal 0.75)": self.median("complete, events/s") / ideal,
        }
        figures = {
            name: {"median": statistics.median(v), "low": min(v), "high": max(v)}
            for name, v in self.figures.items()
        }
        return {"figures": figures, "ratios": ratios, "normalize": normalizing()}


async def _installed(gateway: Program) -> str:
    made = await gateway.install("kiwify", "bench", SECRET)
    return str(made["ingest_url"]).removeprefix(gateway.url)


def show(report: dict[str, Any]) -> None:
    """The table for people."""
    print(f"{'figure':<44}{'median':>10}{'low':>10}{'high':>10}")
    for name, f in report["figures"].items():
        print(f"{name:<44}{f['median']:>10.1f}{f['low']:>10.1f}{f['high']:>10.1f}")
    print()
    for name, ratio in report["ratios"].items():
        print(f"{name:<44}{ratio:>10.2f}")
    print("\nnormalizing a median sample, µs of CPU (goal 150)")
    for slug, micros in report["normalize"].items():
        print(f"  {slug:<24}{micros:>8.0f}")


def main() -> None:
    bench = Bench(quick="--quick" in sys.argv)
    uvloop.run(bench.run())
    report = bench.report()
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    show(report)


if __name__ == "__main__":
    main()
