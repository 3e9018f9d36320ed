"""Random faults under load. In the long form a thousand of them over a hundred thousand events."""

import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.program import Program
from tests.faults.chaos import Chaos
from tests.faults.conftest import Nodes, Scene
from tests.faults.launcher import set_clock
from tests.faults.ledger import UNFINISHED, listed
from tests.faults.provider import Provider
from tests.faults.proxy import proxy_to
from tests.services import Postgres, fresh_database
from tests.store.waiting import until

PER_FAULT = 100  # events
SEED = 20261121


async def rage(scene: Scene, chaos: Chaos, provider: Provider) -> tuple[int, float]:
    """Fault after fault, each over so many events; gives how many, and how long all of it took to
    be well again.
    """
    faults = scene.of_three(6, 60, 500)
    each = scene.of_three(10, PER_FAULT, PER_FAULT)
    done, ends = 0, time.monotonic() + scene.minutes * 60
    provider.patience = 300.0
    async with provider.busy(posters=10, pause=scene.pick(0.02, 0.0)):
        while done < faults and time.monotonic() < ends:
            before = len(scene.ledger.acknowledged)
            await chaos.one()
            missing = each - (len(scene.ledger.acknowledged) - before)
            await provider.acknowledges(max(0, missing))
            done += 1
        await chaos.heal()
    healed = time.monotonic()
    await scene.all_arrived(patience=300)
    return done, time.monotonic() - healed


async def finish(scene: Scene, chaos: Chaos, provider: Provider) -> None:
    faults, recovery = await rage(scene, chaos, provider)
    node = chaos.nodes[0]

    async def nothing_waits() -> bool:
        return not await listed(node, *UNFINISHED)

    await until(nothing_waits, 120)
    found = await scene.audit(node)
    assert not provider.wrong
    assert not found.pending  # stuck
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(chaos.made.items()))
    engine = "SQLite" if chaos.clock else f"PostgreSQL, {len(chaos.nodes)} nodes"
    note = f"{engine}; stuck 0; {kinds}"
    scene.report("random faults", found, tries=faults, recovery=recovery, note=note)


@pytest.mark.timeout(3600)
async def test_any_faults_on_one_node(node: Program, scene: Scene, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    node.command = (sys.executable, "-m", "tests.faults.launcher")
    node.variables["FAULTS_CLOCK"] = str(clock)
    await node.start()
    async with proxy_to(scene.witness.url) as sink:
        provider = await scene.provider(node, url=sink.url)
        chance = random.Random(SEED)
        chaos = Chaos([node], scene.ledger, scene.witness, sink, chance, clock=clock)
        await finish(scene, chaos, provider)
        await node.end()


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[str]:
    async with fresh_database(postgres.url) as url:
        yield url
        postgres.start()


@pytest.mark.timeout(3600)
async def test_any_faults_on_three_nodes(
    nodes: Nodes, database: str, postgres: Postgres, scene: Scene
) -> None:
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(proxy_to(database)) for _ in range(3)]
        three = [
            (await nodes(f"{line.url}?command_timeout=2", 1, first=number))[0]
            for number, line in enumerate(lines)
        ]
        sink = await stack.enter_async_context(proxy_to(scene.witness.url))
        provider = await scene.provider(*three, url=sink.url)
        chaos = Chaos(three, scene.ledger, scene.witness, sink, random.Random(SEED), lines)
        chaos.postgres = postgres
        await finish(scene, chaos, provider)
        for node in three:
            await node.end()
