"""Durable work for later: deferred events, enrichment, replays, polls. The store holds the jobs,
any process may take one, and a job whose process died is taken again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from gateway import log
from gateway.store.base import EventLog, Job
from schemas.errors import StoreUnavailableError

EVERY = 1.0
AT_ONCE = 16
LONGEST_PAUSE = 600.0

# Runs one job: None when it is finished (and its row may go), seconds until it wants to go on
# otherwise. A runner that finished the job in its own transaction gives DONE.
Runner = Callable[[Job], Awaitable["float | Done | None"]]


class Done:
    """The job's row is gone already."""


DONE = Done()


class Jobs:
    """Takes due jobs and runs them. `runners`: by kind."""

    def __init__(self, event_log: EventLog, runners: Mapping[str, Runner]) -> None:
        self._log, self._runners = event_log, runners
        self._running: set[asyncio.Task[None]] = set()
        self._now = asyncio.Event()

    def wake(self) -> None:
        """Something may be due."""
        self._now.set()

    async def run(self) -> None:
        """For ever; cancelled at the end."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), EVERY)
            self._now.clear()
            free = AT_ONCE - len(self._running)
            if free <= 0:
                continue
            try:
                claimed = await self._log.claim_jobs(tuple(self._runners), free)
            except StoreUnavailableError as error:
                log.get().error("jobs.delayed", error=error.message)
                continue
            for job in claimed:
                task = asyncio.get_running_loop().create_task(self._run(job))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if len(claimed) == free:
                self._now.set()

    async def close(self) -> None:
        """Stop what runs; its jobs are taken again by whoever comes."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        try:
            again = await self._runners[job.kind](job)
        except StoreUnavailableError as error:
            log.get().error("job.delayed", job=job.id, job_kind=job.kind, error=error.message)
            again = 5.0
        except Exception:  # noqa: BLE001 - one bad job must not stop the rest; it is logged whole
            again = min(2.0**job.attempts, LONGEST_PAUSE)
            log.get().exception("job.failed", job=job.id, job_kind=job.kind, next_in=again)
        if isinstance(again, Done):
            return
        try:
            await self._log.finish_job(job, again_in=again)
        except StoreUnavailableError as error:
            log.get().error("job.unfinished", job=job.id, job_kind=job.kind, error=error.message)
        if again == 0:
            self._now.set()
