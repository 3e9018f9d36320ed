"""A PostgreSQL that goes away, freezes, or becomes a standby: 503 meanwhile, nothing lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from gateway.store import open_store
from gateway.store.base import Store
from gateway.store.keys import fact_digest, scope_of
from gateway.store.postgres import PostgresStore
from schemas.errors import StoreUnavailableError
from tests.faults.proxy import proxy_to
from tests.services import Postgres, fresh_database
from tests.store.rows import Clock, Maker, claim_all, count, delivered, states
from tests.store.waiting import until, until_true

COMMIT = b"COMMIT\0"  # the whole of a simple query
COMMITTED = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'comporta' AND query = 'COMMIT'"
)


@pytest.fixture
def make() -> Maker:
    return Maker(Clock())


@pytest.fixture
async def url(postgres: Postgres) -> AsyncIterator[str]:
    """A database of a server that is ours to break."""
    async with fresh_database(postgres.url) as url:
        yield url
        postgres.start()


async def heals(attempt: Callable[[], Awaitable[object]], seconds: float = 15) -> None:
    """Until an attempt succeeds; nothing but StoreUnavailableError may come before."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await attempt()
                return
            except StoreUnavailableError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_what_was_acknowledged_survives_a_restart(
    postgres: Postgres, url: str, make: Maker, how: str
) -> None:
    store = await open_store(url, node="node-a", lease_seconds=30)
    acked: list[str] = []
    refused = 0
    stop = asyncio.Event()

    async def client() -> None:
        nonlocal refused
        while not stop.is_set():
            item = make.sent("a", leased=True)
            try:
                answer = await store.log.append(item)
                acked.append(answer.events[0].id)
            except StoreUnavailableError:
                refused += 1
                await asyncio.sleep(0.01)

    clients = [asyncio.create_task(client()) for _ in range(20)]
    await until_true(lambda: len(acked) >= 200)
    await asyncio.to_thread(getattr(postgres, how))
    before = len(acked)
    await until_true(lambda: refused)
    await asyncio.to_thread(postgres.start)
    await until_true(lambda: len(acked) >= before + 200)
    stop.set()
    await asyncio.gather(*clients)

    stored = {row[0] for row in await store.database.fetch("SELECT id FROM events")}
    assert set(acked) <= stored
    assert await count(store, "deliveries") == len(stored)
    await heals(store.check)
    await store.close()


async def test_a_commit_whose_answer_is_lost_is_unavailable(url: str, make: Maker) -> None:
    async with proxy_to(url) as wire:
        store = await open_store(wire.url, node="node-a", lease_seconds=30)
        await store.log.append(make.sent("a"))
        item = make.sent("a")
        wire.cut_after = COMMIT
        with pytest.raises(StoreUnavailableError):
            await store.log.append(item)
        wire.cut_after = None
        assert wire.cuts == 1

        answer = await store.log.append(make.retold(item))
        assert (answer.duplicate, answer.events[0].id) == (True, item.events[0].id)
        assert await count(store, "events") == 2
        assert await count(store, "deliveries") == 2
        await store.close()


async def test_a_settle_whose_answer_is_lost_is_unavailable(url: str, make: Maker) -> None:
    async with proxy_to(url) as wire:
        store = await open_store(wire.url, node="node-a", lease_seconds=30)
        await store.log.append(make.sent("a"))
        [leased] = await claim_all(store.log, "a")
        wire.cut_after = leased.id.encode()
        with pytest.raises(StoreUnavailableError):
            await store.log.settle([delivered(leased)])
        wire.cut_after = None
        assert wire.cuts == 2  # it tried again at once
        assert await states(store) == {leased.id: "succeeded"}
        assert await store.log.settle([delivered(leased)]) == {leased.id}
        await store.close()


async def test_cut_wires_are_replaced(url: str, make: Maker) -> None:
    async with proxy_to(url) as wire:
        store = await open_store(wire.url, node="node-a", lease_seconds=30)
        for _ in range(5):
            await asyncio.gather(*(store.database.now() for _ in range(8)))
            wire.cut_all()
            await heals(lambda: store.log.append(make.sent("a")), 5)
        assert await count(store, "events") == 5
        await store.close()


async def test_a_primary_that_became_read_only_is_left(
    postgres: Postgres, url: str, make: Maker
) -> None:
    store = await open_store(url, node="node-a", lease_seconds=30)
    await store.log.append(make.sent("a"))
    admin = await asyncpg.connect(postgres.url)
    writers = {row[0] for row in await admin.fetch(COMMITTED)}
    assert writers
    await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    await admin.execute("SELECT pg_reload_conf()")
    try:
        await _refused(store, make)
        assert await store.database.fetch("SELECT count(*) FROM events")
        with pytest.raises(StoreUnavailableError):
            await store.check()
    finally:
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await admin.execute("SELECT pg_reload_conf()")
    await heals(lambda: store.log.append(make.sent("a")))

    async def replaced() -> bool:
        pids = await admin.fetch("SELECT pid FROM pg_stat_activity")
        return not writers & {row[0] for row in pids}

    await until(replaced)
    await admin.close()
    await store.close()


async def _refused(store: Store, make: Maker) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await store.log.append(make.sent("a"))
            except StoreUnavailableError:
                return


async def test_a_frozen_server_is_unavailable_in_time(
    postgres: Postgres, url: str, make: Maker
) -> None:
    store = await open_store(f"{url}?command_timeout=1", node="node-a", lease_seconds=30)
    await store.log.append(make.sent("a"))
    item = make.sent("a")
    postgres.pause()
    try:
        async with asyncio.timeout(15):
            with pytest.raises(StoreUnavailableError):
                await store.log.append(item)
    finally:
        postgres.resume()
    await heals(lambda: store.log.append(make.retold(item)))
    assert await count(store, "events") == 2
    await store.close()


async def test_nobody_waits_for_long_for_a_process_that_froze_in_mid_append(
    url: str, make: Maker
) -> None:
    """The server ends its transaction, and the keys it held are free."""
    frozen = await open_store(url, node="node-a", lease_seconds=30)
    assert isinstance(frozen, PostgresStore)
    other = await open_store(f"{url}?command_timeout=40", node="node-b", lease_seconds=30)
    item = make.sent("a")
    digest = fact_digest(scope_of(item), item.events[0])

    async def freeze() -> None:
        async with frozen._connections.transaction() as connection:
            assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "15s"
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '1s'")
            await connection.execute("INSERT INTO seen (digest, ref) VALUES ($1, 'x:1')", digest)
            answer = await other.log.append(item)  # while this process does nothing
            assert [told.duplicate for told in answer.events] == [False]

    with pytest.raises(StoreUnavailableError):
        await freeze()
    await other.close()
    await frozen.close()
