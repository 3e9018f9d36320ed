"""What is done to deliveries by hand: again, or never. Bounded statements, the same SQL on both
engines.

A delivery that is leased is being sent right now: nothing here touches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.store.base import Database
from schemas.events import StoredEvent

# `replay` grows, which changes the brokers' deduplication id; `token` grows, which fences a late
# settle of an earlier lease.
RETRY = """
UPDATE deliveries SET state = 'pending', next_at = $1, replay = replay + 1, token = token + 1,
    attempts = 0, reason = NULL, updated_at = $2
WHERE id = $3 AND tenant = $4 AND state <> 'leased' RETURNING id
"""
CANCEL = """
UPDATE deliveries SET state = 'canceled', reason = $1, token = token + 1, updated_at = $2
WHERE id = $3 AND tenant = $4 AND state = 'pending' RETURNING id
"""
INSERT = """
INSERT INTO deliveries (id, seq, sink_id, tenant, instance, okey, state, replay, next_at,
    created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, 'pending', 1, $7, $8, $9) RETURNING id
"""


async def retry(database: Database, tenant: str, ident: str) -> bool:
    """Make a delivery due now, whatever its state; False when it is being sent, or is not there."""
    now = await database.now()
    return bool(await database.write(RETRY, now, now, ident, tenant))


async def cancel(database: Database, tenant: str, ident: str, reason: str = "by hand") -> bool:
    """End a waiting delivery; False when it is not waiting."""
    return bool(await database.write(CANCEL, reason, await database.now(), ident, tenant))


async def replay(
    database: Database,
    event: StoredEvent,
    sinks: Sequence[tuple[str, bool]],
    new_id: Callable[[], str],
) -> list[str]:
    """New deliveries of an event to sinks, each (id, ordered); gives their ids."""
    made = []
    for sink_id, ordered in sinks:
        now = await database.now()
        scope = event.installation_id or f"{event.tenant}/{event.instance}"
        okey = f"{scope}/{event.key}" if ordered else None
        ident = new_id()
        await database.write(
            INSERT,
            ident,
            event.seq,
            sink_id,
            event.tenant,
            event.instance,
            okey,
            now,
            now,
            now,
        )
        made.append(ident)
    return made
