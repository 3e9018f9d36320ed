"""How one sink is doing, from what the store holds."""

from __future__ import annotations

from gateway.store.base import Database
from gateway.store.rows import SinkTold

COUNTED = 100_000  # rows, at most
# Of all that was delivered only what belongs to the latest events can be found by an index.
EVENTS = 500
WAITING = f"""
SELECT count(*), coalesce(sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END), 0), min(created_at)
FROM (SELECT attempts, created_at FROM deliveries
    WHERE sink_id = $1 AND state = 'pending' ORDER BY next_at LIMIT {COUNTED}) AS waiting"""
DEAD = f"""
SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE sink_id = $1 AND state = 'dead'
    LIMIT {COUNTED}) AS given_up"""
RECENT = f"""
SELECT d.id FROM (SELECT seq FROM events WHERE tenant = $1 AND instance = $2
    ORDER BY seq DESC LIMIT {EVENTS}) AS e
JOIN deliveries AS d ON d.seq = e.seq WHERE d.sink_id = $3"""
OUTCOMES = f"""
SELECT a.outcome, count(*), max(a.at)
FROM ({RECENT}) AS recent JOIN attempts AS a ON a.delivery_id = recent.id GROUP BY a.outcome"""
# Whatever still waits or was given up may have failed later than those.
LAST_ERROR = f"""
SELECT a.at, a.error FROM (
    {RECENT}
    UNION SELECT id FROM (SELECT id FROM deliveries WHERE sink_id = $3 AND state = 'pending'
        ORDER BY next_at DESC LIMIT 100) AS waiting
    UNION SELECT id FROM (SELECT id FROM deliveries WHERE sink_id = $3 AND state = 'dead'
        ORDER BY id DESC LIMIT 20) AS given_up
) AS candidates JOIN attempts AS a ON a.delivery_id = candidates.id
WHERE a.outcome <> 'succeeded' ORDER BY a.at DESC LIMIT 1"""


async def told(database: Database, tenant: str, instance: str, sink_id: str) -> SinkTold:
    """What waits for a sink, and how its last tries went."""
    ((backlog, retrying, oldest),) = await database.fetch(WAITING, sink_id)
    ((dead,),) = await database.fetch(DEAD, sink_id)
    outcomes = await database.fetch(OUTCOMES, tenant, instance, sink_id)
    errors = await database.fetch(LAST_ERROR, tenant, instance, sink_id)
    return SinkTold(
        backlog=backlog,
        retrying=int(retrying),
        dead=dead,
        oldest_waiting_at=oldest,
        last_success_at=next((at for name, _, at in outcomes if name == "succeeded"), None),
        last_error_at=errors[0][0] if errors else None,
        last_error=errors[0][1] if errors else None,
        attempts={name: count for name, count, _ in outcomes},
    )
