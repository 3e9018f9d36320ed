"""What a hundred sinks that hang cost a healthy one, also in the seconds in which all of them are
given up at once: row 20.
"""

import random
import socket
import time
from asyncio import Future, ensure_future, gather, sleep
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from gateway.breaker import LEAST_RESULTS
from sinks.webhook import PARALLEL
from tests.e2e.deliveries import SECRET, post_all
from tests.e2e.program import Program
from tests.faults.conftest import Scene
from tests.faults.provider import Provider
from tests.store.waiting import until

FAILED = 'comporta_deliveries_total{kind="webhook",outcome="failed"}'
ROOM = 1024  # connections that the kernel makes for who never accepts one


@pytest.mark.timeout(400)
@pytest.mark.fault(20)
async def test_the_latency_of_a_healthy_sink_beside_hung_ones(node: Program, scene: Scene) -> None:
    """Alone, beside them, and alone again, in turns: figures for the table."""
    timeout, rounds = scene.pick(0.5, 4.0), scene.pick(1, 5)
    await node.start(DELIVERY_TIMEOUT=str(timeout), RETRY_SCHEDULE="60,60,60")
    provider = await scene.provider(node)
    latencies = Latencies(scene, provider)
    await latencies.measure(timeout / 2)  # connections are made, code is warm
    alone, beside, ratios = list[float](), list[float](), list[float]()
    for number in range(rounds):
        before = await latencies.measure(timeout)
        async with hanging(node, scene, f"hung-{number}"):
            # They are given up after one timeout, for good after two, and probed until the end.
            meanwhile = await latencies.measure(timeout * 3.5)
        before += await latencies.measure(timeout)
        ratios.append(p99(meanwhile) / p99(before))
        alone, beside = alone + before, beside + meanwhile
    found = await scene.audit(node)
    note = (
        f"p99 {p99(alone):.0f} ms alone, {p99(beside):.0f} ms beside, given up meanwhile: "
        f"{p99(beside) / p99(alone):.2f} (by rounds {', '.join(f'{r:.2f}' for r in ratios)})"
    )
    scene.report("100 hung sinks", found, tries=rounds, note=note)
    await node.kill()


@asynccontextmanager
async def hanging(node: Program, scene: Scene, instance: str) -> AsyncIterator[None]:
    """A hundred hung sinks of an instance of their own, told of more than opens their circuits.

    At the end, all that each may be sent must have been given up.
    """
    sinks, events = scene.pick(10, 100), scene.pick(LEAST_RESULTS, 20)
    with listening(sinks) as ports:
        for number, port in enumerate(ports):
            await node.webhook(instance, f"http://127.0.0.1:{port}/", f"hung-{number}")
        shop = await node.install("kiwify", instance, SECRET)
        before = await node.metric(FAILED)
        told = await post_all(node, shop["ingest_url"], range(events))
        assert len(told) == events

        async def given_up(each: int) -> bool:
            return await node.metric(FAILED) - before >= sinks * each

        async def all_hang() -> bool:
            return connections(node) >= sinks * PARALLEL or await given_up(1)

        await until(all_hang, 30)
        yield
        await until(lambda: given_up(LEAST_RESULTS), 30)
        for number in range(sinks):
            await node.call("DELETE", f"/webhook/set/{instance}/hung-{number}")


@contextmanager
def listening(count: int) -> Iterator[list[int]]:
    """Ports of servers that hang: the kernel takes connections and requests, nobody reads them."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=ROOM))
            for _ in range(count)
        ]
        yield [server.getsockname()[1] for server in servers]


def connections(node: Program) -> int:
    """How many the gateway has."""
    assert node.process
    return len(psutil.Process(node.process.pid).net_connections("tcp"))


@dataclass
class Latencies:
    """From a provider's POST to the arrival at the sink."""

    scene: Scene
    provider: Provider
    rate: float = 40.0

    async def measure(self, seconds: float) -> list[float]:
        """Milliseconds of each order, told at a steady pace with some chance in it."""
        chance, told = random.Random(7), dict[int, float]()
        ends = time.monotonic() + seconds
        posts: list[Future[Any]] = []
        while time.monotonic() < ends:
            number = self.provider.fresh()
            told[number] = time.monotonic()
            posts.append(ensure_future(self.provider.tell(number)))
            await sleep(chance.expovariate(self.rate))
        await gather(*posts)
        await self.scene.all_arrived()
        arrived = {arrival.order: arrival.at for arrival in self.scene.witness.arrivals}
        return [1000 * (arrived[f"order-{n:06d}"] - at) for n, at in told.items()]


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]
