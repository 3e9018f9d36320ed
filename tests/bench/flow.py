"""Throughput: what one process takes in, and what it takes through to a webhook."""

import asyncio
import time

from tests.bench import goals
from tests.bench.ceilings import bare_client
from tests.bench.figures import Figures
from tests.bench.scene import CONNECTIONS, WARM, Cost, Far, gateway, installed, orders, side
from tests.bench.wire import Load
from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import Program

HEARD = 1.0  # seconds in which every process hears of what was configured
LANE = 8  # requests a webhook's lane has on their way


async def ceilings(figures: Figures, count: int) -> None:
    """H and C, fresh each round, because the machine's speed drifts."""
    for name, words in ((goals.H, ()), (goals.H_ASYNCIO, ("asyncio",))):
        async with side("tests.bench.ceilings", *words) as port:
            load = Load(orders("/hooks/kiwify/token", range(count)), CONNECTIONS)
            figures.note(name, count / await load.run(port))
    async with side("tests.bench.wire") as port:
        body = kiwify(1, SECRET).body * 2  # about an envelope's size
        figures.note(goals.C, await bare_client(port, body, count, LANE))


async def ingest(figures: Figures, count: int) -> None:
    """Verified, normalized, committed, answered; no sink."""
    async with gateway() as running:
        path = await installed(running)
        await Load(orders(path, range(WARM)), CONNECTIONS).run(running.port)
        load, cost = Load(orders(path, range(WARM, WARM + count)), CONNECTIONS), Cost(running)
        seconds = await load.run(running.port)
        figures.note(goals.INGEST, count / seconds)
        figures.note("ingest, CPU µs/event", cost.micros(count))


async def complete(
    figures: Figures, count: int, *, store: str = "", workers: int = 1, name: str = ""
) -> None:
    """In, delivered to a webhook, settled."""
    async with gateway(store, workers=workers) as running:
        await through(figures, running, count, name)


async def through(figures: Figures, running: Program, count: int, name: str) -> None:
    """The same on a program that runs already. Its events are new ones each time it is called."""
    async with side("tests.bench.wire") as port:
        far, first = Far(running.session, port), int(time.time() * 1000) % 10**9
        await running.webhook("bench", far.url)
        path = await installed(running)
        await asyncio.sleep(HEARD)
        await Load(orders(path, range(first, first + WARM)), CONNECTIONS).run(running.port)
        await far.arrived(WARM)
        await far.clear()
        numbers = range(first + WARM, first + WARM + count)
        load, cost, began = Load(orders(path, numbers), CONNECTIONS), Cost(running), time.time()
        await load.run(running.port)
        last = await far.arrived(count)
        figures.note(goals.COMPLETE + name, count / (last - began))
        figures.note(goals.COMPLETE_CPU + name, cost.micros(count))
