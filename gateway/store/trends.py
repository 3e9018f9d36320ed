"""How much went through, when: counts per slice of time, for charts.

Ids begin with their time, so a slice is a range of the primary key. Of a busy slice only its
beginning is read, and the rest taken to be like it: a chart costs the same whatever the traffic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import quantiles
from typing import Any

from gateway.store.base import Database
from gateway.store.scan import first_id

MOST_EVENTS, MOST_DELIVERIES = 2000, 400  # rows read of one slice
SECOND = 1_000_000
MILLISECOND = 1000  # what ids tell
AT_ONCE = 3  # slices read side by side: connections are for deliveries first
REMEMBERED = 64  # answers

EVENTS = f"""
SELECT tenant, instance, count(*), max(received_at) FROM (
    SELECT tenant, instance, received_at FROM events WHERE id >= $1 AND id < $2
    ORDER BY id LIMIT {MOST_EVENTS}
) AS e GROUP BY tenant, instance"""
DELIVERIES = f"""
SELECT tenant, instance, state, created_at, updated_at FROM deliveries
WHERE id >= $1 AND id < $2 ORDER BY id LIMIT {MOST_DELIVERIES}"""


@dataclass(frozen=True, slots=True)
class Window:
    """What a chart spans: `slices` of `seconds` each."""

    seconds: int
    slices: int


WINDOWS = {"1h": Window(60, 60), "24h": Window(1800, 48), "7d": Window(10_800, 56)}


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of time, from `at` (microseconds) on. Deliveries belong to the slice in which they
    began; `p50` and `p95`: milliseconds from then until they were through, None when none was.
    """

    at: int
    accepted: float = 0.0
    delivered: float = 0.0
    dead: float = 0.0
    p50: float | None = None
    p95: float | None = None


class Trends:
    """Answers are remembered for a tenth of a slice, at most half a minute."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str | None, str], tuple[int, list[Slice]]] = {}

    async def slices(self, tenant: str, instance: str | None, window: str, now: int) -> list[Slice]:
        """The slices of a window that ends at `now`, oldest first. `window`: a key of WINDOWS."""
        span, key = WINDOWS[window], (tenant, instance, window)
        found = self._known.get(key)
        fresh_for = min(span.seconds * SECOND // 10, 30 * SECOND)
        if found is not None and 0 <= now - found[0] < fresh_for:
            return found[1]
        step = span.seconds * SECOND
        last = now - now % step
        starts = [last - step * back for back in range(span.slices - 1, -1, -1)]
        told: list[Slice] = []
        for first in range(0, len(starts), AT_ONCE):
            some = starts[first : first + AT_ONCE]
            told += await asyncio.gather(
                *(
                    self._slice(tenant, instance, at, min(step, now - at + MILLISECOND))
                    for at in some
                )
            )
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = (now, told)
        return told

    async def _slice(self, tenant: str, instance: str | None, at: int, step: int) -> Slice:
        ids = (first_id(at), first_id(at + step))
        events = await self._database.fetch(EVENTS, *ids)
        deliveries = await self._database.fetch(DELIVERIES, *ids)
        read = sum(row[2] for row in events)
        accepted = sum(row[2] for row in events if _is_of(row, tenant, instance))
        if read >= MOST_EVENTS:
            accepted *= _share(max(row[3] for row in events), at, step)
        part = _deliveries([row for row in deliveries if _is_of(row, tenant, instance)], at)
        if len(deliveries) >= MOST_DELIVERIES:
            times = _share(deliveries[-1][3], at, step)
            part = replace(part, delivered=part.delivered * times, dead=part.dead * times)
        return replace(part, accepted=float(accepted))


def _is_of(row: Sequence[Any], tenant: str, instance: str | None) -> bool:
    return row[0] == tenant and instance in {None, row[1]}


def _share(reached: int, at: int, step: int) -> float:
    """How many times what was read fits into the slice."""
    return max(1.0, step / max(1, min(reached - at, step)))


def _deliveries(rows: Sequence[Sequence[Any]], at: int) -> Slice:
    took = sorted((row[4] - row[3]) / 1000 for row in rows if row[2] == "succeeded")
    dead = sum(row[2] == "dead" for row in rows)
    if not took:
        return Slice(at, dead=float(dead))
    marks = quantiles(took, n=20, method="inclusive") if len(took) > 1 else took * 19
    return Slice(at, delivered=float(len(took)), dead=float(dead), p50=marks[9], p95=marks[18])
