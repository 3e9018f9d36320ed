"""What happens to a sink's deliveries when the sink itself changes: deleted, recovered."""

from __future__ import annotations

from gateway.store.base import Database

SLICE = 500

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
