"""Durable work: run when due, put off, taken again, never lost while this process lives."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from gateway import jobs as module
from gateway.jobs import DONE, Done, Jobs, Runner
from gateway.store.base import Job, NewJob, Store
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite.connection import Tuning
from tests.gateway.pipeline import eventually
from tests.sinks.receiver import until


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_sqlite(
        tmp_path / "comporta.db", node="n", lease_seconds=30, tuning=Tuning(busy_seconds=0.1)
    )
    yield opened
    await opened.close()


@asynccontextmanager
async def running(store: Store, runners: Mapping[str, Runner]) -> AsyncIterator[Jobs]:
    jobs = Jobs(store.log, store.database, runners)
    task = asyncio.create_task(jobs.run())
    try:
        yield jobs
    finally:
        await jobs.close()
        await asyncio.wait_for(task, 5)


async def put(store: Store, *idents: str, kind: str = "greet", due_in: float = 0.0) -> None:
    for ident in idents:
        await store.log.put_job(NewJob(id=ident, kind=kind, doc=b"{}", due_in=due_in))


async def left(store: Store) -> list[str]:
    return [row[0] for row in await store.database.fetch("SELECT id FROM jobs ORDER BY id")]


async def nothing_left(store: Store) -> None:
    async def look() -> bool:
        return not await left(store)

    await eventually(look)


async def test_a_due_job_runs_once_and_goes(store: Store) -> None:
    ran: list[str] = []

    async def greet(job: Job) -> None:
        ran.append(job.id)

    await put(store, "a", "b")
    await put(store, "later", due_in=3600)
    async with running(store, {"greet": greet}):
        await until(lambda: len(ran) == 2)

        async def look() -> bool:
            return await left(store) == ["later"]

        await eventually(look)

    assert sorted(ran) == ["a", "b"]


async def test_a_job_that_wants_to_go_on_is_run_again(store: Store) -> None:
    again = iter([0.0, 0.05, None])
    ran: list[int] = []

    async def step(job: Job) -> float | None:
        ran.append(job.attempts)
        return next(again)

    await put(store, "a")
    async with running(store, {"greet": step}):
        await nothing_left(store)

    assert len(ran) == 3


async def test_a_job_that_fails_is_tried_again_and_stops_nobody(store: Store) -> None:
    ran: list[str] = []

    async def greet(job: Job) -> None:
        ran.append(job.id)
        if job.id == "bad" and ran.count("bad") == 1:
            raise RuntimeError("bad luck")

    await put(store, "bad", "good")
    async with running(store, {"greet": greet}):
        await nothing_left(store)

    assert sorted(ran) == ["bad", "bad", "good"]


async def test_a_job_that_failed_a_thousand_times_is_still_put_off(store: Store) -> None:
    async def fail(job: Job) -> None:
        raise RuntimeError("again")

    await put(store, "a")
    await store.database.write("UPDATE jobs SET attempts = 5000 WHERE id = $1 RETURNING id", "a")
    async with running(store, {"greet": fail}):

        async def look() -> bool:
            rows = await store.database.fetch(
                "SELECT 1 FROM jobs WHERE attempts > 5000 AND owner IS NULL"
            )
            return bool(rows)

        await eventually(look)


async def test_a_job_finished_elsewhere_is_not_touched(store: Store) -> None:
    async def finish(job: Job) -> Done:
        assert await store.log.finish_job(job)
        return DONE

    await put(store, "a")
    async with running(store, {"greet": finish}):
        await nothing_left(store)


async def test_many_short_jobs_do_not_wait_for_the_next_look(store: Store) -> None:
    async def greet(_: Job) -> None:
        await asyncio.sleep(0.01)

    count = module.AT_ONCE * 8
    await put(store, *(f"job-{n:04}" for n in range(count)))
    began = asyncio.get_running_loop().time()
    async with running(store, {"greet": greet}):
        await nothing_left(store)

    assert asyncio.get_running_loop().time() - began < count / module.AT_ONCE * module.EVERY / 2


async def test_no_more_at_once_than_allowed(store: Store) -> None:
    gate, at_once = asyncio.Event(), 0

    async def wait(_: Job) -> None:
        nonlocal at_once
        at_once += 1
        await gate.wait()

    await put(store, *(f"job-{n:04}" for n in range(40)))
    async with running(store, {"greet": wait}):
        await until(lambda: at_once == module.AT_ONCE)
        gate.set()
        await nothing_left(store)


async def test_a_store_that_is_away_when_a_job_ends_does_not_keep_it_for_ever(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORE_PAUSE", 0.05)
    intruder = apsw.Connection(str(tmp_path / "comporta.db"))
    runs = 0

    async def greet(_: Job) -> None:
        nonlocal runs
        runs += 1
        intruder.execute("BEGIN IMMEDIATE")

    await put(store, "a")
    async with running(store, {"greet": greet}):
        await until(lambda: runs == 1)
        await asyncio.sleep(0.5)  # as long as the store is away; nothing is waited for
        intruder.execute("ROLLBACK")
        await nothing_left(store)

    intruder.close()
    assert runs == 1


async def test_a_job_this_process_holds_without_knowing_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the connection broke between a claim's commit and its answer."""
    monkeypatch.setattr(module, "LOOK_FOR_STRAYS", 0.05)
    monkeypatch.setattr(module, "EVERY", 0.02)
    gate, ran = asyncio.Event(), list[str]()

    async def greet(job: Job) -> None:
        ran.append(job.id)
        if job.id == "busy":
            await gate.wait()

    await put(store, "stray")
    assert len(await store.log.claim_jobs(["greet"], 1)) == 1
    await put(store, "busy")
    async with running(store, {"greet": greet}):
        await until(lambda: "stray" in ran)
        assert ran.count("busy") == 1  # what runs is no stray, however long
        gate.set()
        await nothing_left(store)


async def test_closing_stops_what_runs_and_takes_nothing_more(store: Store) -> None:
    begun, ended = 0, 0

    async def wait(_: Job) -> None:
        nonlocal begun, ended
        begun += 1
        try:
            await asyncio.sleep(60)
        finally:
            ended += 1

    await put(store, "a", "b")
    async with running(store, {"greet": wait}) as jobs:
        await until(lambda: begun == 2)
        await put(store, "c")
        await jobs.close()

    assert (begun, ended) == (2, 2)
    assert await left(store) == ["a", "b", "c"]
