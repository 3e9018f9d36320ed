"""Requests and answers by day: written where they belong, dropped as a whole, never what is still
needed.
"""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway.store import migrate
from gateway.store.base import Settlement, Store
from gateway.store.postgres import days
from gateway.store.scan import first_id
from tests.store.rigs import PostgresRig
from tests.store.rows import SECOND, Clock, Maker, attempt, claim_all, count, delivered, failed

DAY = 86_400
DAYS = 4  # the migration that brought them
AGE = 30 * DAY * SECOND


@pytest.fixture
async def rig(postgres_db: str) -> AsyncIterator[PostgresRig]:
    """Its clock is at noon of tomorrow, for which there is a part."""
    made = PostgresRig(postgres_db)
    today = int(time.time()) // DAY * DAY
    made.clock.now = (today + DAY + DAY // 2) * SECOND
    yield made
    await made.close()


def name(table: str, clock: Clock) -> str:
    return f"{table}_{datetime.fromtimestamp(clock.now / 1e6, UTC):%Y%m%d}"


async def places(store: Store, table: str) -> list[str]:
    """Where each row is."""
    sql = f"SELECT tableoid::regclass::text FROM {table} ORDER BY 1"
    return [place for (place,) in await store.database.fetch(sql)]


async def purge(store: Store, clock: Clock) -> None:
    while await store.log.purge(clock.now - AGE):
        pass


async def send_all(store: Store, *sinks: str) -> None:
    for one in await claim_all(store.log, *sinks):
        await store.log.settle([delivered(one, attempt=attempt())])


@pytest.mark.parametrize("day", ["1970-01-01", "2026-01-01", "2026-11-22", "2089-12-31"])
async def test_a_day_begins_where_its_ids_do(store: Store, day: str) -> None:
    rows = await store.database.fetch(f"SELECT comporta_first_id('{day}'::date)")
    begins = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()

    assert rows == [(first_id(int(begins * 1e6)),)]


async def test_a_day_goes_as_one(store: Store, make: Maker, clock: Clock) -> None:
    parts = [name("attempts", clock), name("inbounds", clock)]
    for _ in range(3):
        await store.log.append(make.sent("sink-a"))
    await send_all(store, "sink-a")
    assert await places(store, "inbounds") == [parts[1]] * 3
    assert await places(store, "attempts") == [parts[0]] * 3
    before = await store.database.fetch("SELECT part FROM days")

    clock.advance(29 * DAY)
    await purge(store, clock)
    assert await count(store, "inbounds") == 3
    clock.advance(2 * DAY)
    await purge(store, clock)

    for table in ("inbounds", "attempts", "events", "deliveries"):
        assert await count(store, table) == 0, table
    after = await store.database.fetch("SELECT part FROM days")
    assert {part for (part,) in before} - {part for (part,) in after} >= set(parts)
    assert (await store.database.fetch(f"SELECT to_regclass('{parts[0]}')")) == [(None,)]


async def test_what_is_still_needed_outlives_its_day(
    store: Store, make: Maker, clock: Clock
) -> None:
    """Work that waits with its tries and its request, and a request that is asked about."""
    await store.log.append(make.append(inbound=make.inbound(outcome="enriching")))
    waiting, done = make.sent("sink-a"), make.sent("sink-b")
    await store.log.append(waiting)
    await store.log.append(done)
    (one,) = await claim_all(store.log, "sink-a")
    later: Settlement = failed(one)
    later.delay = 99 * DAY
    await store.log.settle([later])
    await send_all(store, "sink-b")

    clock.advance(40 * DAY)
    await purge(store, clock)

    assert await places(store, "inbounds") == ["inbounds_other"] * 2
    assert await places(store, "attempts") == ["attempts_other"]
    assert waiting.inbound is not None
    rows = await store.database.fetch("SELECT body FROM inbounds WHERE outcome = 'accepted'")
    assert rows == [(waiting.inbound.body,)]
    clock.advance(60 * DAY)
    await send_all(store, "sink-a")
    clock.advance(40 * DAY)
    await purge(store, clock)
    assert await count(store, "attempts") == 0
    assert await count(store, "inbounds") == 1  # it is still being asked about


async def test_a_day_of_which_much_is_needed_stays(
    store: Store, make: Maker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "MOST_KEPT", 1)
    part = name("inbounds", clock)
    for _ in range(2):
        await store.log.append(make.sent("sink-a"))
    clock.advance(40 * DAY)

    await purge(store, clock)

    assert await places(store, "inbounds") == [part] * 2


async def test_a_lock_of_others_is_not_waited_for(
    store: Store, make: Maker, clock: Clock, postgres_db: str
) -> None:
    """A dump may hold it for hours: ingestion must not stand behind us."""
    part = name("inbounds", clock)
    await store.log.append(make.sent())
    clock.advance(40 * DAY)
    dump = await asyncpg.connect(postgres_db)
    await dump.execute("BEGIN; LOCK TABLE inbounds IN ACCESS SHARE MODE")

    await purge(store, clock)

    assert await places(store, "inbounds") == [part]
    await dump.execute("ROLLBACK")
    await dump.close()
    await purge(store, clock)
    assert await count(store, "inbounds") == 0


async def test_what_came_before_its_day_was_made_moves_there(
    store: Store, make: Maker, clock: Clock
) -> None:
    clock.advance(3 * DAY)
    await store.log.append(make.sent("sink-a"))
    await send_all(store, "sink-a")
    assert await places(store, "inbounds") == ["inbounds_other"]

    for table, key in days.KEYS.items():
        await store.database.write(f"SELECT comporta_make_days('{table}', '{key}', 6)")

    assert await places(store, "inbounds") == [name("inbounds", clock)]
    assert await places(store, "attempts") == [name("attempts", clock)]


async def test_days_are_made_ahead_once(store: Store, rig: PostgresRig) -> None:
    await rig.open("node-b")

    rows = await store.database.fetch("SELECT parent, part FROM days ORDER BY upto")
    today = datetime.now(UTC)
    for table in days.KEYS:
        parts = [part for parent, part in rows if parent == table]
        ahead = [f"{table}_{today + timedelta(days=n):%Y%m%d}" for n in range(1, days.AHEAD + 1)]
        assert parts == [f"{table}_before", *ahead]


async def test_a_missing_day_is_made_by_whoever_purges(store: Store, clock: Clock) -> None:
    sql = "SELECT parent, part, upto FROM days ORDER BY 3, 1"
    before = await store.database.fetch(sql)
    for parent, part, _ in before[-2:]:
        await store.database.write(f"ALTER TABLE {parent} DETACH PARTITION {part}")
        await store.database.write(f"DROP TABLE {part}")
        await store.database.write("DELETE FROM days WHERE part = $1 RETURNING 1", part)

    await purge(store, clock)

    assert await store.database.fetch(sql) == before


@pytest.mark.parametrize("far_ahead", [False, True])
async def test_a_store_of_before_is_taken_over_while_it_is_used(
    postgres_db: str, far_ahead: bool
) -> None:
    """Its rows stay where they are, and statements that were prepared before go on."""
    old = await asyncpg.connect(postgres_db)
    await old.execute(migrate.TABLE)
    steps = migrate.available("postgres")
    before = [step for step in steps if step.version < DAYS]
    for step in before:
        await old.execute(step.sql)
        await old.execute(migrate.RECORD, step.version, step.name, 0)
    clock = Clock(int(time.time() * 1e6) + (400 * DAY * SECOND if far_ahead else 0))
    ids = Maker(clock).ids
    insert = await old.prepare(
        "INSERT INTO inbounds VALUES ($1, 't', 'i', NULL, 'd', 1, 'POST', '', '', '', 'accepted',"
        " NULL, 'k', '[]')"
    )
    tried = await old.prepare(
        "INSERT INTO attempts VALUES ($1, 1, 1, 1, 'succeeded', 200, NULL, '', '')"
        " ON CONFLICT DO NOTHING"
    )
    for _ in range(3):
        await insert.fetch(ids())
        await tried.fetch(ids())

    rig = PostgresRig(postgres_db)
    store = await rig.open()
    assert await places(store, "inbounds") == ["inbounds_before"] * 3
    assert await places(store, "attempts") == ["attempts_before"] * 3
    clock.advance(1)
    await insert.fetch(ids())
    await tried.fetch(ids())

    assert await count(store, "inbounds") == await count(store, "attempts") == 4
    await rig.close()
    await old.close()
