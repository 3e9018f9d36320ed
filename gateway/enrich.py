"""Completing deliveries that carry only an id: answered at once, finished by the provider's API.

A job in the store drives it, so it survives restarts; when the API will not answer, the thin event
goes out with `extra.enrichment_error` rather than nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drivers import BY_SLUG
from drivers.base import Driver, Receipt, interpret
from drivers.verify import restore
from gateway import log
from gateway.deferral import inbound_of
from gateway.directory import Directory
from gateway.intake import Intake
from gateway.jobs import DONE, Done
from gateway.models import Installation
from gateway.provider_api import ApiError, ProviderApi
from gateway.store.base import Job, NewInbound
from gateway.store.history import History
from schemas import codec
from schemas.request import Verified

MOST_ROUNDS = 6  # of asking what is still missing
MOST_TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0


class Enrichment:
    """Runs the jobs of kind `enrich`."""

    def __init__(
        self, history: History, directory: Directory, intake: Intake, api: ProviderApi
    ) -> None:
        self._history, self._directory = history, directory
        self._intake, self._api = intake, api

    async def run(self, job: Job) -> float | Done | None:
        """Fetch what is missing and store the events; see jobs.Runner."""
        doc = codec.loads(job.doc)
        installation = self._directory.installation(doc["installation_id"])
        if installation is None or installation.driver not in BY_SLUG:
            return None
        row = await self._history.stored_inbound(installation.tenant, doc["inbound_id"])
        if row is None:
            return None
        driver, inbound = BY_SLUG[installation.driver], inbound_of(row)
        answers: dict[str, Any] = {}
        verified = restore(inbound, installation.settings, driver.parse(inbound), answers)
        try:
            receipt = await self._complete(driver, installation, row, verified, answers)
        except ApiError as error:
            if not error.permanent and job.attempts < MOST_TRIES:
                return error.after or min(FIRST_PAUSE * 2 ** (job.attempts - 1), LONGEST_PAUSE)
            receipt = self._given_up(driver, row, verified, error)
        await self._intake.again(installation, row, receipt, finishes=(job.id, job.token))
        return DONE

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
