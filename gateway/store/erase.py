"""Finding and blanking what is stored of somebody, in the SQL that both engines speak.

Every function is one slice: it reads by an index and looks at, or writes, a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.store.base import Database
from gateway.store.clause import Sql
from gateway.store.prune import EXPIRED

SLICE = 500
ERASED = f"{EXPIRED}: it was erased on request"
NOTHING = b"{}"
_EVENT = "seq, instance, installation_id, inbound_id, key, data"
EVENTS = f"SELECT {_EVENT} FROM events WHERE tenant = $1 AND seq > $2 ORDER BY seq LIMIT 500"
SAME_KEY = f"""
SELECT {_EVENT} FROM events WHERE tenant = $1 AND key = $2 AND seq > $3
ORDER BY seq LIMIT 500"""
INBOUNDS = """
SELECT id, instance, query, headers, body FROM inbounds WHERE tenant = $1 AND id > $2
ORDER BY id LIMIT 500"""
DELIVERIES = (
    "SELECT id, instance FROM deliveries WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT 500"
)
BLANK_EVENT = "UPDATE events SET data = $1 WHERE seq = $2 AND data <> $3 RETURNING seq"
BLANK_ATTEMPTS = """
UPDATE attempts SET exchange = $1, body = $2, error = NULL
WHERE delivery_id IN (SELECT id FROM deliveries WHERE seq = $3) RETURNING delivery_id"""
BLANK_ATTEMPTS_OF = """
UPDATE attempts SET exchange = $1, body = $2, error = NULL
WHERE delivery_id = $3 RETURNING delivery_id"""
BLANK_INBOUND = """
UPDATE inbounds SET body = $1, query = $2, headers = $3, reason = $4
WHERE id = $5 AND (length(body) > 0 OR length(headers) > 2) RETURNING id"""
CANCEL = """
UPDATE deliveries SET state = 'canceled', reason = $1, updated_at = $2
WHERE seq = $3 AND state = 'pending' RETURNING id"""


async def events_above(database: Database, tenant: str, above: int) -> list[tuple[Any, ...]]:
    """seq, instance, installation, inbound, key and data of the next events."""
    return await database.fetch(EVENTS, tenant, above)


async def events_of_key(
    database: Database, tenant: str, key: str, above: int
) -> list[tuple[Any, ...]]:
    """The same of the events of one ordering key."""
    return await database.fetch(SAME_KEY, tenant, key, above)


async def inbounds_above(database: Database, tenant: str, above: str) -> list[tuple[Any, ...]]:
    """id, instance, query, headers and body of the next inbounds."""
    return await database.fetch(INBOUNDS, tenant, above)


async def attempts_above(
    database: Database, tenant: str, above: str
) -> tuple[list[tuple[Any, ...]], str | None]:
    """delivery, instance, exchange, body and error of the tries of the next deliveries; and where
    to go on, None at the end.
    """
    places = await database.fetch(DELIVERIES, tenant, above)
    if not places:
        return [], None
    instances = dict(places)
    sql = Sql()
    sql.within("delivery_id", list(instances))
    rows = await database.fetch(
        f"SELECT delivery_id, exchange, body, error FROM attempts WHERE {sql.where}",
        *sql.args,
    )
    return [(row[0], instances[row[0]], *row[1:]) for row in rows], places[-1][0]


async def blank_event(database: Database, seq: int, data: bytes) -> tuple[bool, int]:
    """Write an event's data over, and forget its tries; whether that changed it, and how many."""
    changed = await database.write(BLANK_EVENT, data, seq, data)
    tries = await database.write(BLANK_ATTEMPTS, NOTHING, b"", seq)
    return bool(changed), len(tries)


async def cancel(database: Database, seq: int) -> int:
    """Send an event to nobody any more; gives how many deliveries that was."""
    now = await database.now()
    return len(await database.write(CANCEL, ERASED, now, seq))


async def blank_attempts(database: Database, delivery_id: str) -> int:
    """Forget what was said at the tries of a delivery; gives how many."""
    return len(await database.write(BLANK_ATTEMPTS_OF, NOTHING, b"", delivery_id))


async def blank_inbounds(database: Database, ids: Sequence[str]) -> int:
    """Forget what came in; that it came stays known. Gives how many held something."""
    gone = 0
    for ident in ids:
        gone += len(await database.write(BLANK_INBOUND, b"", NOTHING, NOTHING, ERASED, ident))
    return gone
