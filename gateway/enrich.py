"""Completing deliveries that carry only an id: answered at once, finished by the provider's API.

A job in the store drives it, so it survives restarts; when the API will not answer, the thin event
goes out with `extra.enrichment_error` rather than nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from drivers import BY_SLUG
from drivers.base import Driver, Receipt, interpret
from drivers.verify import restore
from gateway import log
from gateway.deferral import inbound_of
from gateway.intake import Intake
from gateway.jobs import DONE, Done
from gateway.models import Installation
from gateway.parts import Parts
from gateway.provider_api import ApiError, ProviderApi
from gateway.store.base import Job, NewInbound
from gateway.store.prune import EXPIRED
from schemas import codec
from schemas.request import Verified

MOST_ROUNDS = 6  # of asking what is still missing
MOST_TRIES = 8
LONGEST_WAIT = 6 * 3600.0  # seconds that a provider's own limits may put an event off
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
AT_ONCE = 4  # deliveries of one installation
CALLS = 2  # that one takes, as a guess of when a turn comes
LONGEST_TURN = 60.0
ABANDON = """
UPDATE inbounds SET outcome = 'ignored', reason = 'its installation was removed'
WHERE id = $1 AND outcome = 'enriching' RETURNING id
"""


@dataclass(slots=True)
class _Queue:
    """The deliveries of one installation that are at it, and those that were sent to wait."""

    running: int = 0
    waiting: set[str] = field(default_factory=set)


class Enrichment:
    """Runs the jobs of kind `enrich`."""

    def __init__(self, parts: Parts, intake: Intake, api: ProviderApi) -> None:
        self._store, self._history, self._directory = parts.store, parts.history, parts.directory
        self._now, self._metrics = parts.now, parts.metrics
        self._intake, self._api = intake, api
        self._queues: dict[str, _Queue] = {}

    async def run(self, job: Job) -> float | Done | None:
        """Fetch what is missing and store the events; see jobs.Runner. One installation's slow API
        does not take the room of the others.
        """
        doc = codec.loads(job.doc)
        installation = self._directory.installation(doc["installation_id"])
        if installation is None or installation.driver not in BY_SLUG:
            await self._store.database.write(ABANDON, doc["inbound_id"])
            return None
        queue = self._queues.setdefault(installation.id, _Queue())
        if queue.running >= AT_ONCE:
            queue.waiting.add(job.id)
            return self._turn(installation, queue)
        queue.running += 1
        queue.waiting.discard(job.id)
        try:
            return await self._enrich(job, doc, installation)
        finally:
            queue.running -= 1
            if not queue.running and not queue.waiting:
                self._queues.pop(installation.id, None)

    @staticmethod
    def _turn(installation: Installation, queue: _Queue) -> float:
        """Seconds until there may be room, by the provider's rate."""
        api = BY_SLUG[installation.driver].api
        each = CALLS * 60 / api.per_minute if api else 1.0
        seconds = max(0.5, each * len(queue.waiting))
        if seconds > LONGEST_TURN:
            queue.waiting.clear()  # those that other processes took are never taken out
        return min(seconds, LONGEST_TURN)

    async def _enrich(
        self, job: Job, doc: dict[str, Any], installation: Installation
    ) -> float | Done | None:
        row = await self._history.stored_inbound(installation.tenant, doc["inbound_id"])
        if row is None or (row.reason or "").startswith(EXPIRED):
            return None
        driver, inbound = BY_SLUG[installation.driver], inbound_of(row)
        answers: dict[str, Any] = {}
        verified = restore(inbound, installation.settings, driver.parse(inbound), answers)
        try:
            receipt = await self._complete(driver, installation, row, verified, answers)
            outcome = "completed"
        except ApiError as error:
            pause = self._pause(doc, row, error)
            if pause is not None:
                self._metrics.enriched(driver.slug, "waits" if error.waits else "failed")
                await self._store.log.finish_job(job, again_in=pause, doc=codec.dumps(doc))
                return DONE
            receipt, outcome = self._given_up(driver, row, verified, error), "given_up"
        await self._intake.again(installation, row, receipt, finishes=(job.id, job.token))
        self._metrics.enriched(driver.slug, outcome)
        return DONE

    def _pause(self, doc: dict[str, Any], row: NewInbound, error: ApiError) -> float | None:
        """Seconds until the next try; None when there shall be none. Waiting for a limit is no
        try, but has an end, too.
        """
        tries = doc["tries"] = doc.get("tries", 0) + (not error.waits)
        if error.permanent or tries >= MOST_TRIES:
            return None
        pause = error.after or min(FIRST_PAUSE * 2 ** max(0, tries - 1), LONGEST_PAUSE)
        waited = (self._now() - row.received_at) / 1_000_000
        return pause if not error.waits or waited + pause <= LONGEST_WAIT else None

    async def _complete(
        self,
        driver: Driver,
        installation: Installation,
        row: NewInbound,
        verified: Verified,
        answers: dict[str, Any],
    ) -> Receipt:
        """Ask until nothing is missing. `answers` is what `verified.enrichment` sees."""
        for _ in range(MOST_ROUNDS):
            receipt = self._interpret(driver, row, verified, has_api=True)
            if receipt.outcome != "enriching":
                return receipt
            for fetch in receipt.fetches:
                answers[fetch.name] = await self._api.call(driver, installation, fetch)
        raise ApiError("the driver never has enough", permanent=True)

    def _given_up(
        self, driver: Driver, row: NewInbound, verified: Verified, error: ApiError
    ) -> Receipt:
        log.get().warning("enrichment.given_up", inbound_id=row.id, reason=error.reason)
        receipt = self._interpret(driver, row, verified, has_api=False)
        return replace(receipt, events=tuple(map(_noted(error.reason), receipt.events)))

    def _interpret(
        self, driver: Driver, row: NewInbound, verified: Verified, *, has_api: bool
    ) -> Receipt:
        headers = verified.inbound.headers
        receipt = interpret(driver, verified, has_api=has_api, body=row.body, headers=headers)
        return replace(receipt, delivery_key=row.delivery_key)


def _noted(reason: str) -> Any:
    """Gives an event the reason why it is thin."""

    def note(event: Any) -> Any:
        if isinstance(event.data, dict) and isinstance(event.data.get("extra"), dict):
            event.data["extra"]["enrichment_error"] = reason
        return event

    return note
