"""SQLite on disks that fail: power cuts, no space left, damage."""

import asyncio
import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from gateway.store.base import Append, NewJob, Store
from gateway.store.sqlite import SqliteStore, Tuning, open_sqlite
from schemas.errors import StoreUnavailableError
from tests.store.disks import Disk
from tests.store.rows import Clock, Maker, attempt, claim_all, count, delivered

CALLERS, APPENDS = 20, 600
LONG = 1_000_000  # pages; a log that is never copied back


async def opened(path: Path, **tuning: Any) -> SqliteStore:
    return await open_sqlite(path, node="a", lease_seconds=10, tuning=Tuning(**tuning))


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Disk:
    return Disk(f"disk-{request.node.name}")


@pytest.fixture
def make() -> Maker:
    return Maker(Clock())


async def acknowledged(store: Store, make: Maker, enough: int) -> list[Append]:
    """Append from many callers, settle what was sent; stop when enough were acknowledged."""
    acked: list[Append] = []

    async def caller() -> None:
        while len(acked) < enough:
            item = make.sent("sink-a", data=random.Random(len(acked)).randbytes(3000))
            await store.log.append(item)
            acked.append(item)
            await store.log.settle(
                [delivered(one, attempt=attempt()) for one in await store.log.claim({"sink-a": 2})]
            )

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)
    for task in callers:
        task.cancel()
    return list(acked)


async def lost_at_a_power_cut(
    disk: Disk, folder: Path, make: Maker, chance: random.Random | None, **tuning: Any
) -> int:
    """How many acknowledged appends are gone afterwards. What is left must be sound."""
    store = await opened(folder / "before.db", vfs=disk.name, **tuning)
    acked = await acknowledged(store, make, APPENDS)
    disk.cut(folder / "after", chance)
    await store.close()

    left = folder / "after" / "before.db"
    connection = apsw.Connection(str(left))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    survivor = await opened(left)
    here = {ident for (ident,) in await survivor.database.fetch("SELECT id FROM inbounds")}
    events = {ident for (ident,) in await survivor.database.fetch("SELECT id FROM events")}
    # Whole or not at all: no inbound without its event and delivery.
    assert len(here) == len(events) == await count(survivor, "deliveries")
    await survivor.close()
    assert len(acked) >= APPENDS
    return len({item.inbound.id for item in acked if item.inbound} - here)


@pytest.mark.parametrize("pages", [300, LONG], ids=["copied back", "only logged"])
@pytest.mark.parametrize("seed", [None, 1, 2])
async def test_a_power_cut_loses_nothing_acknowledged(
    disk: Disk, tmp_path: Path, make: Maker, seed: int | None, pages: int
) -> None:
    chance = None if seed is None else random.Random(seed)

    assert await lost_at_a_power_cut(disk, tmp_path, make, chance, checkpoint_pages=pages) == 0


async def test_the_power_cut_test_can_fail(disk: Disk, tmp_path: Path, make: Maker) -> None:
    careless = {"synchronous": "NORMAL", "checkpoint_pages": LONG}

    assert await lost_at_a_power_cut(disk, tmp_path, make, None, **careless) > APPENDS / 2


async def test_a_full_disk_is_waited_out(disk: Disk, tmp_path: Path, make: Maker) -> None:
    store = await opened(tmp_path / "full.db", vfs=disk.name)
    kept = make.sent("sink-a")
    await store.log.append(kept)
    [leased] = await claim_all(store.log, "sink-a")
    refused = [make.sent("sink-a") for _ in range(20)]

    disk.full = True
    answers = await asyncio.gather(*map(store.log.append, refused), return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailableError}
    for attempted in (store.check(), store.log.heartbeat(), store.log.settle([delivered(leased)])):
        with pytest.raises(StoreUnavailableError):
            await attempted
    assert await count(store, "events") == 1

    disk.full = False
    await store.check()
    assert await store.log.settle([delivered(leased)]) == frozenset()
    again = await asyncio.gather(*map(store.log.append, refused))
    assert [answer.duplicate for answer in again] == [False] * 20
    assert await store.database.fetch("PRAGMA integrity_check") == [("ok",)]
    await store.close()


async def test_a_full_database_takes_small_things(tmp_path: Path, make: Maker) -> None:
    """A quota, as SQLite's own limit: what needs no new page still works."""
    store = await opened(tmp_path / "quota.db")
    item = make.sent("sink-a")
    await store.log.append(item)
    [leased] = await claim_all(store.log, "sink-a")
    pages = await store._writer.call(lambda sql, _: int(sql.value("PRAGMA page_count")))
    await store._writer.call(lambda sql, _: sql.run(f"PRAGMA max_page_count = {pages}"))

    with pytest.raises(StoreUnavailableError):
        await store.log.append(make.sent(data=bytes(100_000)))
    with pytest.raises(StoreUnavailableError):
        await store.check()
    assert await store.log.settle([delivered(leased)]) == frozenset()

    await store._writer.call(lambda sql, _: sql.run("PRAGMA max_page_count = 1000000"))
    await store.check()
    await store.log.append(make.sent(data=bytes(100_000)))
    await store.close()


async def test_a_damaged_file_is_not_served(tmp_path: Path, make: Maker) -> None:
    path = tmp_path / "damaged.db"
    store = await opened(path)
    for _ in range(20):
        await store.log.append(make.sent(data=bytes(9000)))
    await store.close()
    path.with_name("damaged.db.lock").write_text("1\n")  # its last process was killed
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)

    with pytest.raises(StoreUnavailableError, match=r"damaged|malformed"):
        await opened(path)
    with pytest.raises(StoreUnavailableError, match=r"damaged|malformed"):
        await opened(path)  # and not the second time, either


@pytest.mark.parametrize("what", ["no database", "a folder", "no such folder"])
async def test_what_cannot_be_opened_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "comporta.db"
    if what == "no database":
        path.write_bytes(b"this is a text, longer than any header of a database file is" * 100)
    elif what == "a folder":
        path.mkdir()
    else:
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "comporta.db"

    with pytest.raises(StoreUnavailableError, match=r"comporta\.db"):
        await opened(path)


async def test_only_the_owner_reads_the_file(tmp_path: Path, make: Maker) -> None:
    store = await opened(tmp_path / "data" / "comporta.db")
    await store.log.append(make.sent())

    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "data").iterdir()}
    await store.close()
    assert {"comporta.db", "comporta.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_the_log_is_copied_back_while_it_serves(tmp_path: Path, make: Maker) -> None:
    store = await opened(tmp_path / "comporta.db", checkpoint_pages=200)
    for _ in range(300):
        await store.log.append(make.sent(data=bytes(10_000)))
    size = (tmp_path / "comporta.db-wal").stat().st_size
    await store.log.put_job(NewJob(id="j", kind="k", doc=b""))
    await store.close()

    assert size < 400 * 4200
