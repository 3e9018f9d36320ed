"""Asking providers for what they do not send: one durable job per installation and list.

Exactly one process holds a job at a time. The cursor lives in the job, pages overlap, and dedupe
keys make an item that came before, or by webhook, no second event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from drivers import BY_SLUG
from drivers.base import Driver, interpret
from drivers.describe import Fetch, Page, Poll
from drivers.verify import restore
from gateway import log
from gateway.directory import Directory
from gateway.ids import Ulids
from gateway.intake import Intake
from gateway.jobs import DONE, Done
from gateway.models import Installation
from gateway.provider_api import ApiError, ProviderApi, with_query
from gateway.store.base import Job, NewJob, Store
from schemas import codec
from schemas.errors import MalformedError

POLL = "poll"
MOST_PAGES = 100  # of one sweep; the next goes on from the cursor
FAILED_PAUSE, LONGEST_PAUSE = 60.0, 3600.0

EXISTS = "SELECT id FROM jobs WHERE ukey = $1"
HURRY = "UPDATE jobs SET due_at = $1 WHERE ukey = $2 AND owner IS NULL RETURNING id"


class Polls:
    """Runs the jobs of kind `poll`, and sees to it that each list has its job."""

    def __init__(  # noqa: PLR0917 - parts of one composition root
        self,
        store: Store,
        directory: Directory,
        intake: Intake,
        api: ProviderApi,
        ids: Ulids,
        now: Callable[[], int],
    ) -> None:
        self._store, self._directory, self._intake = store, directory, intake
        self._api, self._ids, self._now = api, ids, now

    async def ensure(self, installation: Installation) -> None:
        """Give every list of an active installation its job; what has one keeps it."""
        driver = BY_SLUG.get(installation.driver)
        if driver is None or not _is_polled(driver, installation):
            return
        for poll in driver.polls:
            name = _job_name(installation, poll)
            if not await self._store.database.fetch(EXISTS, name):
                doc = {"installation_id": installation.id, "list": poll.name, "cursor": {}}
                job = NewJob(id=self._ids(), kind=POLL, unique=name, doc=codec.dumps(doc))
                await self._store.log.put_job(job)

    async def ensure_all(self) -> None:
        """At start: every installation."""
        for installation in self._directory.installations():
            await self.ensure(installation)

    async def hurry(self, installation: Installation) -> int:
        """Poll now; gives how many lists that are."""
        await self.ensure(installation)
        driver, now, count = BY_SLUG[installation.driver], await self._store.database.now(), 0
        for poll in driver.polls:
            name = _job_name(installation, poll)
            count += len(await self._store.database.write(HURRY, now, name))
        return count

    async def run(self, job: Job) -> float | Done | None:
        """One sweep; see jobs.Runner. The job of what is gone or switched off ends."""
        doc = codec.loads(job.doc)
        installation = self._directory.installation(doc["installation_id"])
        driver = BY_SLUG.get(installation.driver) if installation else None
        if installation is None or driver is None or not _is_polled(driver, installation):
            return None
        poll = next((p for p in driver.polls if p.name == doc["list"]), None)
        if poll is None:
            return None
        minutes = installation.settings.get("poll_interval") or poll.interval_minutes
        pause = max(1.0, float(minutes) * 60)
        try:
            cursor = await self._sweep(driver, installation, poll, doc["cursor"])
        except (ApiError, MalformedError, LookupError, TypeError, ValueError) as failure:
            error = failure if isinstance(failure, ApiError) else ApiError(str(failure))
            log.get().warning(
                "poll.failed",
                driver=driver.slug,
                installation_id=installation.id,
                reason=error.reason,
            )
            return error.after or min(FAILED_PAUSE * 2 ** min(job.attempts - 1, 6), LONGEST_PAUSE)
        told = doc | {"cursor": cursor, "swept_at": self._now()}
        await self._store.log.finish_job(job, again_in=pause, doc=codec.dumps(told))
        return DONE

    async def _sweep(
        self, driver: Driver, installation: Installation, poll: Poll, cursor: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Every page from the cursor on; gives the new cursor."""
        moment = datetime.fromtimestamp(self._now() / 1_000_000, UTC)
        begin = poll.start(cursor, moment, installation.settings)
        fetch: Fetch | None = begin
        cursor = {**cursor, **begin.cursor}
        for _ in range(MOST_PAGES):
            if fetch is None:
                break
            answer = await self._api.call(driver, installation, fetch)
            page = poll.read(answer, cursor)
            for item in page.items:
                await self._take(driver, installation, poll, item, moment)
            cursor, fetch = page.cursor, _next(fetch, page)
        return cursor

    async def _take(
        self, driver: Driver, installation: Installation, poll: Poll, item: Any, moment: datetime
    ) -> None:
        """One item, as the delivery it might have been."""
        inbound = poll.inbound(item, moment)
        verified = restore(inbound, installation.settings, driver.parse(inbound), {})
        api = driver.api
        known = installation.known_credentials
        has_api = api is not None and all(known.get(name) for name in api.credentials)
        receipt = interpret(
            driver, verified, has_api=has_api, body=inbound.body, headers=inbound.headers
        )
        await self._intake.take(installation, inbound, receipt)


def _is_polled(driver: Driver, installation: Installation) -> bool:
    known = installation.known_credentials
    return (
        bool(driver.polls)
        and driver.api is not None
        and installation.status == "active"
        and all(known.get(name) for name in driver.api.credentials)
    )


def _job_name(installation: Installation, poll: Poll) -> str:
    return f"{POLL}/{installation.id}/{poll.name}"


def _next(asked: Fetch, page: Page) -> Fetch | None:
    """The request of the next page: told whole, or by the parameters that differ."""
    if page.next is not None or not page.more:
        return page.next
    return replace(asked, url=with_query(asked.url, page.more), cursor={})
