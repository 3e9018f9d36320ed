"""SQLite and processes: one serves, a killed one loses nothing, others' locks are waited out."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from gateway.store.sqlite import SqliteStore, Tuning, open_sqlite
from gateway.store.sqlite.connection import refuse_version
from schemas.errors import StoreUnavailableError
from tests.store.rows import Clock, Maker, claim_all, count, delivered

ROOT = Path(__file__).parents[2]
PATIENCE = 0.4  # seconds that these stores wait for a lock


@pytest.fixture
def make() -> Maker:
    return Maker(Clock())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "comporta.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    tuning = Tuning(busy_seconds=PATIENCE)
    store = await open_sqlite(path, node="a", lease_seconds=10, tuning=tuning)
    yield store
    await store.close()


def doomed(path: Path, point: str, passes: int) -> tuple[list[str], list[str]]:
    """Delivery keys sent and acknowledged by a process that is then killed at the point."""
    command = [sys.executable, "-m", "tests.store.doomed", str(path), point, str(passes)]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    return tuple([w[1] for w in words if w[0] == verb] for verb in ("sent", "acked"))  # type: ignore[return-value]  # there are two verbs


@pytest.mark.parametrize(("point", "kept"), [("before_commit", False), ("after_commit", True)])
async def test_a_killed_process_keeps_its_word(
    path: Path, make: Maker, point: str, kept: bool
) -> None:
    sent, acked = doomed(path, point, 20)
    assert (len(sent), len(acked)) == (20, 19)

    store = await open_sqlite(path, node="b", lease_seconds=1e6)
    rows = await store.database.fetch("SELECT delivery_key FROM inbounds ORDER BY id")
    assert [key for (key,) in rows] == (sent if kept else acked)
    # Its leases are void at once, not when they run out.
    assert len(await claim_all(store.log, "sink-a")) == len(rows)
    answer = await store.log.append(make.append(key=sent[-1]))
    assert answer.duplicate is kept
    await store.close()


async def test_a_second_process_is_told_who_serves(path: Path, store: SqliteStore) -> None:
    code = (
        "import asyncio, sys\nfrom gateway.store import open_store\n"
        "asyncio.run(open_store(sys.argv[1], node='b', lease_seconds=10))"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{path}"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "is served by another process" in done.stderr.splitlines()[-1]

    with pytest.raises(StoreUnavailableError, match=r"comporta\.db is served by another process"):
        await open_sqlite(path, node="b", lease_seconds=10)
    await store.check()


async def test_a_closed_file_can_be_opened_again(path: Path) -> None:
    for node in "abc":
        store = await open_sqlite(path, node=node, lease_seconds=10)
        await store.close()
        assert path.with_name("comporta.db.lock").read_text() == ""


class Ticks:
    """The longest time in which the event loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before)
            before = now

    def stop(self) -> float:
        self._task.cancel()
        return self.longest


async def test_a_lock_is_waited_out_beside_the_loop(
    path: Path, store: SqliteStore, make: Maker
) -> None:
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    ticks, started = Ticks(), time.perf_counter()

    with pytest.raises(StoreUnavailableError, match="locked"):
        await store.log.append(make.sent("sink-a"))

    assert time.perf_counter() - started >= PATIENCE
    assert ticks.stop() < 0.1
    assert await count(store, "events") == 0  # reading goes on
    with pytest.raises(StoreUnavailableError):
        await store.check()

    asyncio.get_running_loop().call_later(PATIENCE / 4, other.execute, "ROLLBACK")
    answer = await store.log.append(make.sent("sink-a"))
    assert not answer.duplicate
    other.close()


async def test_what_waits_is_bounded_by_number(path: Path, store: SqliteStore, make: Maker) -> None:
    await store.log.append(make.sent("sink-a", leased=True))
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    waiting = [asyncio.ensure_future(store.log.append(make.sent())) for _ in range(4100)]
    await asyncio.sleep(0)

    refused = [one for one in waiting if one.done()]
    assert len(refused) == 100
    assert {type(one.exception()) for one in refused} == {StoreUnavailableError}
    beat = asyncio.ensure_future(store.log.heartbeat())  # never refused for what waits
    await asyncio.sleep(0)
    assert not beat.done()
    other.execute("ROLLBACK")
    answers = await asyncio.gather(*(one for one in waiting if one not in refused))
    assert len({answer.inbound_id for answer in answers}) == 4000
    assert await beat == 0
    other.close()


async def test_what_waits_is_bounded_by_size(path: Path, store: SqliteStore, make: Maker) -> None:
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    body = bytes(2 << 20)
    waiting = [
        asyncio.ensure_future(store.log.append(make.append(inbound=make.inbound(body=body))))
        for _ in range(40)
    ]
    await asyncio.sleep(0)

    assert [one.done() for one in waiting] == [False] * 31 + [True] * 9
    other.execute("ROLLBACK")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(one, StoreUnavailableError) for one in results] == [False] * 31 + [True] * 9
    await store.log.append(make.append(inbound=make.inbound(body=body)))
    other.close()


async def test_the_last_writes_are_not_forgotten(store: SqliteStore, make: Maker) -> None:
    """Also those that come when the end is near: a full batch, and one more."""
    waiting = [asyncio.ensure_future(store.log.append(make.sent())) for _ in range(513)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await store._writer.close()

    assert len({(await one).inbound_id for one in waiting}) == 513
    assert await count(store, "events") == 513


async def test_many_callers_share_a_commit(path: Path, make: Maker) -> None:
    heard: list[tuple[str, float]] = []
    store = await open_sqlite(
        path, node="a", lease_seconds=10, observe=lambda name, value: heard.append((name, value))
    )
    heard.clear()
    await asyncio.gather(*(store.log.append(make.sent()) for _ in range(1000)))

    sizes = [value for name, value in heard if name == "batch_size"]
    seconds = [value for name, value in heard if name == "commit_seconds"]
    await store.close()
    assert sum(sizes) == 1000
    assert len(sizes) == len(seconds) <= 10
    assert all(0 < one < 10 for one in seconds)


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.50.6", "3.44.5", "3.7.0"])
def test_versions_that_corrupt_are_refused(version: str) -> None:
    with pytest.raises(StoreUnavailableError, match=version.replace(".", r"\.")):
        refuse_version(version)


@pytest.mark.parametrize("version", ["3.51.3", "3.50.7", "3.44.6", "3.52.0", "4.0", "3.54.1"])
def test_versions_that_are_sound_are_taken(version: str) -> None:
    refuse_version(version)
    refuse_version(apsw.sqlite_lib_version())


async def test_a_result_is_kept_while_appends_are_refused(
    path: Path, store: SqliteStore, make: Maker
) -> None:
    await store.log.append(make.sent("sink-a"))
    [leased] = await claim_all(store.log, "sink-a")
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    waiting = [asyncio.ensure_future(store.log.append(make.sent())) for _ in range(4001)]
    settled = asyncio.ensure_future(store.log.settle([delivered(leased)]))
    await asyncio.sleep(0)
    assert waiting[-1].done()
    assert not settled.done()

    other.execute("ROLLBACK")
    assert await settled == frozenset()
    await asyncio.gather(*waiting, return_exceptions=True)
    other.close()


async def test_what_waits_is_bounded_by_time(path: Path, make: Maker) -> None:
    """A store that stands still refuses the next instead of making it wait, too."""
    store = await open_sqlite(
        path, node="a", lease_seconds=10, tuning=Tuning(max_waiting_seconds=0.05)
    )
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    first = asyncio.ensure_future(store.log.append(make.sent()))

    async with asyncio.timeout(5):
        while True:
            second = asyncio.ensure_future(store.log.append(make.sent()))
            await asyncio.sleep(0.01)
            if second.done():
                break

    with pytest.raises(StoreUnavailableError, match="too long"):
        await second
    other.execute("ROLLBACK")
    other.close()
    await first
    async with asyncio.timeout(5):
        while True:
            try:
                await store.log.append(make.sent())
            except StoreUnavailableError:
                await asyncio.sleep(0.01)
            else:
                break
    await store.close()
