"""The process is killed, stopped or asked to end, under load: rows 6 and 7, and kill -9."""

import asyncio
import random
import signal
import time
from collections import Counter
from pathlib import Path

import apsw
import pytest

from tests.e2e.deliveries import STORY, kiwify_story
from tests.e2e.program import Program
from tests.faults.conftest import Nodes, Scene
from tests.faults.ledger import Arrival, out_of_order
from tests.faults.witness import take
from tests.sinks.receiver import until

BURST = 40  # orders told at once


async def slowly(_: Arrival) -> int:
    await asyncio.sleep(0.2)
    return 200


@pytest.mark.fault(3)
async def test_kill_9_in_mid_load_and_a_restart(node: Program, scene: Scene) -> None:
    await node.start()
    provider = await scene.provider(node)
    recovery = 0.0
    async with provider.busy(posters=16):
        for _ in range(scene.pick(2, 10)):
            await provider.acknowledges(300)
            with scene.ledger.fault():
                await node.kill()
                killed = time.monotonic()
                await node.start()
            await scene.all_arrived()
            recovery = max(recovery, time.monotonic() - killed)
    await scene.all_arrived()
    tries = scene.pick(2, 10)
    note = "one node, under load"
    scene.report("kill -9", await scene.audit(node), tries=tries, recovery=recovery, note=note)
    scene.must_be_within(recovery, 5)


@pytest.mark.fault(3)
async def test_kill_9_keeps_the_order_of_each_key(node: Program, scene: Scene) -> None:
    """Also across the retries of a receiver that does not take everything at once."""
    await node.start()
    provider = await scene.provider(node, make=kiwify_story, ordered=True)
    chance = random.Random(3)

    async def takes_most(_: Arrival) -> int:
        return 503 if chance.random() < 0.1 else 200

    scene.witness.behave = takes_most
    tries, each = scene.pick(2, 10), scene.pick(60, 200)
    async with provider.busy(posters=8):
        for _ in range(tries):
            await provider.acknowledges(each)
            with scene.ledger.fault():
                await node.kill()
                await node.start()
    await scene.all_arrived()
    arrivals = scene.witness.arrivals
    assert not out_of_order(arrivals)
    keys = Counter(arrival.key for arrival in {a.event_id: a for a in arrivals}.values())
    assert sum(count == len(STORY) for count in keys.values()) > each / len(STORY)
    note = f"ordered sink, {len(keys)} keys, {scene.witness.refused} refused: order kept"
    scene.report("kill -9", await scene.audit(node), tries=tries, note=note)


@pytest.mark.fault(3)
async def test_three_nodes_are_killed_in_turn(nodes: Nodes, postgres_db: str, scene: Scene) -> None:
    """Another takes over what each had, and it comes back, all under load."""
    three = await nodes(postgres_db, 3)
    # So slow that a node has something in its memory when it dies.
    provider = await scene.provider(*three, concurrency=4)
    scene.witness.behave = slowly
    rounds, recovery = scene.pick(1, 5), 0.0
    async with provider.busy(posters=2, pause=0.1):
        for victim in three * rounds:
            burst = [provider.tell(provider.fresh(), victim) for _ in range(BURST)]
            assert await asyncio.gather(*burst) == [200] * BURST
            with scene.ledger.fault():
                await victim.kill()
                killed = time.monotonic()
                await scene.all_arrived()
            recovery = max(recovery, time.monotonic() - killed)
            await victim.start()
    scene.witness.behave = take
    await scene.all_arrived()
    assert not provider.wrong
    found = await scene.audit(three[0])
    note = "three nodes in turn, lease 2 s"
    scene.report("kill -9", found, tries=3 * rounds, recovery=recovery, note=note)
    scene.must_be_within(recovery, 2 + 5)  # the lease's time, and some


@pytest.mark.fault(6)
async def test_sigterm_with_a_hundred_in_flight(node: Program, scene: Scene) -> None:
    await node.start()
    provider = await scene.provider(node, concurrency=100)
    scene.witness.behave = slowly
    async with provider.busy(posters=40):
        await provider.acknowledges(scene.pick(300, 3000))
        assert set(provider.answers) == {200}
        asked = time.monotonic()
        assert await node.end(signal.SIGTERM) == 0
        took = time.monotonic() - asked
        assert leased(node.folder) == 0
        await node.start()
    await scene.all_arrived()
    found = await scene.audit(node)
    assert not found.duplicates
    note = f"ended in {took:.1f} s, 40 callers"
    scene.report("SIGTERM", found, recovery=time.monotonic() - asked, note=note)
    scene.must_be_within(took, 25)


def leased(folder: Path) -> int:
    """Of a store that nobody serves just now."""
    connection = apsw.Connection(str(folder / "data" / "comporta.db"))
    try:
        [(count,)] = connection.execute("SELECT count(*) FROM deliveries WHERE state = 'leased'")
        return int(count)
    finally:
        connection.close()


@pytest.mark.fault(7)
async def test_a_node_that_froze_comes_too_late(
    nodes: Nodes, postgres_db: str, scene: Scene
) -> None:
    """Its lease is another's by then: what it finds out changes nothing, and it goes on."""
    frozen, other = await nodes(postgres_db, 2)
    provider = await scene.provider(frozen)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def first_waits(_: Arrival) -> int:
        if not asked.is_set():
            asked.set()
            await answer.wait()
        return 200

    scene.witness.behave = first_waits
    with scene.ledger.fault():
        await provider.insist()
        await asyncio.wait_for(asked.wait(), 20)
        stop(frozen, signal.SIGSTOP)
        began = time.monotonic()
        await scene.all_arrived()
        recovery = time.monotonic() - began
        if scene.full:
            await asyncio.sleep(max(0.0, 60 - recovery))  # as long as the fault is to last
        answer.set()
        await until(lambda: len(scene.witness.arrivals) == 2)
        stop(frozen, signal.SIGCONT)
    await frozen.reaches("comporta_lease_lost_total", 1)
    [delivery] = await other.data("GET", "/processing/dispatches")
    shown = await other.data("GET", f"/processing/dispatches/{delivery['id']}")
    assert (shown["status"], len(shown["attempts"])) == ("succeeded", 1)

    await provider.insist()  # told to the one that was frozen

    await scene.all_arrived()
    found = await scene.audit(other)
    scene.report("SIGSTOP", found, recovery=recovery, note=f"{scene.pick('4', '60')} s, lease 2 s")
    scene.must_be_within(recovery, 2 + 5)


def stop(node: Program, number: signal.Signals) -> None:
    assert node.process
    node.process.send_signal(number)
