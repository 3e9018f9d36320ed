"""A copy of the embedded store: one moment of it, whole, and able to take its place."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from gateway.store.base import Store
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite.backup import copy_out, put_back
from schemas.errors import StoreUnavailableError
from tests.store.rows import Clock, Maker, claim_all, count, delivered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "comporta.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[Store]:
    made = await opened(path, clock)
    yield made
    await made.close()


async def opened(path: Path, clock: Clock) -> Store:
    return await open_sqlite(path, node="node-a", lease_seconds=10, clock=clock)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def copy(path: Path, target: Path) -> int:
    return copy_out(path, target, lambda _done, _all: None)


async def test_a_copy_made_under_load_is_one_moment_of_the_store(
    store: Store, path: Path, tmp_path: Path, make: Maker, clock: Clock
) -> None:
    """Every request is in it wholly or not at all, and nothing acknowledged before is missing."""
    before = [await store.log.append(make.sent("a")) for _ in range(50)]
    going = True

    async def load() -> None:
        while going:
            await asyncio.gather(*(store.log.append(make.sent("a", "b")) for _ in range(20)))

    loading = asyncio.create_task(load())
    pages: list[tuple[int, int]] = []
    target = tmp_path / "copy.db"
    await asyncio.to_thread(copy_out, path, target, lambda *told: pages.append(told))
    going = False
    await loading
    written = await count(store, "events")

    assert pages[-1][0] == pages[-1][1] > 0
    other = await opened(target, clock)
    kept = await count(other, "events")
    assert 50 <= kept <= written
    assert await count(other, "inbounds") == kept
    assert await count(other, "deliveries") == 50 + 2 * (kept - 50)
    sql = "SELECT id FROM events ORDER BY seq LIMIT 50"
    assert await other.database.fetch(sql) == [(a.events[0].id,) for a in before]
    await other.close()


async def test_a_copy_takes_the_place_of_the_store(
    store: Store, path: Path, tmp_path: Path, make: Maker, clock: Clock
) -> None:
    item = make.sent("a")
    await store.log.append(item)
    target = tmp_path / "copy.db"
    assert copy(path, target) == target.stat().st_size
    for one in await claim_all(store.log, "a"):
        await store.log.settle([delivered(one)])
    await store.log.append(make.sent("a"))
    await store.close()

    before = put_back(target, path)

    again = await opened(path, clock)
    assert await count(again, "events") == 1
    assert len(await claim_all(again.log, "a")) == 1  # what waited then waits again
    assert (await again.log.append(make.retold(item))).duplicate
    await again.close()
    assert before is not None
    replaced = await opened(before, clock)
    assert await count(replaced, "events") == 2
    await replaced.close()
    assert target.exists()


async def test_what_is_replaced_keeps_the_commits_of_its_log(
    store: Store, path: Path, tmp_path: Path, make: Maker, clock: Clock
) -> None:
    """After a kill they are nowhere else."""
    target = tmp_path / "copy.db"
    copy(path, target)
    killed = tmp_path / "killed" / "comporta.db"
    killed.parent.mkdir()
    await store.log.append(make.sent("a"))
    for end in ("", "-wal"):
        copied = path.with_name(path.name + end).read_bytes()
        killed.with_name(killed.name + end).write_bytes(copied)

    first, second = put_back(target, killed), put_back(target, killed)

    assert first is not None
    assert second is not None
    assert second != first
    replaced = await opened(first, clock)
    assert await count(replaced, "events") == 1
    await replaced.close()
    assert not killed.with_name("comporta.db-wal").exists()


async def test_a_store_that_is_served_is_not_replaced(
    store: Store, path: Path, tmp_path: Path, make: Maker
) -> None:
    copy(path, tmp_path / "copy.db")

    with pytest.raises(StoreUnavailableError, match="served by another process"):
        put_back(tmp_path / "copy.db", path)

    await store.log.append(make.sent("a"))


async def test_only_the_owner_reads_a_copy(store: Store, path: Path, tmp_path: Path) -> None:
    copy(path, tmp_path / "copy.db")

    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert names(tmp_path) == {"data", "copy.db"}


async def test_nothing_is_overwritten(store: Store, path: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")

    with pytest.raises(FileExistsError):
        copy(path, tmp_path / "copy.db")

    assert (tmp_path / "copy.db").read_text() == "precious"


def test_there_must_be_something_to_copy(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="there is no database"):
        copy(tmp_path / "none.db", tmp_path / "copy.db")


def _text(path: Path) -> None:
    path.write_text("this is no database, but long enough to be looked at " * 100)


def _foreign(path: Path) -> None:
    with apsw.Connection(str(path)) as connection:
        connection.execute("CREATE TABLE t (x)")


def _newer(path: Path) -> None:
    with apsw.Connection(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (9999, 'later', 0)")


def _damaged(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)


@pytest.mark.parametrize("spoil", [_text, _foreign, _newer, _damaged])
async def test_what_is_no_sound_store_takes_no_place(
    store: Store, path: Path, make: Maker, clock: Clock, spoil: object
) -> None:
    for _ in range(20):
        await store.log.append(make.sent("a"))
    target = path.parent.with_name("copy.db")
    if spoil in {_newer, _damaged}:
        copy(path, target)
    await store.close()
    assert callable(spoil)
    spoil(target)

    with pytest.raises(StoreUnavailableError):
        put_back(target, path)

    again = await opened(path, clock)
    assert await count(again, "events") == 20
    await again.close()
    assert names(path.parent) <= {"comporta.db", "comporta.db.lock"}
