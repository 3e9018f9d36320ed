"""PostgreSQL goes away, answers too late, or may not write: rows 9 to 11, and half of 24."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from gateway.store.postgres.append_sql import MARK
from tests.e2e.program import Program
from tests.faults.conftest import Nodes, Scene
from tests.faults.provider import Provider
from tests.faults.proxy import proxy_to
from tests.services import Postgres, fresh_database
from tests.store.waiting import until


@pytest.fixture
async def store(postgres: Postgres) -> AsyncIterator[str]:
    """A database of a server that is ours to break."""
    async with fresh_database(postgres.url) as url:
        yield url
        postgres.start()


async def refused(provider: Provider) -> None:
    """Wait for a 503."""
    before = provider.answers[503]

    async def more() -> bool:
        return provider.answers[503] > before

    await until(more, 30)


async def unready(node: Program) -> bool:
    return (await node.call("GET", "/readyz")).status == 503


@pytest.mark.fault(9)
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_restart_under_load(
    nodes: Nodes, store: str, postgres: Postgres, scene: Scene, how: str
) -> None:
    [node] = await nodes(store, 1)
    provider = await scene.provider(node)
    tries, recovery = scene.pick(1, 5), 0.0
    async with provider.busy(posters=8, pause=0.01):
        for _ in range(tries):
            await provider.acknowledges(60)
            with scene.ledger.fault():
                await asyncio.to_thread(getattr(postgres, how))
                await refused(provider)
                await until(lambda: unready(node))
                assert (await node.call("GET", "/healthz")).status == 200
                await asyncio.to_thread(postgres.start)
                back = time.monotonic()
                await provider.acknowledges(60)
                await scene.all_arrived()
            recovery = max(recovery, time.monotonic() - back)
    await scene.all_arrived()
    assert not provider.wrong
    note = {"stop": "fast restart", "kill": "killed"}[how]
    found = await scene.audit(node)
    scene.report("PostgreSQL gone", found, tries=tries, recovery=recovery, note=note)
    scene.must_be_within(recovery, 10)


@pytest.mark.fault(10)
async def test_a_cut_between_commit_and_its_answer(
    nodes: Nodes, postgres_db: str, scene: Scene
) -> None:
    async with proxy_to(postgres_db) as line:
        line.only_with = MARK.encode()  # what an append begins with
        [node] = await nodes(line.url, 1)
        provider = await scene.provider(node)
        tries = scene.pick(2, 20)
        for number in range(tries):
            line.cut_after = b"COMMIT\0"
            with scene.ledger.fault():
                assert await provider.tell(number) == 503
                line.cut_after = None
                await provider.insist(number)
        assert line.cuts >= tries
        assert provider.known == set(range(tries))
        await scene.all_arrived()
        scene.report("cut after COMMIT", await scene.audit(node), tries=tries)
        await node.end()


@pytest.mark.fault(11)
async def test_a_primary_that_becomes_read_only(
    nodes: Nodes, store: str, postgres: Postgres, scene: Scene
) -> None:
    [node] = await nodes(store, 1)
    provider = await scene.provider(node)
    async with provider.busy(posters=4, pause=0.01):
        await provider.acknowledges(30)
        with scene.ledger.fault():
            async with read_only(postgres):
                await refused(provider)
                await until(lambda: unready(node))
                assert (await node.call("GET", "/processing/events")).status == 200
            back = time.monotonic()
            await provider.acknowledges(30)
            await scene.all_arrived()
        recovery = time.monotonic() - back
    await scene.all_arrived()
    assert not provider.wrong
    scene.report("PostgreSQL read-only", await scene.audit(node), recovery=recovery)


@asynccontextmanager
async def read_only(postgres: Postgres) -> AsyncIterator[None]:
    """As a primary is that was demoted: sessions that are open find out in mid work."""
    admin = await asyncpg.connect(postgres.url)
    try:
        await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await admin.execute("SELECT pg_reload_conf()")
        yield
    finally:
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await admin.execute("SELECT pg_reload_conf()")
        await admin.close()


@pytest.mark.fault(24)
async def test_a_node_cut_off_from_its_database(
    nodes: Nodes, postgres_db: str, scene: Scene
) -> None:
    """The other node goes on by the database's clock; the one cut off heals without a restart."""
    async with proxy_to(postgres_db) as line:
        [apart] = await nodes(f"{line.url}?command_timeout=1", 1)
        [other] = await nodes(postgres_db, 1, first=1)
        provider = await scene.provider(apart, other)
        async with provider.busy(posters=6, pause=0.02):
            await provider.acknowledges(40)
            with scene.ledger.fault():
                line.silence()
                began = time.monotonic()
                await refused(provider)
                await provider.acknowledges(40)
                await scene.all_arrived()
                recovery = time.monotonic() - began
                line.heal()
                await until(lambda: provider.tells(apart))
        await scene.all_arrived()
        assert not provider.wrong
        found = await scene.audit(other)
        note = "node and database, lease 2 s"
        scene.report("partition", found, recovery=recovery, note=note)
        await apart.end()
