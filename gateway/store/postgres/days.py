"""Requests and answers by day: parts are made ahead of time, and a day that is over is dropped.

Dropping waits for nobody for long: while a lock cannot be had, everything stays, and the next look
tries again. Rows that must outlive their day move to the part that belongs to no day.
"""

from __future__ import annotations

import asyncpg

from gateway import log
from gateway.store.postgres.connections import Connection, Connections
from gateway.store.scan import first_id
from schemas.errors import StoreUnavailableError

KEYS = {"inbounds": "id", "attempts": "delivery_id"}
AHEAD = 1  # days for which parts are made ahead; retention looks more often
MOST_KEPT = 5_000  # rows that outlive their day; with more the day stays
PATIENCE = "SET LOCAL lock_timeout = '500ms'"
LOCK = "SELECT pg_try_advisory_xact_lock(20547)"
MISSING = """
SELECT d.parent FROM days AS d GROUP BY d.parent
HAVING max(d.upto) < comporta_first_id(
    (clock_timestamp() AT TIME ZONE 'UTC')::date + $1::int + 1)"""
MAKE = "SELECT comporta_make_days($1, $2, $3)"
OVER = """
SELECT parent, part, upto FROM days
WHERE upto <= $1 AND part <> parent || '_before' ORDER BY upto, parent LIMIT 1"""
# What is kept of a day, by key: the requests of events that are still there or still being asked
# about, the tries of deliveries that are still there. Of an old day little is left.
KEPT = {
    "inbounds": """
        SELECT i.id FROM {part} AS i WHERE i.outcome = 'enriching'
        UNION SELECT i.id FROM events AS e JOIN {part} AS i ON i.id = e.inbound_id
        WHERE e.id < $1 LIMIT $2""",
    "attempts": """
        SELECT d.id FROM deliveries AS d WHERE d.id < $1
        AND EXISTS (SELECT 1 FROM {part} AS a WHERE a.delivery_id = d.id) LIMIT $2""",
}
LOOK_SECONDS = 300.0  # for what is kept: nobody waits for that


async def make(connections: Connections) -> None:
    """Make the parts of today and the next days where they are missing. A store that is busy is no
    trouble: what has no part yet is kept beside them.
    """
    for row in await connections.fetch(MISSING, AHEAD):
        try:
            async with connections.transaction() as connection:
                await connection.execute(PATIENCE)
                await connection.fetch(MAKE, row[0], KEYS[row[0]], AHEAD)
        except (StoreUnavailableError, asyncpg.PostgresError) as error:
            log.get().warning("days.delayed", table=row[0], error=str(error))


async def drop(connections: Connections, before: int) -> int:
    """Drop the days whose rows are all older than `before` (microseconds); gives how many."""
    dropped = 0
    while True:
        try:
            async with connections.transaction() as connection:
                await connection.execute(PATIENCE)
                if not await connection.fetchval(LOCK):
                    return dropped
                rows = await connection.fetch(OVER, first_id(before))
                if not rows or not await _drop(connection, *rows[0]):
                    return dropped
        except (StoreUnavailableError, asyncpg.PostgresError) as error:
            log.get().warning("days.undropped", error=str(error))
            return dropped
        dropped += 1


async def _drop(connection: Connection, parent: str, part: str, upto: str) -> bool:
    """One day; False when too much of it must be kept. The names are those we gave."""
    look = KEPT[parent].format(part=part)
    rows = await connection.fetch(look, upto, MOST_KEPT + 1, timeout=LOOK_SECONDS)
    if len(rows) > MOST_KEPT:
        log.get().warning("days.kept", part=part, reason="too many of its rows are still needed")
        return False
    await connection.execute(f"ALTER TABLE {parent} DETACH PARTITION {part}")
    # From here on everybody waits, so what is to be moved is known already.
    move = f"INSERT INTO {parent} SELECT * FROM {part} WHERE {KEYS[parent]} = ANY($1::text[])"
    await connection.fetch(move, [row[0] for row in rows])
    await connection.execute(f"DROP TABLE {part}")
    await connection.fetch("DELETE FROM days WHERE part = $1", part)
    log.get().info("days.dropped", part=part, kept=len(rows))
    return True
