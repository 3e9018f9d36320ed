"""What only PostgreSQL can get wrong: other processes, plans, poolers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
import pytest

from gateway.store import open_store
from gateway.store.base import Leased, Store, Topic
from gateway.store.history import History
from gateway.store.keys import fact_digest, scope_of
from gateway.store.postgres import PostgresStore
from gateway.store.postgres.hints import WINDOW
from gateway.store.postgres.leases import LOCK_SINK
from schemas.errors import StoreUnavailableError
from tests.store.rows import Clock, Maker, attempt, claim_all, count, delivered
from tests.store.waiting import until, until_true

Opener = Callable[..., Awaitable[Store]]


@pytest.fixture
def make() -> Maker:
    return Maker(Clock())


@pytest.fixture
async def opened(postgres_db: str) -> AsyncIterator[Opener]:
    """Opens stores on one database, by the database's own clock."""
    async with AsyncExitStack() as stack:

        async def opener(node: str = "node-a", query: str = "") -> Store:
            store = await open_store(postgres_db + query, node=node, lease_seconds=30)
            stack.push_async_callback(store.close)
            return store

        yield opener


@pytest.fixture
async def admin(postgres_db: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_db)
    yield connection
    await connection.close()


@pytest.mark.parametrize("query", ["", "?statement_cache_size=0", "?pool_size=4"])
async def test_the_whole_way(opened: Opener, make: Maker, query: str) -> None:
    store = await opened(query=query)
    await store.check()
    item = make.sent("a", leased=True)
    await asyncio.gather(*(store.log.append(make.sent("a")) for _ in range(50)))
    await store.log.append(item)
    assert (await store.log.append(make.retold(item))).duplicate
    leased = await claim_all(store.log, "a")
    assert len(leased) == 50
    assert await store.log.settle([delivered(one, attempt=attempt()) for one in leased]) == set()
    assert await store.log.due() == {}
    assert await count(store, "attempts") == 50
    await store.log.release()
    assert await store.log.due() == {"a": 0}


@pytest.mark.parametrize("query", ["", "?statement_cache_size=0"])
async def test_commits_wait_for_the_disk_whatever_the_default(
    opened: Opener, admin: asyncpg.Connection, query: str
) -> None:
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    store = await opened(query=query)
    assert isinstance(store, PostgresStore)
    async with store._connections.transaction() as connection:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SHOW transaction_isolation") == "read committed"


@pytest.mark.parametrize("query", ["?pool_size=many", "?statement_cache_size=-1"])
async def test_a_url_that_makes_no_sense_is_refused(opened: Opener, query: str) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        await opened(query=query)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    with pytest.raises(StoreUnavailableError):
        await open_store(url, node="a", lease_seconds=30)


async def test_processes_that_tell_the_same_do_not_wait_for_each_other(
    opened: Opener, admin: asyncpg.Connection, make: Maker
) -> None:
    stores = [await opened(f"node-{n}") for n in range(3)]
    items = [make.sent("a") for _ in range(100)]
    rounds = [items, items[::-1], items[50:] + items[:50]]
    answers = await asyncio.gather(
        *(
            store.log.append(make.retold(item))
            for store, order in zip(stores, rounds, strict=True)
            for item in order
        )
    )
    assert await count(stores[0], "events") == 100
    assert await count(stores[0], "inbounds") == 100
    assert sum(answer.duplicate for answer in answers) == 200
    told = {(a.inbound_id, a.events[0].id, a.events[0].seq) for a in answers}
    assert len(told) == 100
    for store in stores:
        await store.close()  # a backend tells its statistics when it ends
    sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await admin.fetchval(sql) == 0


async def test_a_poisoned_append_fails_alone(opened: Opener, make: Maker) -> None:
    store = await opened()
    items = [make.sent("a") for _ in range(40)]
    items[17].events[0].occurred_at = 1 << 80
    answers = await asyncio.gather(*map(store.log.append, items), return_exceptions=True)
    wrong = [n for n, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert wrong == [17]
    assert not isinstance(answers[17], StoreUnavailableError)
    assert await count(store, "events") == 39


async def test_a_redelivery_does_not_take_a_fact_away(opened: Opener, make: Maker) -> None:
    """The first copy was quarantined; another delivery of the same batch tells its fact."""
    store = await opened()
    silent = make.append(key="first")
    await store.log.append(silent)
    again = make.append(make.event(make.delivery(), dedupe_key="fact"), key="first")
    fresh = make.append(make.event(make.delivery(), dedupe_key="fact"))
    one, two = await asyncio.gather(store.log.append(again), store.log.append(fresh))

    assert silent.inbound
    assert (one.duplicate, one.inbound_id, one.events) == (True, silent.inbound.id, ())
    assert [(told.id, told.duplicate) for told in two.events] == [(fresh.events[0].id, False)]
    assert await count(store, "deliveries") == 1


async def test_a_lost_job_does_not_take_a_delivery_away(opened: Opener, make: Maker) -> None:
    store = await opened()
    late = make.append(make.event(make.delivery()), key="k", finishes=("gone", 1))
    fresh = make.append(make.event(make.delivery()), key="k")
    third = make.append(make.event(make.delivery()), key="k")
    answers = await asyncio.gather(*map(store.log.append, (late, fresh, third)))
    assert [(a.lost, a.duplicate) for a in answers] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert fresh.inbound
    assert answers[2].inbound_id == fresh.inbound.id
    assert await count(store, "events") == 1


@pytest.mark.parametrize("earlier", [0, 2])
async def test_readers_stay_below_what_is_not_committed(
    opened: Opener, admin: asyncpg.Connection, make: Maker, earlier: int
) -> None:
    one, two = await opened("node-a"), await opened("node-b")
    history = History(two.database)
    for _ in range(earlier):
        await one.log.append(make.sent("a"))
    horizon = await two.database.horizon()
    slow, quick = make.sent("a"), make.sent("a")
    digest = fact_digest(scope_of(slow), slow.events[0])
    blocking = admin.transaction()
    await blocking.start()
    await admin.execute("INSERT INTO seen (digest, ref) VALUES ($1, 'x:1')", digest)
    waiting = asyncio.create_task(one.log.append(slow))
    await until(lambda: two.database.fetch("SELECT 1 FROM pg_locks WHERE NOT granted"))

    [told] = (await two.log.append(quick)).events
    assert await two.database.horizon() == horizon < told.seq
    assert len(await history.tail("default", "loja-1", 0, 99)) == earlier
    await blocking.rollback()
    await waiting
    tail = await history.tail("default", "loja-1", 0, 99)
    assert [event.id for event in tail[earlier:]] == [slow.events[0].id, quick.events[0].id]


async def test_plans_made_on_empty_tables_stay_right(
    opened: Opener, admin: asyncpg.Connection, make: Maker
) -> None:
    await admin.execute("CREATE EXTENSION IF NOT EXISTS plpgsql")
    store = await opened()
    for table in ("events", "deliveries", "seen", "inbounds_before"):
        await admin.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    rounds = 60
    for _ in range(rounds):
        events = [make.event(make.delivery(leased=True), weight=50) for _ in range(20)]
        await store.log.append(make.append(*events))
        await store.log.settle(
            [
                delivered(
                    Leased(
                        id=event.deliveries[0].id,
                        token=1,
                        sink_id="sink-a",
                        attempts=0,
                        replay=0,
                        event=None,  # type: ignore[arg-type]  # a settle needs no event
                    )
                )
                for event in events
            ]
        )
    assert await count(store, "deliveries", "state = 'succeeded'") == 20 * rounds
    await store.close()  # a backend tells its statistics when it ends

    async def read() -> dict[str, int]:
        rows = await admin.fetch(
            "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes"
            " WHERE relname IN ('events', 'deliveries', 'seen')"
        )
        return {row[0]: row[1] for row in rows}

    await until(lambda: _positive(read, "deliveries_pkey"))
    for index, rows in (await read()).items():
        assert rows <= 20 * rounds * 2, index
    scanned = await admin.fetchval(
        "SELECT sum(seq_tup_read) FROM pg_stat_user_tables"
        " WHERE relname IN ('events', 'deliveries', 'seen', 'inbounds_before')"
    )
    assert scanned <= 20 * rounds  # the count of this test


async def _positive(read: Callable[[], Awaitable[dict[str, int]]], name: str) -> bool:
    return (await read())[name] > 0


async def test_an_ordered_queue_never_stalls(opened: Opener, make: Maker) -> None:
    """Followers are parked while whoever is before them is settled, on two nodes at once."""
    one, two = await opened("node-a"), await opened("node-b")
    expected: dict[str, list[str]] = {}
    for n in range(120):
        item = make.sent("a", ordered=True, key=f"k{n % 3}")
        expected.setdefault(f"k{n % 3}", []).append(item.events[0].id)
        await one.log.append(item)
    got: dict[str, list[str]] = {}

    async def work(store: Store) -> None:
        while sum(map(len, got.values())) < 120:
            for leased in await claim_all(store.log, "a", ordered=True):
                got.setdefault(leased.event.key, []).append(leased.event.id)
                assert not await store.log.settle([delivered(leased)])

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(store) for store in (one, two, one, two)))
    assert got == expected


async def test_a_follower_is_not_parked_behind_what_is_being_settled(
    opened: Opener, admin: asyncpg.Connection, make: Maker
) -> None:
    store = await opened()
    await store.log.append(make.sent("a", ordered=True, key="k"))
    [head] = await claim_all(store.log, "a", ordered=True)
    await store.log.append(make.sent("a", ordered=True, key="k"))
    settling = admin.transaction()  # another process settles, and has not committed
    await settling.start()
    await admin.execute("UPDATE deliveries SET state = 'succeeded' WHERE id = $1", head.id)
    assert await claim_all(store.log, "a", ordered=True) == []
    await settling.commit()
    [follower] = await claim_all(store.log, "a", ordered=True)
    assert follower.event.seq > head.event.seq


async def test_one_process_at_a_time_claims_from_an_ordered_sink(
    opened: Opener, admin: asyncpg.Connection, make: Maker
) -> None:
    store = await opened()
    first, second = (make.sent("a", ordered=True, key="k") for _ in range(2))
    await store.log.append(first)
    await store.log.append(second)
    claiming = admin.transaction()  # another process, that has not seen the first one
    await claiming.start()
    assert await admin.fetchval(LOCK_SINK, "a")
    await admin.execute(
        "UPDATE deliveries SET state = 'leased', owner = 'node-b', token = 1 WHERE id = $1",
        second.events[0].deliveries[0].id,
    )
    assert await claim_all(store.log, "a", ordered=True) == []
    await claiming.commit()
    assert await claim_all(store.log, "a", ordered=True) == []


async def test_bursts_of_hints_are_told_once(opened: Opener, admin: asyncpg.Connection) -> None:
    store = await opened()
    heard: list[object] = []
    await admin.add_listener("comporta", lambda *args: heard.append(args[-1]))
    started = asyncio.get_running_loop().time()
    for _ in range(2000):
        await store.notify("deliveries", "sink-a")
        await asyncio.sleep(0)
    await store.notify("config", "end")
    await until_true(lambda: any("end" in str(hint) for hint in heard))
    elapsed = asyncio.get_running_loop().time() - started
    assert 2 <= len(heard) <= 3 + elapsed / WINDOW


async def test_who_missed_hints_is_told_so(opened: Opener, admin: asyncpg.Connection) -> None:
    one, two = await opened("node-a"), await opened("node-b")
    heard: list[tuple[Topic, str]] = []
    two.listen(lambda topic, payload: heard.append((topic, payload)))
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await until_true(lambda: {("config", ""), ("deliveries", ""), ("events", "")} <= set(heard))
    await one.notify("config", "half\ud800 nul\0")
    await one.notify("config", "x" * 9000)  # more than a NOTIFY holds
    await one.notify("config", "sink/1")
    await until_true(lambda: ("config", "sink/1") in heard)
    assert await one.database.now()


async def test_a_database_without_tables_is_unavailable(
    opened: Opener, admin: asyncpg.Connection, make: Maker
) -> None:
    store = await opened()
    await admin.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(StoreUnavailableError):
        await store.log.append(make.sent("a"))
    with pytest.raises(StoreUnavailableError):
        await store.check()


async def test_closing_twice_leaves_nothing(
    opened: Opener, admin: asyncpg.Connection, make: Maker
) -> None:
    store = await opened()
    await store.log.append(make.sent("a", leased=True))
    await store.close()
    await store.close()
    assert await admin.fetchval("SELECT count(*) FROM nodes") == 0
    assert await admin.fetchval("SELECT state FROM deliveries") == "pending"
    with pytest.raises(StoreUnavailableError):
        await store.log.append(make.sent("a"))
