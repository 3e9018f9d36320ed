"""`python -m tests.bench [--quick] [--only NAME,…] [--stored N] [--minutes N]`: figures of the real
program, as ratios against ceilings that are measured in the same run.

Machines are noisy: medians of several rounds, with their spread. Everything stays on the loopback
and ends by itself.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import uvloop

from tests.bench import backlog, goals
from tests.bench.brokers import against_nats, against_rabbitmq
from tests.bench.ceilings import bare_insert
from tests.bench.drivers import normalizing
from tests.bench.figures import Figures, show, write
from tests.bench.flow import ceilings, complete, ingest, through
from tests.bench.latency import at_rate, replay, sustained
from tests.bench.scene import gateway
from tests.bench.stored import fill
from tests.e2e.deliveries import SECRET, kiwify
from tests.services import Nats, Postgres, RabbitMQ
from tests.services.server import Server

S = TypeVar("S", bound=Server)
OUT = Path("bench.json")
ROWS = 100  # a transaction of the bare insert


class Bench:
    """One run. `quick`: in about a minute, without servers."""

    def __init__(self, told: argparse.Namespace) -> None:
        self.told, self.figures = told, Figures()
        self.rounds = 2 if told.quick else 5
        self.count = 3000 if told.quick else 10_000

    async def flow(self) -> None:
        for _ in range(self.rounds):
            await ceilings(self.figures, self.count)
            await ingest(self.figures, self.count)
            await complete(self.figures, self.count)

    async def insert(self) -> None:
        body = kiwify(1, SECRET).body
        for _ in range(self.rounds):
            with tempfile.TemporaryDirectory() as folder:
                speed = await asyncio.to_thread(bare_insert, Path(folder), body, self.count, ROWS)
            self.figures.note(goals.S, speed)

    async def latency(self) -> None:
        seconds = 4 if self.told.quick else 20
        for sinks in (1, 10):
            await at_rate(self.figures, 200, seconds, sinks)
        await at_rate(self.figures, 1000, seconds)

    async def postgres(self) -> None:
        with _server(Postgres()) as server:
            for _ in range(3):
                for workers in (1, 2):
                    name = f", PostgreSQL, {workers} process{'es' if workers > 1 else ''}"
                    await complete(
                        self.figures, self.count, store=server.url, workers=workers, name=name
                    )

    async def brokers(self) -> None:
        with _server(Nats()) as nats, _server(RabbitMQ()) as rabbitmq:
            for _ in range(self.rounds):
                await against_nats(self.figures, nats, self.count)
                await against_rabbitmq(self.figures, rabbitmq, self.count)

    async def stored(self) -> None:
        for count, name in ((0, ", none stored"), (self.told.stored, ", many stored")):
            async with gateway() as running:
                if count:
                    await running.end()
                    started = time.perf_counter()
                    await asyncio.to_thread(fill, running.folder, count, "elsewhere")
                    print(f"  {count} events stored in {time.perf_counter() - started:.0f} s")
                    await running.start()
                for _ in range(3):
                    await through(self.figures, running, self.count, name)

    async def pending(self) -> None:
        for engine in ("sqlite", "postgres"):
            found = await backlog.run(engine, self.told.pending, 20)
            self.figures.note(f"start with many pending, {engine}, s", found["start_seconds"])
            self.figures.note(f"RSS MB with many pending, {engine}", found["rss_most_mb"])

    async def replay(self) -> None:
        await replay(self.figures, self.told.replayed, 200, 20)

    async def memory(self) -> None:
        await sustained(self.figures, 1000, self.told.minutes * 60)

    async def drivers(self) -> None:
        self.figures.notes["normalizing a median sample, µs (goal 150)"] = normalizing()


MEASUREMENTS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "flow": Bench.flow,
    "insert": Bench.insert,
    "latency": Bench.latency,
    "drivers": Bench.drivers,
    "brokers": Bench.brokers,
    "postgres": Bench.postgres,
    "replay": Bench.replay,
    "pending": Bench.pending,
    "stored": Bench.stored,
    "memory": Bench.memory,
}
QUICK = ("flow", "insert", "latency", "drivers")


@contextmanager
def _server(server: S) -> Iterator[S]:
    """A server for the time of a measurement."""
    server.start()
    try:
        yield server
    finally:
        server.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about a minute, without servers")
    parser.add_argument("--only", default="", help=f"of: {','.join(MEASUREMENTS)}")
    parser.add_argument("--stored", type=int, default=1_000_000, help="events in a used store")
    parser.add_argument("--pending", type=int, default=1_000_000, help="deliveries that wait")
    parser.add_argument("--replayed", type=int, default=200_000, help="events of a bulk replay")
    parser.add_argument("--minutes", type=float, default=2, help="of 1000 events a second")
    told = parser.parse_args()
    told.names = told.only.split(",") if told.only else QUICK if told.quick else [*MEASUREMENTS]
    if unknown := set(told.names) - set(MEASUREMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return told


async def _run(bench: Bench) -> None:
    for name in bench.told.names:
        print(name, flush=True)
        await MEASUREMENTS[name](bench)


def main() -> None:
    bench = Bench(_arguments())
    uvloop.run(_run(bench))
    report = bench.figures.report(goals.GOALS)
    write(report, OUT)
    show(report)


if __name__ == "__main__":
    main()
