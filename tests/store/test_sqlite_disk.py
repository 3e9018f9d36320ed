"""SQLite on disks that fail: power cuts, no space left, damage."""

import asyncio
import random
from pathlib import Path

import pytest

from gateway.store.base import NewJob
from schemas.errors import StoreUnavailableError
from tests.store.disks import Disk
from tests.store.power import LONG, lost_at_a_power_cut, opened
from tests.store.rows import Clock, Maker, claim_all, count, delivered

APPENDS = 600


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Disk:
    return Disk(f"disk-{request.node.name}")


@pytest.fixture
def make() -> Maker:
    return Maker(Clock())


@pytest.mark.parametrize("pages", [300, LONG], ids=["copied back", "only logged"])
@pytest.mark.parametrize("seed", [None, 1, 2])
async def test_a_power_cut_loses_nothing_acknowledged(
    disk: Disk, tmp_path: Path, make: Maker, seed: int | None, pages: int
) -> None:
    chance = None if seed is None else random.Random(seed)

    assert (
        await lost_at_a_power_cut(disk, tmp_path, make, APPENDS, chance, checkpoint_pages=pages)
        == 0
    )


async def test_the_power_cut_test_can_fail(disk: Disk, tmp_path: Path, make: Maker) -> None:
    careless = {"synchronous": "NORMAL", "checkpoint_pages": LONG}

    assert await lost_at_a_power_cut(disk, tmp_path, make, APPENDS, None, **careless) > APPENDS / 2


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
