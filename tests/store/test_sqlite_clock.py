"""Somebody sets the clock of the machine: what is to be done later is as far away as it was."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.store.base import NewJob
from gateway.store.sqlite import SqliteStore, open_sqlite
from gateway.store.sqlite.clock import StoreClock
from tests.store.rows import NOON, SECOND, Maker, claim_all, delivered, failed
from tests.store.rows import Clock as Still

HOUR = 3600 * SECOND
STEPS = (HOUR, -HOUR, 10 * HOUR, -600 * SECOND)


@dataclass
class Machine:
    """What passes, and what the clock on the wall says."""

    passed: int = 0
    set_by: int = 0

    def wall(self) -> int:
        return NOON + self.passed + self.set_by

    def elapsed(self) -> int:
        return self.passed

    def wait(self, seconds: float) -> None:
        self.passed += round(seconds * SECOND)

    async def opened(self, folder: Path) -> SqliteStore:
        clock = StoreClock(self.wall, self.elapsed)
        return await open_sqlite(folder / "c.db", node="a", lease_seconds=30, clock=clock)


async def put_off(store: SqliteStore, make: Maker) -> None:
    """Store a delivery that failed, and is due again in a minute."""
    await store.log.append(make.sent("sink-a"))
    [leased] = await claim_all(store.log, "sink-a")
    await store.log.settle([failed(leased)])


async def test_time_passes_evenly_and_shows_what_the_wall_says(tmp_path: Path) -> None:
    machine = Machine()
    store = await machine.opened(tmp_path)
    assert await store.database.now() == machine.wall()
    machine.set_by = HOUR
    machine.wait(1)
    assert await store.database.now() == machine.wall() - HOUR
    await store.log.heartbeat()
    assert await store.database.now() == machine.wall()
    await store.close()


@pytest.mark.parametrize("step", STEPS)
async def test_a_retry_stays_as_far_away(tmp_path: Path, step: int) -> None:
    machine, make = Machine(), Maker(Still())
    store = await machine.opened(tmp_path)
    await put_off(store, make)
    await store.log.put_job(NewJob(id="j", kind="k", doc=b"", due_in=60))
    machine.wait(20)
    machine.set_by = step

    await store.log.heartbeat()

    assert await store.log.due() == {"sink-a": pytest.approx(40, abs=0.1)}
    machine.wait(39)
    assert not await claim_all(store.log, "sink-a")
    assert not await store.log.claim_jobs(["k"], 10)
    machine.wait(2)
    [leased] = await claim_all(store.log, "sink-a")
    assert await store.log.claim_jobs(["k"], 10)
    assert await store.log.settle([delivered(leased)]) == frozenset()
    await store.close()


@pytest.mark.parametrize("step", STEPS)
async def test_what_is_due_stays_due(tmp_path: Path, step: int) -> None:
    machine, make = Machine(), Maker(Still())
    store = await machine.opened(tmp_path)
    await store.log.append(make.sent("sink-a"))
    machine.wait(60)
    machine.set_by = step

    assert len(await claim_all(store.log, "sink-a")) == 1
    assert await store.log.heartbeat() == 0
    await store.close()


async def test_a_clock_set_back_while_nothing_ran(tmp_path: Path) -> None:
    machine, make = Machine(), Maker(Still())
    store = await machine.opened(tmp_path)
    await put_off(store, make)
    await store.log.heartbeat()
    await store.close()
    machine.set_by = -HOUR

    store = await machine.opened(tmp_path)

    assert await store.log.due() == {"sink-a": pytest.approx(60, abs=0.1)}
    await store.close()


async def test_what_waits_for_an_earlier_event_goes_on_waiting(tmp_path: Path) -> None:
    machine, make = Machine(), Maker(Still())
    store = await machine.opened(tmp_path)
    for _ in range(2):
        await store.log.append(make.sent("sink-a", ordered=True, key="order-1"))
    [head] = await claim_all(store.log, "sink-a", ordered=True)
    assert not await claim_all(store.log, "sink-a", ordered=True)
    machine.set_by = 10 * HOUR
    await store.log.heartbeat()

    assert not await claim_all(store.log, "sink-a", ordered=True)

    assert await store.log.settle([delivered(head)]) == frozenset()
    assert len(await claim_all(store.log, "sink-a", ordered=True)) == 1
    await store.close()
