"""Retention: what is finished and old goes, a slice at a time."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.store.postgres import days
from gateway.store.postgres.connections import Connection, Connections

SCAN = 2000  # rows looked at in one slice
LOCK = "SELECT pg_try_advisory_xact_lock(20544)"
# Old, and every delivery of it finished before that time, too.
EVENTS = """
SELECT e.seq, e.received_at, e.received_at < $2 AND NOT EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.seq = e.seq
    AND (d.state IN ('pending', 'leased') OR d.updated_at >= $2)),
    1 + (SELECT count(*) + coalesce(sum(d.attempts), 0) FROM deliveries AS d
        WHERE d.seq = e.seq)::bigint
FROM events AS e WHERE e.seq > $1 ORDER BY e.seq LIMIT $3"""
# Not while the provider's API is still to be asked, or an event of it is kept.
INBOUNDS = """
SELECT i.id, i.received_at, i.received_at < $2 AND i.outcome <> 'enriching' AND NOT EXISTS (
    SELECT 1 FROM jsonb_array_elements(i.events::jsonb) AS told (event)
    JOIN events AS e ON e.seq = (told.event ->> 2)::bigint), 1
FROM (
    (SELECT * FROM inbounds_before AS b WHERE b.id > $1 ORDER BY b.id LIMIT $3)
    UNION ALL (SELECT * FROM inbounds_other AS o WHERE o.id > $1 ORDER BY o.id LIMIT $3)
) AS i ORDER BY i.id LIMIT $3"""
# Requests and tries that are kept by day go with their day: see `days.py`.
DELETES = {
    "events": (
        """DELETE FROM attempts_before WHERE delivery_id IN (
            SELECT id FROM deliveries WHERE seq = ANY($1::bigint[]))""",
        """DELETE FROM attempts_other WHERE delivery_id IN (
            SELECT id FROM deliveries WHERE seq = ANY($1::bigint[]))""",
        "DELETE FROM deliveries WHERE seq = ANY($1::bigint[])",
        "DELETE FROM events WHERE seq = ANY($1::bigint[])",
    ),
    "inbounds": ("DELETE FROM inbounds WHERE id = ANY($1::text[])",),
}


@dataclass(slots=True)
class Purge:
    """A walk over events, then inbounds, from old to new, past what must stay. Kept between
    slices: work that waits for weeks at the old end is not looked at again in each.
    """

    table: str = "events"
    position: int | str = 0

    async def run(self, connections: Connections, before: int, limit: int) -> int:
        """One slice that deletes something, or a walk to the end; gives how many rows went. None
        while another process is at it.
        """
        gone, at_end = 0, False
        while not gone and not at_end:
            async with connections.transaction() as connection:
                if not await connection.fetchval(LOCK):
                    return 0
                gone, at_end = await self._slice(connection, before, limit)
        if at_end:
            await days.make(connections)
            await days.drop(connections, before)
        return gone

    async def _slice(self, connection: Connection, before: int, limit: int) -> tuple[int, bool]:
        query = EVENTS if self.table == "events" else INBOUNDS
        rows = await connection.fetch(query, self.position, before, min(SCAN, limit * 4))
        going: list[int | str] = []
        gone, finished = 0, not rows
        for key, received_at, old, size in rows:
            if received_at >= before:
                finished = True
                break
            if old and going and gone + size > limit:
                break
            if old:
                going.append(key)
                gone += size
            self.position = key
        if going:
            for statement in DELETES[self.table]:
                await connection.execute(statement, going)
        return gone, finished and self._next_table()

    def _next_table(self) -> bool:
        self.table, self.position = ("inbounds", "") if self.table == "events" else ("events", 0)
        return self.table == "events"
