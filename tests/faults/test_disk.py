"""The disk of the embedded store: power cut, no space, a lock of another's: rows 5, 12, 13."""

import asyncio
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import psutil
import pytest

from tests.e2e.program import Program
from tests.faults.conftest import Scene
from tests.faults.ledger import Audit
from tests.faults.provider import INSTANCE, Provider
from tests.store.disks import Disk
from tests.store.power import LONG, lost_at_a_power_cut
from tests.store.rows import Clock, Maker
from tests.store.waiting import until

ACKNOWLEDGED = 1_000
SIZE = "128m"
NEARLY_FULL = 2_400_000  # bytes that are left: less than the share that is kept free


@pytest.mark.fault(5)
async def test_a_power_cut_takes_nothing_acknowledged(tmp_path: Path, scene: Scene) -> None:
    """What was not synced is undone, or by chance partly done; without the sync it must show."""
    tries = scene.pick(1, 10)
    lost = 0
    for seed in range(tries):
        disk, chance = Disk(f"power-{seed}"), random.Random(seed) if seed else None
        folder = tmp_path / str(seed)
        folder.mkdir()
        lost += await lost_at_a_power_cut(disk, folder, Maker(Clock()), ACKNOWLEDGED, chance)
    careless = {"synchronous": "NORMAL", "checkpoint_pages": LONG}
    disk, make = Disk("power-careless"), Maker(Clock())
    assert await lost_at_a_power_cut(disk, tmp_path, make, ACKNOWLEDGED, None, **careless) > 500
    rows = tries * ACKNOWLEDGED
    found = Audit(rows, 0, rows - lost, 0, set(map(str, range(lost))), 0, set(), set())
    scene.report("power cut", found, tries=tries, note="undone to the last sync")


class SmallDisk:
    """A file system of our own where we may mount one; else a limit on the program's files."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder, self.mounted = folder, mounted
        self._ballast = folder / "ballast"

    def fill(self, node: Program, leave: int = 0) -> None:
        """Until so many bytes are left."""
        if not self.mounted:
            _limit(node, (self.folder / "comporta.db-wal").stat().st_size)
            return
        with self._ballast.open("ab", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(bytes(1 << 14))
            file.truncate(max(0, self._ballast.stat().st_size - leave))

    def free(self, node: Program) -> None:
        if self.mounted:
            self._ballast.unlink()
        else:
            _limit(node, resource.RLIM_INFINITY)


def _limit(node: Program, size: int) -> None:
    assert node.process
    process = psutil.Process(node.process.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "data"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    yield SmallDisk(folder, mounted=mounted)
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def refused(provider: Provider) -> bool:
    """Asked slowly, not to fill what is left meanwhile."""
    await asyncio.sleep(0.2)
    return await provider.tell(provider.fresh()) == 503


async def unready(node: Program) -> bool:
    return (await node.call("GET", "/readyz")).status == 503


@pytest.mark.fault(12)
async def test_a_full_disk(small_disk: SmallDisk, node: Program, scene: Scene) -> None:
    """First nearly full, when things can still be deleted, then to the last byte under load."""
    await node.start()
    provider = await scene.provider(node)
    await node.webhook(INSTANCE, scene.witness.url, "unwanted", enabled=False)
    await provider.tell_all(range(1000, 1005))

    small_disk.fill(node, leave=NEARLY_FULL)
    if small_disk.mounted:
        await until(lambda: refused(provider))
        await until(lambda: unready(node))
        await reads_work(node)
        gone = await node.call("DELETE", f"/webhook/set/{INSTANCE}/unwanted")
        assert gone.status == 204, gone.body
        small_disk.free(node)
        await until(lambda: provider.tells(node))

    async with provider.busy(posters=8):
        await provider.acknowledges(50)
        with scene.ledger.fault():
            small_disk.fill(node)
            await until(lambda: refused(provider), 30)
            await until(lambda: unready(node), 30)
            await reads_work(node)
            small_disk.free(node)
            freed = time.monotonic()
            await provider.acknowledges(50)
        recovery = time.monotonic() - freed
    await scene.all_arrived()
    assert not provider.wrong
    found = await scene.audit(node)
    await node.end()
    assert sound(node.folder / "data" / "comporta.db")
    note = f"tmpfs of {SIZE}" if small_disk.mounted else "a limit on files: mounting was refused"
    scene.report("disk full", found, tries=2, recovery=recovery, note=note)


async def reads_work(node: Program) -> None:
    for path in ("/healthz", "/processing/events", f"/webhook/find/{INSTANCE}"):
        assert (await node.call("GET", path)).status == 200


def sound(path: Path) -> bool:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


HOLD = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process has the file for itself."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            assert other.stdin
            other.stdin.close()


@pytest.mark.fault(13)
async def test_a_lock_of_another_process(node: Program, scene: Scene) -> None:
    """Waits a while, then says 503; meanwhile everything that writes nothing is answered."""
    await node.start()
    provider = await scene.provider(node)
    await provider.tell_all(range(5))
    with scene.ledger.fault():
        with locked(node.folder / "data" / "comporta.db"):
            telling = asyncio.ensure_future(provider.tell(5))
            meanwhile, slowest = 0, 0.0
            while not telling.done():
                began = time.monotonic()
                assert (await node.call("GET", "/healthz")).status == 200
                slowest = max(slowest, time.monotonic() - began)
                meanwhile += 1
                await asyncio.sleep(0.05)
            assert await telling == 503
        freed = time.monotonic()
        await provider.insist(5)
        recovery = time.monotonic() - freed
    assert meanwhile > 10
    await scene.all_arrived()
    note = f"slowest health page {1000 * slowest:.0f} ms"
    found = await scene.audit(node)
    assert not found.duplicates
    scene.report("locked by another", found, recovery=recovery, note=note)
    scene.must_be_within(slowest, 0.1)
