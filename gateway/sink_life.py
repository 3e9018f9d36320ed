"""What happens to a sink's deliveries when the sink itself changes: deleted, switched off by its
other side, recovered.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway import log
from gateway.alerts import Notice, Notices
from gateway.directory import Directory
from gateway.store.base import Database, Lease, Store
from schemas.errors import ConflictError

SLICE = 500
ALIVE = "SELECT count(*) FROM nodes"

CANCEL = """
UPDATE deliveries SET state = 'canceled', reason = 'the sink was removed', updated_at = $1
WHERE id IN (SELECT id FROM deliveries WHERE sink_id = $2 AND state = 'pending' LIMIT 500)
RETURNING id
"""
# What waits for an earlier event of its key (at the end of time) goes on waiting.
EXPEDITE = """
UPDATE deliveries SET next_at = $1
WHERE id IN (
    SELECT id FROM deliveries
    WHERE sink_id = $2 AND state = 'pending' AND next_at > $3 AND next_at < 9223372036854775807
    ORDER BY next_at LIMIT 500
)
RETURNING id
"""
LEASED = """
SELECT id, token FROM deliveries WHERE state = 'leased' AND owner = $1 AND updated_at < $2
"""


async def cancel_pending(database: Database, sink_id: str) -> int:
    """Cancel what still waits for a sink that is gone; gives how many."""
    count = 0
    while True:
        rows = await database.write(CANCEL, await database.now(), sink_id)
        count += len(rows)
        if len(rows) < SLICE:
            return count


async def expedite(database: Database, sink_id: str) -> int:
    """Make what was put off while a sink was down due now; gives how many."""
    now, count = await database.now(), 0
    while True:
        rows = await database.write(EXPEDITE, now, sink_id, now)
        count += len(rows)
        if len(rows) < SLICE:
            return count


class SinkLife:
    """What the dispatcher has done when a sink turns out to be gone, unwilling or well again."""

    def __init__(
        self, store: Store, directory: Directory, notices: Notices, now: Callable[[], int]
    ) -> None:
        self._store, self._directory, self._now = store, directory, now
        self._notices = notices

    async def disable(self, sink_id: str, reason: str) -> None:
        """Switch a sink off because the other side wants nothing any more, or always fails."""
        config = self._directory.sink(sink_id)
        if config is None or not config.enabled:
            return
        update = {"enabled": False, "disabled_reason": reason, "updated_at": self._now()}
        try:
            await self._directory.save_sink(config.model_copy(update=update))
        except ConflictError:
            return  # somebody configures it right now: theirs is the newer word
        self._notices.tell(
            Notice(
                kind="sink.disabled",
                tenant=config.tenant,
                instance=config.instance,
                sink_id=sink_id,
                sink=f"{config.kind}/{config.name}",
                reason=reason,
                at=self._now(),
            )
        )

    async def recovered(self, sink_id: str) -> None:
        """Send now what was put off while the sink was down."""
        freed = await expedite(self._store.database, sink_id)
        log.get().info("sink.recovered", sink_id=sink_id, count=freed)
        await self._store.notify("deliveries", sink_id)

    async def gone(self, sink_id: str) -> None:
        """Cancel what waits for a sink, if the registry does not know it either."""
        await self._directory.refresh("sink", sink_id)
        if self._directory.sink(sink_id) is None:
            count = await cancel_pending(self._store.database, sink_id)
            log.get().warning("sink.gone", sink_id=sink_id, count=count)

    async def leased_for(self, seconds: float) -> list[Lease]:
        """The leases that this process took at least so many seconds ago."""
        before = await self._store.database.now() - int(seconds * 1_000_000)
        rows = await self._store.database.fetch(LEASED, self._store.log.node, before)
        return [(row[0], row[1]) for row in rows]

    async def processes(self) -> int:
        """How many processes are alive, this one included."""
        ((count,),) = await self._store.database.fetch(ALIVE)
        return max(1, int(count))
