"""Retention: what is finished and old goes, a slice at a time."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from gateway.store.sqlite.connection import Sql

SCAN = 2000  # rows looked at in one slice
# Old, and every delivery of it finished before that time, too.
EVENTS = """
SELECT e.seq, e.received_at, e.received_at < ?2 AND NOT EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.seq = e.seq
    AND (d.state IN ('pending', 'leased') OR d.updated_at >= ?2)),
    1 + (SELECT count(*) + coalesce(sum(d.attempts), 0) FROM deliveries AS d WHERE d.seq = e.seq)
FROM events AS e WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?3"""
# Not while the provider's API is still to be asked, or an event of it is kept.
INBOUNDS = """
SELECT i.rowid, i.received_at, i.received_at < ?2 AND i.outcome <> 'enriching' AND NOT EXISTS (
    SELECT 1 FROM json_each(i.events) AS told JOIN events AS e ON e.seq = told.value ->> 2), 1
FROM inbounds AS i WHERE i.rowid > ?1 ORDER BY i.rowid LIMIT ?3"""
DELETES = {
    "events": (
        """DELETE FROM attempts WHERE delivery_id IN (
            SELECT id FROM deliveries WHERE seq IN (SELECT value FROM json_each(?)))""",
        "DELETE FROM deliveries WHERE seq IN (SELECT value FROM json_each(?))",
        "DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))",
    ),
    "inbounds": ("DELETE FROM inbounds WHERE rowid IN (SELECT value FROM json_each(?))",),
}


@dataclass(slots=True)
class Purge:
    """A walk over events, then inbounds, from old to new, past what must stay. Kept between
    slices: work that waits for weeks at the old end is not looked at again in each.
    """

    table: str = "events"
    position: int = 0

    def slice(self, sql: Sql, before: int, limit: int) -> tuple[int, bool]:
        """How many rows went, and whether the walk has come to its end (the next begins anew)."""
        query = EVENTS if self.table == "events" else INBOUNDS
        rows = sql.all(query, (self.position, before, min(SCAN, limit * 4)))
        going: list[int] = []
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
        self._delete(sql, going)
        return gone, finished and self._next_table()

    def _delete(self, sql: Sql, keys: list[int]) -> None:
        if keys:
            listed = orjson.dumps(keys).decode()
            for statement in DELETES[self.table]:
                sql.run(statement, (listed,))

    def _next_table(self) -> bool:
        self.position = 0
        self.table = "inbounds" if self.table == "events" else "events"
        return self.table == "events"
