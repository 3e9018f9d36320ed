"""The audit log: who changed or replayed what, when, from where. Kept for a year.

One row per request that changed something, written where every route passes, not by handlers. It
tells the names of the fields that were sent, never their values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.security import Principal
from gateway.store.base import Database
from gateway.store.clause import Sql
from gateway.store.keys import storable

KEEP = 366 * 86_400_000_000  # microseconds
SLICE = 500
COLUMNS = "id, at, key_id, key_name, action, path, instance, status, source, doc"
INSERT = f"""
INSERT INTO audit ({COLUMNS}, tenant) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
RETURNING id"""  # noqa: S608 - the names are our own
FORGET = """
DELETE FROM audit WHERE id IN (
    SELECT id FROM audit WHERE at < $1 ORDER BY id LIMIT 500)
RETURNING id"""
MAX_PATH = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row. `action`: method and route; `path`: what was asked for, without its query. `doc`:
    `fields` that were sent, `id` of what was made.
    """

    id: str
    at: int
    key_id: str
    key_name: str
    action: str
    path: str
    instance: str | None
    status: int
    source: str
    doc: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What of a tenant's log is wanted. `after`, `before`: microseconds, ends excluded. `below`:
    the id to go on from. `instances`: the only ones, None for everything.
    """

    tenant: str
    instances: Collection[str] | None = None
    key: str | None = None
    action: str | None = None
    instance: str | None = None
    source: str | None = None
    after: int | None = None
    before: int | None = None
    below: str | None = None


class Audit:
    """Writes and reads the log."""

    def __init__(self, database: Database, ids: Callable[[], str], now: Callable[[], int]) -> None:
        self._database, self._ids, self._now = database, ids, now

    async def record(
        self,
        principal: Principal,
        *,
        action: str,
        path: str,
        instance: str | None,
        status: int,
        source: str,
        doc: dict[str, Any],
    ) -> None:
        """Keep that somebody did something. Raises StoreUnavailableError."""
        await self._database.write(
            INSERT,
            *(self._ids(), self._now(), principal.key_id, storable(principal.name), action),
            *(storable(path)[:MAX_PATH], instance, status, source, json.dumps(doc)),
            principal.tenant,
        )

    async def find(self, search: Search, limit: int) -> Sequence[Entry]:
        """Newest first."""
        sql = Sql()
        sql.equal(
            tenant=search.tenant,
            action=search.action,
            instance=search.instance,
            source=search.source,
        )
        if search.key is not None:
            sql.add("(key_id = {} OR key_name = {})", search.key, search.key)
        sql.within("instance", search.instances)
        for condition, value in (
            ("at > {}", search.after),
            ("at < {}", search.before),
            ("id < {}", search.below),
        ):
            if value is not None:
                sql.add(condition, value)
        mark = sql.mark(limit)
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM audit WHERE {sql.where} ORDER BY id DESC LIMIT {mark}",  # noqa: S608 - names and placeholders of our own
            *sql.args,
        )
        return [_entry(row) for row in rows]

    async def forget(self) -> None:
        """Drop what is older than a year, a slice at a time."""
        while len(await self._database.write(FORGET, self._now() - KEEP)) >= SLICE:
            pass


def _entry(row: Sequence[Any]) -> Entry:
    *told, doc = row
    names = [name.strip() for name in COLUMNS.split(",")]
    return Entry(**dict(zip(names, [*told, json.loads(doc)], strict=True)))
