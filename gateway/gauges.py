"""The metrics that are read rather than counted: refreshed when somebody asks, at most every few
seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import get_args

from gateway.circuits import SharedCircuits
from gateway.dispatch import Dispatcher
from gateway.models import Status
from gateway.parts import Parts
from schemas.errors import StoreUnavailableError
from schemas.sink_config import KINDS

EVERY = 5.0

# Bounded per sink, so that a scrape costs the same whatever the backlog.
WAITING = """
SELECT count(*), min(created_at) FROM (
    SELECT created_at FROM deliveries WHERE sink_id = $1 AND state = 'pending'
    ORDER BY next_at LIMIT 100000
) AS waiting
"""
OVERDUE = "SELECT min(due_at) FROM jobs WHERE kind = 'poll' AND owner IS NULL"


class Gauges:
    """`refresh` before rendering the metrics."""

    def __init__(
        self,
        parts: Parts,
        dispatcher: Dispatcher,
        circuits: SharedCircuits,
        monotonic: Callable[[], float],
    ) -> None:
        self._metrics, self._database = parts.metrics, parts.store.database
        self._directory, self._dispatcher, self._shared = parts.directory, dispatcher, circuits
        self._monotonic, self._fresh_until = monotonic, 0.0
        self._drivers: set[str] = set()

    async def refresh(self) -> None:
        """Bring the gauges up to date; a store that does not answer leaves them as they were."""
        now = self._monotonic()
        if now < self._fresh_until:
            return
        self._fresh_until = now + EVERY
        self._standing()
        try:
            await self._waiting()
            await self._overdue()
        except StoreUnavailableError:
            return
        lanes = {lane.config.id: lane.breaker.state for lane in self._dispatcher.lanes}
        states = Counter((dict.fromkeys(self._shared.open_ids, "open") | lanes).values())
        for state in ("closed", "open", "half_open"):
            self._metrics.circuits.labels(state).set(states[state])

    def _standing(self) -> None:
        counts = Counter((one.driver, one.status) for one in self._directory.installations())
        # Those of a driver that has none any more are set to 0: what several processes show
        # together cannot be taken back.
        self._drivers |= {driver for driver, _ in counts}
        for driver, status in product(self._drivers, get_args(Status)):
            self._metrics.installations.labels(driver, status).set(counts[driver, status])

    async def _overdue(self) -> None:
        ((due_at,),) = await self._database.fetch(OVERDUE)
        late = 0 if due_at is None else await self._database.now() - due_at
        self._metrics.poll_lag.set(max(0.0, late / 1e6))

    async def _waiting(self) -> None:
        backlog: dict[str, int] = dict.fromkeys(KINDS, 0)
        oldest: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        due, now = await self._dispatcher.due(), await self._database.now()
        for sink_id in due:
            config = self._directory.sink(sink_id)
            if config is None:
                continue
            ((count, first),) = await self._database.fetch(WAITING, sink_id)
            backlog[config.kind] += count
            if first is not None:
                oldest[config.kind] = max(oldest[config.kind], (now - first) / 1e6)
        for kind in KINDS:
            self._metrics.backlog.labels(kind).set(backlog[kind])
            self._metrics.oldest.labels(kind).set(oldest[kind])
