"""Events that wait for silence: when their time has come, the stored delivery is read again and
what was put off is emitted.
"""

from __future__ import annotations

from dataclasses import replace

from drivers import BY_SLUG
from drivers.base import interpret
from drivers.verify import restore
from gateway.directory import Directory
from gateway.intake import Intake
from gateway.jobs import DONE, Done
from gateway.store.base import Job, NewInbound
from gateway.store.history import History
from gateway.store.keys import moment
from gateway.store.prune import EXPIRED
from schemas import codec
from schemas.request import Inbound


def inbound_of(row: NewInbound) -> Inbound:
    """A stored delivery as the driver saw it, less its secrets."""
    headers = {k: tuple(v) for k, v in codec.loads(row.headers).items()}
    query = {k: tuple(v) for k, v in codec.loads(row.query).items()}
    return Inbound(row.method, headers, query, row.body, moment(row.received_at))


class Deferral:
    """Runs the jobs of kind `defer`."""

    def __init__(self, history: History, directory: Directory, intake: Intake) -> None:
        self._history, self._directory, self._intake = history, directory, intake

    async def run(self, job: Job) -> float | Done | None:
        """Emit the event this job waited for; nothing when its installation is gone."""
        doc = codec.loads(job.doc)
        installation = self._directory.installation(doc["installation_id"])
        if installation is None or installation.driver not in BY_SLUG:
            return None
        row = await self._history.stored_inbound(installation.tenant, doc["inbound_id"])
        if row is None or (row.reason or "").startswith(EXPIRED):
            return None
        driver, inbound = BY_SLUG[installation.driver], inbound_of(row)
        verified = restore(inbound, installation.settings, driver.parse(inbound), {})
        receipt = interpret(driver, verified, has_api=False, body=row.body, headers=inbound.headers)
        due = tuple(
            replace(e, defer_seconds=0)
            for e in receipt.events
            if (e.name, e.defer_as or e.key) == (doc["name"], doc["as"])
        )
        if not due:
            return None
        receipt = replace(receipt, events=due, settles=())
        await self._intake.again(installation, row, receipt, finishes=(job.id, job.token))
        return DONE
