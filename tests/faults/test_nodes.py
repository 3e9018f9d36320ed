"""Several processes at once on the same things: rows 8 and 18."""

import asyncio
from collections import Counter

import pytest

from gateway.store import open_store
from gateway.store.base import Leased, Store
from tests.faults.conftest import Nodes, Scene
from tests.faults.ledger import Audit
from tests.store.rows import Clock, Maker, delivered

WORKERS = 4  # on each node
COPIES = 100


async def work(store: Store, seen: Counter[tuple[str, int]], done: set[str]) -> None:
    """Claim, give every third back, settle the rest, until nothing is left."""
    while claimed := await store.log.claim({"sink-a": 50, "sink-b": 50}):
        seen.update((leased.id, leased.token) for leased in claimed)
        back, kept = split(claimed)
        await store.log.release([leased.lease for leased in back])
        lost = await store.log.settle([delivered(leased) for leased in kept])
        assert not lost
        done |= {leased.id for leased in kept}


def split(claimed: list[Leased]) -> tuple[list[Leased], list[Leased]]:
    """Those to give back, which are so once at most, and those to settle."""
    back = [leased for leased in claimed[::3] if leased.token == 1]
    return back, [leased for leased in claimed if leased not in back]


@pytest.mark.fault(8)
async def test_eight_workers_on_two_nodes_never_share(postgres_db: str, scene: Scene) -> None:
    rows = scene.pick(1_000, 10_000)
    make = Maker(Clock())
    stores = [await open_store(postgres_db, node=f"node-{name}", lease_seconds=30) for name in "ab"]
    waiting = iter(range(rows))

    async def fill() -> None:
        for number in waiting:
            await stores[0].log.append(make.sent("sink-a" if number % 2 else "sink-b"))

    await asyncio.gather(*(fill() for _ in range(100)))
    seen: Counter[tuple[str, int]] = Counter()
    done: set[str] = set()
    await asyncio.gather(*(work(store, seen, done) for store in stores for _ in range(WORKERS)))
    # One that was given back just when the others found nothing is nobody's yet.
    await work(stores[0], seen, done)
    for store in stores:
        await store.close()

    assert set(seen.values()) == {1}
    assert len(done) == rows
    found = Audit(rows, len(done), 0, 0, set(), 0, set(), set())
    scene.report("8 workers race", found, tries=len(seen), note="2 nodes, every third given back")


@pytest.mark.fault(18)
async def test_a_hundred_copies_at_once_are_one_event(
    nodes: Nodes, postgres_db: str, scene: Scene
) -> None:
    """Told to two nodes, as a provider does behind a balancer that repeats what it sends."""
    both = await nodes(postgres_db, 2)
    provider = await scene.provider(*both)
    provider.waits = 60.0  # however busy the machine: every copy is to be answered
    tries = scene.pick(1, 20)
    for number in range(tries):
        statuses = await asyncio.gather(*(provider.tell(number) for _ in range(COPIES)))
        assert statuses == [200] * COPIES
    await scene.all_arrived()
    found = await scene.audit(both[0])
    assert (found.acknowledged, found.delivered, found.duplicates) == (tries, tries, 0)
    assert provider.answers == {200: COPIES * tries}
    assert len(provider.first) == tries
    scene.report(f"{COPIES} copies at once", found, tries=tries, note="2 nodes")
