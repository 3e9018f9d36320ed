"""Asking providers for what they do not send: one durable job per installation and list.

Exactly one process holds a job at a time; where a sweep stands is written after each page, which
also tells a process whose lease was lost. The job of an installation that is not active is parked
with its cursor, so that what happens meanwhile is found afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from drivers import BY_SLUG
from drivers.base import Driver
from drivers.describe import Poll
from gateway import log
from gateway.job_state import LeaseLostError, add_absent, hurried, keep_doc, stored_docs
from gateway.jobs import DONE, Done
from gateway.models import Installation
from gateway.parts import Parts
from gateway.provider_api import ApiError
from gateway.store.base import Job, NewJob
from gateway.sweep import MISREAD, Listing, Sweep, Sweeper
from schemas import codec

POLL = "poll"
FAILED_PAUSE, LONGEST_PAUSE = 60.0, 3600.0  # seconds
PARKED = 30 * 86_400.0  # until it is looked at again; becoming active wakes it at once
STALE_SWEEP = 30 * 60_000_000  # microseconds after which a sweep left half-way begins anew


@dataclass(frozen=True, slots=True)
class PollState:
    """A list of an installation. Times: microseconds. `error`: of the last try, None when it
    worked; `checked`, `found`: items of the last whole sweep, and events they told first.
    """

    name: str
    swept_at: int | None
    next_at: int
    error: str | None
    checked: int
    found: int


class Polls:
    """Runs the jobs of kind `poll`, and sees to it that each list has its job."""

    def __init__(self, parts: Parts, sweeper: Sweeper) -> None:
        self._store, self._directory, self._metrics = parts.store, parts.directory, parts.metrics
        self._ids, self._now, self._sweeper = parts.ids, parts.now, sweeper

    async def ensure(self, installation: Installation) -> None:
        """Give every list of an active installation its job; wake one that was parked, that failed,
        or whose interval is another.
        """
        driver = BY_SLUG.get(installation.driver)
        if driver is None or not can_ask(driver, installation):
            return
        docs = await stored_docs(self._store.database, _names(driver, installation))
        for poll in driver.polls:
            pause = pause_of(poll, installation)
            doc = docs.get(_job_name(installation, poll))
            if doc is None:
                if pause is not None:
                    await add_absent(self._store.database, self._job(installation, poll))
            elif _seconds(doc.get("pause")) != pause or doc.get("failures"):
                await hurried(self._store.database, _job_name(installation, poll))

    async def ensure_all(self) -> None:
        """At start: every installation that is polled."""
        for installation in self._directory.installations():
            await self.ensure(installation)

    async def hurry(self, installation: Installation) -> int:
        """Poll now; gives how many lists that are. One that is being read is left to its reader."""
        await self.ensure(installation)
        count, driver = 0, BY_SLUG[installation.driver]
        for name in _names(driver, installation):
            count += await hurried(self._store.database, name)
        return count

    async def told(self, installation: Installation) -> list[PollState]:
        """Where each list stands."""
        driver = BY_SLUG.get(installation.driver)
        if driver is None or not driver.polls:
            return []
        docs = await stored_docs(self._store.database, _names(driver, installation))
        found = ((poll, docs.get(_job_name(installation, poll))) for poll in driver.polls)
        return [
            PollState(
                name=poll.name,
                swept_at=doc.get("swept_at"),
                next_at=doc["due_at"],
                error=doc.get("error"),
                checked=doc.get("checked", 0),
                found=doc.get("found", 0),
            )
            for poll, doc in found
            if doc is not None and doc.get("pause", 0) is not None
        ]

    async def run(self, job: Job) -> float | Done | None:
        """One sweep, or a part of a long one; see jobs.Runner. The job of what is gone ends."""
        doc = codec.loads(job.doc)
        installation = self._directory.installation(doc["installation_id"])
        driver = BY_SLUG.get(installation.driver) if installation else None
        if installation is None or driver is None:
            return None
        poll = next((p for p in driver.polls if p.name == doc["list"]), None)
        if poll is None:
            return None
        pause = pause_of(poll, installation) if can_ask(driver, installation) else None
        doc["pause"] = pause
        if pause is None:
            return await self._later(job, doc, PARKED)
        return await self._sweep(job, doc, Listing(driver, installation, poll), pause)

    async def _sweep(self, job: Job, doc: dict[str, Any], listing: Listing, pause: float) -> Done:
        began, driver = self._now(), listing.driver
        try:
            sweep = await self._read(job, doc, listing)
        except ApiError as error:
            return await self._failed(job, doc, driver, error)
        except LeaseLostError:
            self._metrics.polled(driver.slug, "lost")
            return DONE
        if sweep.url is not None:
            return await self._later(job, doc, 0.0)
        ended = self._now()
        doc |= {"cursor": sweep.cursor, "sweep": None, "swept_at": ended, "failures": 0}
        doc |= {"error": None, "checked": sweep.checked, "found": sweep.found}
        self._metrics.polled(driver.slug, "swept", sweep.found)
        return await self._later(job, doc, max(1.0, pause - (ended - began) / 1e6))

    async def _read(self, job: Job, doc: dict[str, Any], listing: Listing) -> Sweep:
        """Read the list on from where it was left. Raises ApiError, LeaseLostError."""
        now = self._now()
        kept = doc.get("sweep")
        sweep = Sweep(**kept) if kept else None
        if sweep is not None and now - sweep.begun_at > STALE_SWEEP:
            sweep = None
        moment = datetime.fromtimestamp((sweep.begun_at if sweep else now) / 1_000_000, UTC)
        try:
            start = listing.poll.start(doc["cursor"], moment, listing.installation.settings)
        except MISREAD as error:
            raise ApiError(f"{listing.poll.name}: {error}") from error
        if sweep is None:
            cursor = {**doc["cursor"], **start.cursor}
            sweep = Sweep(cursor=cursor, url=start.url, begun_at=now)

        async def keep(stands: Sweep) -> None:
            doc["sweep"] = stands.told()
            await keep_doc(self._store.database, job, doc)

        await self._sweeper.run(listing, start, sweep, moment, keep)
        return sweep

    async def _failed(self, job: Job, doc: dict[str, Any], driver: Driver, error: ApiError) -> Done:
        log.get().warning(
            "poll.failed",
            driver=driver.slug,
            installation_id=doc["installation_id"],
            name=doc["list"],
            reason=error.reason,
        )
        self._metrics.polled(driver.slug, "waits" if error.waits else "failed")
        failures = doc.get("failures", 0) + (not error.waits)
        doc |= {"failures": failures, "error": error.reason}
        pause = min(FAILED_PAUSE * 2 ** max(0, min(failures - 1, 6)), LONGEST_PAUSE)
        return await self._later(job, doc, error.after or pause)

    async def _later(self, job: Job, doc: dict[str, Any], pause: float) -> Done:
        await self._store.log.finish_job(job, again_in=pause, doc=codec.dumps(doc))
        return DONE

    def _job(self, installation: Installation, poll: Poll) -> NewJob:
        doc: dict[str, Any] = {
            "installation_id": installation.id,
            "list": poll.name,
            "cursor": {},
            "pause": pause_of(poll, installation),
        }
        name = _job_name(installation, poll)
        return NewJob(id=self._ids(), kind=POLL, unique=name, doc=codec.dumps(doc))


def can_ask(driver: Driver, installation: Installation) -> bool:
    """Whether an installation is active and has what its provider's API wants."""
    known = installation.known_credentials
    return (
        driver.api is not None
        and installation.status == "active"
        and all(known.get(name) for name in driver.api.credentials)
    )


def pause_of(poll: Poll, installation: Installation) -> float | None:
    """Seconds between sweeps; None for a list that is only read when somebody asks for it."""
    settings = installation.settings
    minutes = settings.get("poll_interval") or poll.interval_minutes
    if poll.since is not None and settings.get("reconcile_interval") is not None:
        minutes = settings["reconcile_interval"]
    return max(1.0, round(float(minutes) * 60, 3)) if minutes else None


def _seconds(kept: Any) -> float | None:
    return None if kept is None else float(kept)


def _names(driver: Driver, installation: Installation) -> list[str]:
    return [_job_name(installation, poll) for poll in driver.polls]


def _job_name(installation: Installation, poll: Poll) -> str:
    return f"{POLL}/{installation.id}/{poll.name}"
