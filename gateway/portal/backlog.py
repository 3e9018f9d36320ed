"""What waits, per tenant, and how that went since this process began."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.directory import Directory
from gateway.dispatch import Dispatcher
from gateway.gauges import WAITING
from gateway.store.base import Database
from gateway.store.trends import WINDOWS, Window

KEPT = 24 * 60  # readings, one a minute
MINUTE = 60_000_000  # microseconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits now. `oldest_at`: microseconds, None when nothing waits."""

    count: int = 0
    oldest_at: int | None = None
    by_sink: dict[str, int] = field(default_factory=dict)


class Backlog:
    """Reads what waits; `note` it once a minute to have its history."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        dispatcher: Dispatcher,
        now: Callable[[], int],
    ) -> None:
        self._database, self._directory = database, directory
        self._dispatcher, self._now = dispatcher, now
        self._noted: deque[tuple[int, dict[tuple[str, str], int]]] = deque(maxlen=KEPT)

    async def waiting(self, tenant: str, instance: str | None) -> Waiting:
        """What waits for the sinks of a tenant, or of one of its instances."""
        count, oldest, by_sink = 0, None, {}
        for sink_id in await self._dispatcher.due():
            sink = self._directory.sink(sink_id)
            if sink is None or sink.tenant != tenant or instance not in {None, sink.instance}:
                continue
            ((found, first),) = await self._database.fetch(WAITING, sink_id)
            count += found
            by_sink[sink_id] = found
            if first is not None:
                oldest = first if oldest is None else min(oldest, first)
        return Waiting(count, oldest, by_sink)

    async def note(self) -> None:
        """Keep one reading of every instance's backlog."""
        reading: dict[tuple[str, str], int] = {}
        for sink_id in await self._dispatcher.due():
            sink = self._directory.sink(sink_id)
            if sink is not None:
                ((found, _),) = await self._database.fetch(WAITING, sink_id)
                place = (sink.tenant, sink.instance)
                reading[place] = reading.get(place, 0) + found
        self._noted.append((self._now(), reading))

    def history(self, tenant: str, instance: str | None, window: str) -> list[int | None]:
        """The most that waited in each slice of a window, None where nothing was read."""
        span: Window = WINDOWS[window]
        step, now = span.seconds * 1_000_000, self._now()
        last = now - now % step
        found: list[int | None] = [None] * span.slices
        for at, reading in self._noted:
            index = span.slices - 1 - (last - (at - at % step)) // step
            if 0 <= index < span.slices:
                total = sum(
                    count
                    for (owner, name), count in reading.items()
                    if owner == tenant and instance in {None, name}
                )
                found[index] = max(total, found[index] or 0)
        return found
