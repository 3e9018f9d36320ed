"""Comparing what a provider lists with what its webhooks told: those that never came are emitted,
once.

One durable job for each installation, which stays with its report when it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drivers import BY_SLUG
from drivers.describe import Poll
from gateway import log
from gateway.job_state import LeaseLostError, keep_doc, stored_docs
from gateway.jobs import DONE, Done
from gateway.models import Installation
from gateway.parts import Parts
from gateway.poll import can_ask
from gateway.provider_api import ApiError
from gateway.store.base import Job, NewJob
from gateway.store.keys import moment
from gateway.sweep import MISREAD, Listing, Sweep, Sweeper
from schemas import codec

RECONCILE = "reconcile"
KEPT = 365 * 86_400.0  # seconds that a report is kept
MOST_TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
COUNTED = ("checked", "fresh", "found", "enriching")


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison came to. Times: microseconds. `state`: running, done or failed. `checked`:
    items of the lists; `found`: events that no webhook had told, the first of them in `events`;
    `enriching`: items still to be completed, each of which may be one more.
    """

    state: str
    since: int
    started_at: int
    finished_at: int | None
    checked: int
    found: int
    enriching: int
    events: tuple[str, ...]
    error: str | None


class Reconciler:
    """Runs the jobs of kind `reconcile`."""

    def __init__(self, parts: Parts, sweeper: Sweeper) -> None:
        self._store, self._directory, self._metrics = parts.store, parts.directory, parts.metrics
        self._ids, self._now, self._sweeper = parts.ids, parts.now, sweeper

    async def start(self, installation: Installation, since: int) -> None:
        """Compare everything since a time (microseconds); one that runs already goes on instead."""
        report = await self.told(installation)
        if report is not None and report.state == "running":
            return
        lists = [poll.name for poll in comparable(installation)]
        doc: dict[str, Any] = {
            "installation_id": installation.id,
            "since": since,
            "state": "running",
            "started_at": self._now(),
            "lists": lists,
        }
        name, made = _job_name(installation), codec.dumps(doc)
        await self._store.log.put_job(NewJob(id=self._ids(), kind=RECONCILE, unique=name, doc=made))

    async def told(self, installation: Installation) -> Report | None:
        """The report of the last one, None when there was none."""
        name = _job_name(installation)
        doc = (await stored_docs(self._store.database, [name])).get(name)
        if doc is None:
            return None
        running = doc.get("sweep") or {}
        counts = {n: doc.get(n, 0) + running.get(n, 0) for n in COUNTED if n != "fresh"}
        return Report(
            state=doc["state"],
            since=doc["since"],
            started_at=doc["started_at"],
            finished_at=doc.get("finished_at"),
            events=(*doc.get("events", ()), *running.get("found_ids", ())),
            error=doc.get("error"),
            **counts,
        )

    async def run(self, job: Job) -> float | Done | None:
        """Read the next list, or a part of it; see jobs.Runner."""
        doc = codec.loads(job.doc)
        installation = self._directory.installation(doc["installation_id"])
        if installation is None or installation.driver not in BY_SLUG or doc["state"] != "running":
            return None
        wanted = [poll for poll in comparable(installation) if poll.name in doc["lists"]]
        if not wanted or not can_ask(BY_SLUG[installation.driver], installation):
            return await self._end(job, doc, None if not wanted else "it cannot be asked any more")
        listing = Listing(BY_SLUG[installation.driver], installation, wanted[0])
        try:
            sweep = await self._read(job, doc, listing)
        except ApiError as error:
            return await self._failed(job, doc, error)
        except LeaseLostError:
            return DONE
        if sweep.url is None:
            told = sweep.told()
            doc |= {name: doc.get(name, 0) + told[name] for name in COUNTED}
            doc["events"] = [*doc.get("events", ()), *sweep.found_ids]
            doc |= {"sweep": None, "failures": 0, "error": None}
            doc["lists"] = [name for name in doc["lists"] if name != listing.poll.name]
        if not doc["lists"]:
            return await self._end(job, doc, None)
        return await self._later(job, doc, 0.0)

    async def _read(self, job: Job, doc: dict[str, Any], listing: Listing) -> Sweep:
        """Raises ApiError, LeaseLostError."""
        kept = doc.get("sweep")
        sweep = Sweep(**kept) if kept else None
        at = moment(sweep.begun_at if sweep else self._now())
        poll, settings = listing.poll, listing.installation.settings
        try:
            cursor = poll.since(moment(doc["since"])) if poll.since else {}
            start = poll.start(cursor, at, settings)
        except MISREAD as error:
            raise ApiError(f"{poll.name}: {error}", permanent=True) from error
        if sweep is None:
            sweep = Sweep(cursor={**cursor, **start.cursor}, url=start.url, begun_at=self._now())

        async def keep(stands: Sweep) -> None:
            doc["sweep"] = stands.told()
            await keep_doc(self._store.database, job, doc)

        await self._sweeper.run(listing, start, sweep, at, keep)
        return sweep

    async def _failed(self, job: Job, doc: dict[str, Any], error: ApiError) -> Done:
        failures = doc["failures"] = doc.get("failures", 0) + (not error.waits)
        if error.permanent or failures >= MOST_TRIES:
            return await self._end(job, doc, error.reason)
        doc["error"] = error.reason
        pause = min(FIRST_PAUSE * 2 ** max(0, failures - 1), LONGEST_PAUSE)
        return await self._later(job, doc, error.after or pause)

    async def _end(self, job: Job, doc: dict[str, Any], error: str | None) -> Done:
        doc |= {"state": "failed" if error else "done", "error": error}
        doc["finished_at"] = self._now()
        installation = self._directory.installation(doc["installation_id"])
        driver = installation.driver if installation else ""
        self._metrics.polled(driver, f"reconciled_{doc['state']}", doc.get("found", 0))
        log.get().info(
            "reconcile.ended",
            driver=driver,
            installation_id=doc["installation_id"],
            outcome=doc["state"],
            items=doc.get("checked", 0),
            count=doc.get("found", 0),
            reason=error,
        )
        return await self._later(job, doc, KEPT)

    async def _later(self, job: Job, doc: dict[str, Any], pause: float) -> Done:
        await self._store.log.finish_job(job, again_in=pause, doc=codec.dumps(doc))
        return DONE


def comparable(installation: Installation) -> tuple[Poll, ...]:
    """The lists of its driver that tell what webhooks tell."""
    driver = BY_SLUG.get(installation.driver)
    return tuple(poll for poll in driver.polls if poll.since) if driver else ()


def _job_name(installation: Installation) -> str:
    return f"{RECONCILE}/{installation.id}"
