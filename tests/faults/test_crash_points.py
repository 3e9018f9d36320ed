"""The process dies at a named point of the path, as if by kill -9: rows 1 to 4 of the faults."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from gateway.crash import EXIT_CODE, POINTS
from tests.e2e.program import Program
from tests.faults.conftest import Nodes, Scene
from tests.faults.ledger import Arrival
from tests.faults.provider import Provider
from tests.faults.witness import Behaviour, Witness, take
from tests.sinks.receiver import until


async def deaths(
    node: Program, scene: Scene, *points: str
) -> AsyncGenerator[tuple[int, str, Provider], None]:
    """For each point: the gateway died there over a new order, whose number is given, and runs
    again. In short only the first, which tells most.
    """
    provider: Provider | None = None
    for point in scene.pick(points[:1], points):
        await node.start(CRASH_AT=point)
        provider = provider or await scene.provider(node)
        number = provider.fresh()
        with scene.ledger.fault():
            await provider.tell(number)
            assert await node.ended() == EXIT_CODE
        await node.start()
        yield number, point, provider
        await node.end()
    await node.start()


async def stored(node: Program) -> int:
    answer = await node.call("GET", "/processing/events?limit=100")
    return len(answer.json["data"])


def refusing_once(witness: Witness) -> Behaviour:
    before = witness.refused

    async def behave(_: Arrival) -> int:
        return 500 if witness.refused == before else 200

    return behave


@pytest.mark.fault(1)
async def test_before_the_commit_there_is_nothing(node: Program, scene: Scene) -> None:
    tries = 0
    each = deaths(node, scene, "before_commit", "after_read", "after_verify")
    async with aclosing(each):
        async for number, _, provider in each:
            assert len(scene.ledger.acknowledged) == await stored(node) == tries

            await provider.insist(number)

            tries += 1
            assert await stored(node) == tries
            assert not provider.known
            await scene.all_arrived()
    found = await scene.audit(node)
    assert not found.duplicates
    scene.report("kill -9 before COMMIT", found, tries=tries)


@pytest.mark.fault(2)
async def test_after_the_commit_it_is_known(node: Program, scene: Scene) -> None:
    tries = 0
    each = deaths(node, scene, "after_commit", "before_offer", "before_answer")
    async with aclosing(each):
        async for number, _, provider in each:
            tries += 1
            assert await stored(node) == tries

            await provider.insist(number)

            assert number in provider.known
            assert await stored(node) == tries
            await scene.all_arrived()
    scene.report("kill -9 before the answer", await scene.audit(node), tries=tries)


@pytest.mark.fault(3)
async def test_what_was_claimed_is_sent_after_a_restart(node: Program, scene: Scene) -> None:
    witness, tries, recovery = scene.witness, 0, 0.0
    witness.behave = refusing_once(witness)
    each = deaths(node, scene, "after_claim", "before_claim", "before_send")
    async with aclosing(each):
        async for number, _, provider in each:
            await provider.insist(number)
            await scene.all_arrived()
            recovery = max(recovery, time.monotonic() - scene.ledger.windows[-1].ended)
            tries += 1
            assert witness.refused == tries
            witness.behave = refusing_once(witness)
    found = await scene.audit(node)
    assert not found.duplicates
    scene.report("kill -9 after the claim", found, tries=tries, recovery=recovery)


@pytest.mark.fault(4)
async def test_a_receiver_hears_the_same_id_twice_at_most(node: Program, scene: Scene) -> None:
    witness, tries, twice = scene.witness, 0, 0
    each = deaths(node, scene, "after_send", "before_settle", "after_settle")
    async with aclosing(each):
        async for number, point, provider in each:
            await provider.insist(number)
            tries += 1
            twice += point != "after_settle"
            expected = tries + twice
            await until(lambda n=expected: len(witness.arrivals) >= n)  # type: ignore[misc]  # a default that binds
    found = await scene.audit(node)
    assert found.duplicates == twice
    scene.report("kill -9 after the sink's 2xx", found, tries=tries)


def failing(witness: Witness, *, of_forty: int) -> Behaviour:
    """So many of forty in a row."""

    async def behave(_: Arrival) -> int:
        return 500 if (len(witness.arrivals) + witness.refused) % 40 < of_forty else 200

    return behave


@pytest.mark.fault(4)
async def test_a_walk_over_every_point_under_load(node: Program, scene: Scene) -> None:
    every = tuple(point for point in POINTS if point != "after_free")  # which takes two nodes
    telling = ("before_offer", "before_answer", "before_send", "before_settle", "before_release")
    points = scene.pick(telling, every)
    await node.start()
    provider, witness = await scene.provider(node), scene.witness
    async with provider.busy(posters=8, pause=0.02):
        for passes, point in enumerate(points):
            # Some fail, so that there is something to claim; ten in a row open the circuit, which
            # gives back what waits.
            witness.behave = failing(witness, of_forty=12 if "release" in point else 4)
            with scene.ledger.fault():
                await node.kill()
                await node.launch(CRASH_AT=f"{point}:{passes % 4 if 'release' not in point else 0}")
                assert await node.ended() == EXIT_CODE, point
        witness.behave = take
        await node.start()
    healed = time.monotonic()
    await scene.all_arrived()
    recovery = time.monotonic() - healed
    assert not provider.wrong
    note = "at every point, under load"
    tries = len(points)
    scene.report("kill -9", await scene.audit(node), tries=tries, recovery=recovery, note=note)


@pytest.mark.fault(3)
async def test_another_node_sends_what_a_dead_one_had(
    nodes: Nodes, postgres_db: str, scene: Scene
) -> None:
    """Also when the other one dies in turn, just when it had freed them."""
    first, second = await nodes(postgres_db, 2)
    provider = await scene.provider(first)
    await first.end()
    await second.end()
    await second.start(CRASH_AT="after_free")
    await first.start(CRASH_AT="before_send:5")
    with scene.ledger.fault():
        for _ in range(10):
            await provider.tell(provider.fresh(), first)
        assert await first.ended() == EXIT_CODE
        died = time.monotonic()
        assert await second.ended() == EXIT_CODE
        await second.start()

    await scene.all_arrived()
    recovery = time.monotonic() - died
    found = await scene.audit(second)
    assert found.acknowledged >= 5
    note = "another node goes on, lease 2 s"
    scene.report("kill -9 after the claim", found, recovery=recovery, note=note)
