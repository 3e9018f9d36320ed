"""How long things take at a given rate, and what disturbs them."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tests.bench.figures import Figures
from tests.bench.scene import Cost, Far, gateway, installed, side
from tests.bench.stored import fill
from tests.bench.wire import paced, request
from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import Program

SHARES = (50, 95, 99)


def made(path: str, numbers: range) -> Iterator[bytes]:
    """Signed deliveries, each made when it is sent: ten minutes of them would fill the memory."""
    for number in numbers:
        delivery = kiwify(number, SECRET)
        yield request(path + delivery.query, delivery.body, delivery.headers)


async def at_rate(figures: Figures, rate: int, seconds: float, sinks: int = 1) -> None:
    """From receipt to the sink's request, and the provider's wait for its answer."""
    async with side("tests.bench.wire") as port, gateway() as running:
        far, path = Far(running.session, port), await installed(running)
        for number in range(sinks):
            await running.webhook("bench", far.url, name=f"s{number}")
        count = int(rate * seconds)
        await paced(made(path, range(rate)), running.port, rate)  # a second to warm up
        await far.arrived(rate * sinks)
        await far.clear()
        load = await paced(made(path, range(rate, rate + count)), running.port, rate)
        await far.arrived(count * sinks)
        for share, value in (await far.lags()).items():
            figures.note(f"receipt to sink at {rate}/s, fan-out {sinks}, p{share} ms", value)
        ordered = sorted(load.latencies)
        for share in SHARES if sinks == 1 else ():
            value = ordered[len(ordered) * share // 100] * 1000
            figures.note(f"answer at {rate}/s, p{share} ms", value)


async def sustained(figures: Figures, rate: int, seconds: float) -> None:
    """Memory after so long at a rate, and whether it still grows."""
    async with side("tests.bench.wire") as port, gateway() as running:
        far, path = Far(running.session, port), await installed(running)
        await running.webhook("bench", far.url)
        cost, count = Cost(running), int(rate * seconds)
        for part in range(4):
            quarter = range(part * count // 4, (part + 1) * count // 4)
            await paced(made(path, quarter), running.port, rate)
            figures.note(f"RSS MB after {part + 1}/4 of {seconds:g} s at {rate}/s", cost.rss_mb())
        await far.arrived(count)
        figures.note(f"RSS MB at {rate}/s", cost.rss_mb())


async def replay(figures: Figures, count: int, rate: int, seconds: float) -> None:
    """What a bulk replay of `count` stored events does to live ones."""
    async with side("tests.bench.wire") as port, gateway() as running:
        far, path = Far(running.session, port), await installed(running)
        sink = await running.webhook("bench", far.url)
        await running.end()
        await asyncio.to_thread(fill, running.folder, count, str(sink["id"]))
        await running.start()
        numbers = range(int(rate * seconds))
        await _live(figures, running, far, path=path, numbers=numbers, when="alone")
        until = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        wanted = {"instance": "bench", "status": "succeeded", "to": until}
        started = await running.data("POST", "/processing/replay", {"filter": wanted})
        assert started["matched"] == count, started
        numbers = range(10**6, 10**6 + int(rate * seconds))
        await _live(figures, running, far, path=path, numbers=numbers, when="during a replay")
        now = await running.data("GET", f"/processing/replays/{started['id']}")
        figures.note("replayed meanwhile, events/s", now["done"] / seconds)
        await running.call("POST", f"/processing/replays/{started['id']}/cancel")


async def _live(
    figures: Figures, running: Program, far: Far, *, path: str, numbers: range, when: str
) -> None:
    await far.clear()
    rate = 200
    await paced(made(path, numbers), running.port, rate)
    await far.arrived(len(numbers))
    await asyncio.sleep(1)
    for share, value in (await far.lags()).items():
        figures.note(f"live, p{share} ms {when}", value)
