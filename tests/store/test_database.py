"""The cold half: one statement at a time, the same on both engines."""

import asyncio

import pytest

from gateway.store.base import Store
from schemas.errors import StoreUnavailableError
from tests.store.rigs import Rig
from tests.store.rows import Maker, count

PUT = (
    "INSERT INTO records (kind, id, tenant, name, doc, version, created_at, updated_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $7)"
    " ON CONFLICT (kind, id) DO UPDATE SET doc = excluded.doc, version = records.version + 1"
    " RETURNING version, doc"
)


async def put(store: Store, ident: str, name: str, doc: str = "{}") -> list[tuple[object, ...]]:
    return await store.database.write(PUT, "sink", ident, "default", name, doc, 1, 5)


async def test_a_write_gives_its_rows_and_is_read_at_once(store: Store) -> None:
    assert await put(store, "a", "first", '{"é":"\U0001f6cd"}') == [(1, '{"é":"\U0001f6cd"}')]
    assert await put(store, "a", "first", "{}") == [(2, "{}")]

    rows = await store.database.fetch(
        "SELECT id, name, created_at, updated_at FROM records WHERE tenant = $1 AND kind = $2",
        "default",
        "sink",
    )
    assert rows == [("a", "first", 5, 5)]
    assert isinstance(rows[0], tuple)
    assert await store.database.write("DELETE FROM records WHERE id = $1", "a") == []
    assert await store.database.fetch("SELECT 1 FROM records") == []


async def test_every_kind_of_value(store: Store) -> None:
    rows = await store.database.fetch(
        "SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($1 AS BIGINT) + 1, CAST($3 AS TEXT)",
        2**62,
        "a'\"b",
        None,
    )
    assert rows == [(2**62, "a'\"b", 2**62 + 1, None)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT * FROM no_such_table",
        "INSERT INTO records (kind) VALUES ('x')",
        "INSERT INTO records SELECT 'sink', 'b', 'default', 'taken', '{}', 1, 1, 1",
    ],
    ids=["syntax", "table", "not null", "unique"],
)
async def test_a_wrong_statement_fails_alone(store: Store, make: Maker, sql: str) -> None:
    await put(store, "a", "taken")

    wrong, right, appended = await asyncio.gather(
        store.database.write(sql),
        put(store, "c", "free"),
        store.log.append(make.sent()),
        return_exceptions=True,
    )

    assert isinstance(wrong, Exception)
    assert not isinstance(wrong, StoreUnavailableError)
    assert not isinstance(right, BaseException)
    assert not isinstance(appended, BaseException)
    assert await count(store, "records") == 2


async def test_reading_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"read.?only"):
        await store.database.fetch("DELETE FROM records")


async def test_pages_stay_whole_while_events_come(store: Store, make: Maker) -> None:
    first = [(await store.log.append(make.sent())).events[0].seq for _ in range(200)]

    async def more() -> None:
        for _ in range(200):
            await store.log.append(make.sent())

    writing = asyncio.create_task(more())
    seen: list[int] = []
    below = 2**62
    while rows := await store.database.fetch(
        "SELECT seq FROM events WHERE tenant = $1 AND instance = $2 AND seq < $3"
        " ORDER BY seq DESC LIMIT 30",
        "default",
        "loja-1",
        below,
    ):
        seen += [seq for (seq,) in rows]
        below = seen[-1]
        await asyncio.sleep(0)
    await writing

    assert seen == sorted(set(seen), reverse=True)
    assert seen[-200:] == first[::-1]


async def test_now_is_the_stores_clock(rig: Rig, store: Store) -> None:
    assert await store.database.now() == rig.clock.now
    rig.clock.advance(1)
    assert await store.database.now() == rig.clock.now


async def test_a_checked_store_takes_writes(store: Store) -> None:
    await store.check()
    assert await count(store, "seen") == 0


async def test_a_closed_store_says_so(rig: Rig, make: Maker) -> None:
    store = await rig.open()
    await store.close()
    await store.close()

    for attempted in (
        store.log.append(make.sent()),
        store.log.claim({"sink-a": 1}),
        store.log.heartbeat(),
        store.database.fetch("SELECT 1"),
        store.database.write("DELETE FROM records"),
        store.check(),
    ):
        with pytest.raises(StoreUnavailableError):
            await attempted


async def test_closing_finishes_what_waits(rig: Rig, make: Maker) -> None:
    store = await rig.open()
    appends = [asyncio.create_task(store.log.append(make.sent())) for _ in range(100)]
    await asyncio.sleep(0)
    await store.close()
    answers = await asyncio.gather(*appends)

    store = await rig.open()
    assert len({answer.events[0].id for answer in answers}) == 100
    assert await count(store, "events") == 100
