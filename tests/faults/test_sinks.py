"""Receivers that hang, trickle, or never stop talking: rows 20 to 22."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from tests.e2e.program import Program
from tests.faults.conftest import Scene
from tests.faults.provider import INSTANCE
from tests.sinks.receiver import Talk, talking, until

SINKS = 100
MEGABYTE = 1 << 20


@dataclass
class Silent:
    """Accepts, reads, and never says a word."""

    open: set[asyncio.StreamWriter] = field(default_factory=set)
    most: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        self.most = max(self.most, len(self.open))
        try:
            while await reader.read(65_536):
                pass
        finally:
            self.open.discard(writer)


async def hang(node: Program, silent_port: int, **options: Any) -> None:
    """Sinks that never answer."""
    for number in range(SINKS):
        url = f"http://127.0.0.1:{silent_port}/{number}"
        await node.webhook(INSTANCE, url, f"hung-{number}", **options)


async def attempts(node: Program, sink: str) -> list[Any]:
    """The tries of the first delivery to a sink."""
    query = f"filter[instance]={INSTANCE}&filter[sink]=webhook/{sink}&limit=100"
    found = await node.data("GET", f"/processing/dispatches?{query}")
    if not found:
        return []
    shown = await node.data("GET", f"/processing/dispatches/{found[-1]['id']}")
    return list(shown["attempts"])


async def tried(node: Program, sink: str) -> Any:
    """The first try of a delivery to it, once it is over."""
    async with asyncio.timeout(30):
        while not (tries := await attempts(node, sink)):
            await asyncio.sleep(0.05)
    return tries[0]


@pytest.mark.fault(20)
async def test_a_hundred_hung_sinks_cost_the_others_nothing(node: Program, scene: Scene) -> None:
    """Everything has arrived at the healthy one before a single hung one has been given up."""
    silent = Silent()
    async with talking(silent.talk) as port:
        await node.start(DELIVERY_TIMEOUT="60")
        provider = await scene.provider(node)
        await hang(node, port, concurrency=2)
        await provider.tell_all(range(20))
        await scene.all_arrived()
        failures = await node.metric('comporta_deliveries_total{kind="webhook",outcome="failed"}')
        assert failures == 0
        await until(lambda: len(silent.open) == SINKS * 2)
        assert silent.most == SINKS * 2
        found = await scene.audit(node)
        scene.report("100 hung sinks", found, tries=SINKS, note=f"{silent.most} sockets held")
        await node.kill()


async def endless(writer: asyncio.StreamWriter, piece: bytes, pause: float, most: int) -> int:
    """Say it again and again until the other side has had enough; gives the bytes it was told."""
    said = 0
    try:
        while said < most:
            writer.write(piece)
            await writer.drain()
            said += len(piece)
            await asyncio.sleep(pause)
    except OSError:
        pass
    return said


@dataclass
class Talker:
    """Answers any request with `head`, and goes on with `piece`, `pause` seconds apart."""

    head: bytes
    piece: bytes
    pause: float = 0.0
    most: int = 1 << 30
    said: list[int] = field(default_factory=list)

    @property
    def talk(self) -> Talk:
        return self._talk

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.head)
        self.said.append(await endless(writer, self.piece, self.pause, self.most))


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.fault(21)
async def test_a_sink_that_trickles_is_cut_at_its_timeout(node: Program, scene: Scene) -> None:
    in_head = Talker(OK + b"X-Slow: ", b"a", 0.1)
    in_body = Talker(OK + b"Content-Length: 100000\r\n\r\n", b"a", 0.1)
    async with talking(in_head.talk) as head, talking(in_body.talk) as body:
        await node.start()
        provider = await scene.provider(node)
        for name, port in (("head", head), ("body", body)):
            await node.webhook(INSTANCE, f"http://127.0.0.1:{port}/", name, timeout=1)
        await provider.insist()
        await scene.all_arrived()
        for name in ("head", "body"):
            assert (await tried(node, name))["error"].startswith("timeout")
        scene.report("trickling sink", await scene.audit(node), tries=2)
        await node.kill()


@pytest.mark.fault(22)
async def test_a_sink_that_never_stops_is_heard_a_little(node: Program, scene: Scene) -> None:
    in_body = Talker(OK + b"Content-Length: 1073741824\r\n\r\n", b"x" * MEGABYTE)
    in_head = Talker(OK, b"X-More: " + b"y" * 100 + b"\r\n")
    async with talking(in_head.talk) as head, talking(in_body.talk) as body:
        await node.start()
        provider = await scene.provider(node)
        for name, port in (("head", head), ("body", body)):
            await node.webhook(INSTANCE, f"http://127.0.0.1:{port}/", name, timeout=10)
        await provider.insist()
        await scene.all_arrived()
        before = memory(node)
        tries = scene.pick(5, 50)
        await provider.tell_all(range(1000, 1000 + tries))
        await until(lambda: len(in_body.said) > tries)
        grown = memory(node) - before
        assert grown < 50 * MEGABYTE
        assert (await tried(node, "body"))["outcome"] == "succeeded"
        assert (await tried(node, "head"))["error"].startswith("protocol")
        # What fits into the buffers of two sockets, not the gigabyte.
        assert max(in_body.said) < 64 * MEGABYTE
        note = f"RSS +{grown / MEGABYTE:.0f} MB"
        scene.report("endless sink", await scene.audit(node), tries=tries, note=note)
        await node.kill()


def memory(node: Program) -> int:
    """Bytes of the gateway's process."""
    assert node.process
    return int(psutil.Process(node.process.pid).memory_info().rss)
