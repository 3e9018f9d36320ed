"""Durable work for later: deferred events, enrichment, replays, polls. The store holds the jobs,
any process may take one, and a job whose process died is taken again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from gateway import log
from gateway.store.base import Database, EventLog, Job
from schemas.errors import StoreUnavailableError

EVERY = 1.0
AT_ONCE = 16  # of the kinds that only need the store
AT_ONCE_OUTSIDE = 48  # of those that wait for servers of others
LONGEST_PAUSE = 600.0
STORE_PAUSE = 5.0  # while the store takes nothing
LOOK_FOR_STRAYS = 30.0

OWNED = "SELECT id, token FROM jobs WHERE owner = $1"
FREE = "UPDATE jobs SET owner = NULL WHERE id = $1 AND owner = $2 AND token = $3 RETURNING id"

# Runs one job: None when it is finished (and its row may go), seconds until it wants to go on
# otherwise. A runner that finished the job in its own transaction gives DONE.
Runner = Callable[[Job], Awaitable["float | Done | None"]]


class Done:
    """The job's row is gone already."""


DONE = Done()


@dataclass(slots=True)
class _Lane:
    """Kinds of jobs that share a bound. `more`: the last look found as many as there was room."""

    kinds: tuple[str, ...]
    most: int
    running: int = 0
    more: bool = False


class Jobs:
    """Takes due jobs and runs them. `runners`: by kind. `outside`: those kinds that wait for
    servers of others, which must not keep the rest waiting.
    """

    def __init__(
        self,
        event_log: EventLog,
        database: Database,
        runners: Mapping[str, Runner],
        outside: Collection[str] = (),
    ) -> None:
        self._log, self._database, self._runners = event_log, database, runners
        inside = tuple(kind for kind in runners if kind not in outside)
        self._lanes = (_Lane(inside, AT_ONCE), _Lane(tuple(outside), AT_ONCE_OUTSIDE))
        self._running: dict[asyncio.Task[None], tuple[str, int]] = {}
        self._suspects: set[tuple[str, int]] = set()
        self._now = asyncio.Event()
        self._closing = asyncio.Event()

    def wake(self) -> None:
        """Something may be due."""
        self._now.set()

    async def run(self) -> None:
        """Until `close`."""
        loop = asyncio.get_running_loop()
        look = loop.time() + LOOK_FOR_STRAYS
        self._now.set()
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), EVERY)
            self._now.clear()
            try:
                await self._take()
                if loop.time() >= look:
                    look = loop.time() + LOOK_FOR_STRAYS
                    await self._return_strays()
            except StoreUnavailableError as error:
                log.get().error("jobs.delayed", error=error.message)

    async def _take(self) -> None:
        for lane in self._lanes:
            free = lane.most - lane.running
            if not lane.kinds or free <= 0 or self._closing.is_set():
                continue
            claimed = await self._log.claim_jobs(lane.kinds, free)
            if self._closing.is_set():
                return  # closing the store gives back what nobody runs
            for job in claimed:
                task = asyncio.get_running_loop().create_task(self._run(job))
                self._running[task] = (job.id, job.token)
                lane.running += 1
                task.add_done_callback(partial(self._ended, lane))
            lane.more = len(claimed) == free

    def _ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        del self._running[task]
        lane.running -= 1
        if lane.more:  # there was no room for all
            self._now.set()

    async def _return_strays(self) -> None:
        """Give back jobs that are ours without our knowing, as when the connection broke between a
        claim's commit and its answer. What was no stray at the last look is none yet.
        """
        rows = await self._database.fetch(OWNED, self._log.node)
        owned = {(row[0], row[1]) for row in rows} - set(self._running.values())
        for ident, token in owned & self._suspects:
            log.get().warning("job.strayed", job=ident)
            await self._database.write(FREE, ident, self._log.node, token)
        self._suspects = owned

    async def close(self) -> None:
        """Stop what runs; its jobs are taken again by whoever comes."""
        self._closing.set()
        self._now.set()
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        try:
            again = await self._runners[job.kind](job)
        except StoreUnavailableError as error:
            log.get().error("job.delayed", job=job.id, job_kind=job.kind, error=error.message)
            again = STORE_PAUSE
        except Exception:  # noqa: BLE001 - one bad job must not stop the rest; it is logged whole
            again = min(2.0 ** min(job.attempts, 20), LONGEST_PAUSE)
            log.get().exception("job.failed", job=job.id, job_kind=job.kind, next_in=again)
        if not isinstance(again, Done):
            await self._finish(job, again)
        if isinstance(again, float | int) and again < EVERY:
            asyncio.get_running_loop().call_later(again, self._now.set)

    async def _finish(self, job: Job, again: float | None) -> None:
        """Until it is written: nobody else may take the job while this process lives."""
        while True:
            try:
                await self._log.finish_job(job, again_in=again)
            except StoreUnavailableError as error:
                log.get().error(
                    "job.unfinished", job=job.id, job_kind=job.kind, error=error.message
                )
                await asyncio.sleep(STORE_PAUSE)
            else:
                return
