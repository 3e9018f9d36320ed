"""Where alarms come from: what was noticed of sinks, installations that fail, payloads that nobody
understands, deliveries that wait too long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.alarms import Address, Alarm, Alarms
from gateway.alerts import Notice, Notices
from gateway.directory import Directory
from gateway.dispatch import Dispatcher
from gateway.drift import Drift
from gateway.lane import Clocks
from gateway.models import Installation
from gateway.parts import Parts
from gateway.standing import Standing
from gateway.store.base import Store
from gateway.version import VERSION
from sinks.base import Http
from sinks.signing import secret_key

LOOK_EVERY = 30.0
# The one process that looks at what all of them share.
FIRST = "SELECT min(id) FROM nodes"
EARLIEST = "SELECT min(next_at) FROM deliveries WHERE sink_id = $1 AND state = 'pending'"


class AlarmSources:
    """Makes alarms of what others tell. `now`: microseconds."""

    def __init__(
        self, alarms: Alarms, store: Store, directory: Directory, now: Callable[[], int]
    ) -> None:
        self._alarms, self._store, self._directory, self._now = alarms, store, directory, now

    def attach(self, notices: Notices, standing: Standing, drift: Drift) -> None:
        """Listen to these, if anybody is to be told."""
        if self._alarms.is_on:
            notices.listen(self.noticed)
            standing.listen(self.moved)
            drift.listen(self.strange)

    def noticed(self, notice: Notice) -> None:
        """Something became of a sink."""
        self._alarms.hear(
            Alarm(
                kind=notice.kind,
                tenant=notice.tenant,
                instance=notice.instance,
                subject=notice.sink,
                reason=notice.reason,
                at=notice.at,
            )
        )

    def moved(self, one: Installation, before: str) -> None:
        """An installation went from one status to another."""
        if one.status == "error":
            kind, reason = "installation.error", one.reason or "it does not work"
        elif before == "error" and one.status == "active":
            kind, reason = "installation.recovered", "it works"
        else:
            return
        self._alarms.hear(
            Alarm(
                kind=kind,
                tenant=one.tenant,
                instance=one.instance,
                subject=f"{one.driver}/{one.id}",
                reason=reason,
                at=self._now(),
            )
        )

    def strange(
        self,
        tenant: str,
        driver: str,
        signs: Iterable[str],
        is_quarantined: bool,  # noqa: FBT001 - as drift.Listener has it
    ) -> None:
        """A delivery was not wholly understood."""
        for sign in signs:
            self._alarms.hear(
                Alarm(
                    kind="driver.quarantine" if is_quarantined else "driver.drift",
                    tenant=tenant,
                    instance="",
                    subject=driver,
                    reason=sign,
                    at=self._now(),
                )
            )

    async def watch(self, dispatcher: Dispatcher, backlog_age: float) -> None:
        """Look for deliveries overdue by `backlog_age` seconds (0: never), until cancelled."""
        if not backlog_age or not self._alarms.is_on:
            return
        database = self._store.database
        while True:
            ((first,),) = await database.fetch(FIRST)
            if first == self._store.log.node:
                for sink_id, wait in (await dispatcher.due()).items():
                    if not wait:
                        ((earliest,),) = await database.fetch(EARLIEST, sink_id)
                        late = (await database.now() - (earliest or self._now())) / 1e6
                        self._overdue(sink_id, late, backlog_age)
            await asyncio.sleep(min(LOOK_EVERY, backlog_age))

    def _overdue(self, sink_id: str, seconds: float, backlog_age: float) -> None:
        config = self._directory.sink(sink_id)
        if config is None or not config.enabled or seconds < backlog_age:
            return
        self._alarms.hear(
            Alarm(
                kind="sink.backlog",
                tenant=config.tenant,
                instance=config.instance,
                subject=f"{config.kind}/{config.name}",
                reason=f"a delivery is overdue by {seconds:.0f} s",
                at=self._now(),
            )
        )


class Watch(NamedTuple):
    """Its parts, by the names they have in `Services`."""

    alarms: Alarms
    alarm_sources: AlarmSources


def open_watch(parts: Parts, http: Http) -> Watch:
    """The alarms of a process, told to whom the settings name, and where they come from."""
    settings, address = parts.settings, None
    if settings.alert_webhook_url:
        address = Address(
            url=settings.alert_webhook_url,
            keys=(secret_key(settings.alert_webhook_secret.get_secret_value()),),
            interval=settings.alert_interval,
            server_url=settings.base_url,
            user_agent=f"Comporta/{VERSION}",
        )
    clocks, told = Clocks(parts.now, time.monotonic), parts.metrics.alerts
    alarms = Alarms(address, http, parts.ids, clocks, lambda outcome: told.labels(outcome).inc())
    return Watch(alarms, AlarmSources(alarms, parts.store, parts.directory, parts.now))
