"""The cold things, as records: one table, one statement at a time, the same SQL on both engines."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.store.base import Database, Record, Topic
from gateway.store.keys import storable
from schemas.errors import ConflictError

COLUMNS = "kind, id, tenant, name, doc, version, created_at, updated_at"
GET = f"SELECT {COLUMNS} FROM records WHERE kind = $1 AND id = $2"
FIND = f"SELECT {COLUMNS} FROM records WHERE kind = $1 AND tenant = $2 AND name = $3"
LIST = f"SELECT {COLUMNS} FROM records WHERE kind = $1 ORDER BY id"
LIST_OF = f"SELECT {COLUMNS} FROM records WHERE kind = $1 AND tenant = $2 ORDER BY id"
INSERT = f"""
INSERT INTO records ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, 1, $6, $7)
ON CONFLICT DO NOTHING RETURNING {COLUMNS}
"""
UPDATE = f"""
UPDATE records SET name = $1, doc = $2, version = version + 1, updated_at = $3
WHERE kind = $4 AND id = $5 AND ($6 = 0 OR version = $6) AND NOT EXISTS (
    SELECT 1 FROM records AS other WHERE other.kind = $4 AND other.tenant = records.tenant
    AND other.name = $1 AND other.id <> $5)
RETURNING {COLUMNS}
"""
DELETE = "DELETE FROM records WHERE kind = $1 AND id = $2 RETURNING id"


class Registry:
    """Reads and writes records; every change is told as topic `config`, payload `kind/id`."""

    def __init__(self, database: Database, notify: Callable[[Topic, str], Awaitable[None]]) -> None:
        self._database, self._notify = database, notify

    async def get(self, kind: str, ident: str) -> Record | None:
        """The record of this id."""
        return _one(await self._database.fetch(GET, kind, ident))

    async def find(self, kind: str, tenant: str, name: str) -> Record | None:
        """The record of this name."""
        return _one(await self._database.fetch(FIND, kind, tenant, name))

    async def list(self, kind: str, tenant: str | None = None) -> list[Record]:
        """Every record of a kind, oldest first."""
        if tenant is None:
            rows = await self._database.fetch(LIST, kind)
        else:
            rows = await self._database.fetch(LIST_OF, kind, tenant)
        return [_record(row) for row in rows]

    async def put(self, record: Record, *, expect_version: int | None = None) -> Record:
        """Write a record: a new one with `expect_version` 0, else over exactly that version (None:
        over whatever is there, or new). Gives it with its new version and times; its tenant and
        `created_at` never change.

        Raises ConflictError when the name is taken, or somebody changed the record meanwhile.
        """
        now, doc = await self._database.now(), json.dumps(record.doc)
        written, name = None, storable(record.name)
        if expect_version != 0:
            over = (name, doc, now, record.kind, record.id, expect_version or 0)
            written = _one(await self._database.write(UPDATE, *over))
        if written is None and not expect_version:
            new = (record.kind, record.id, record.tenant, name, doc, now, now)
            written = _one(await self._database.write(INSERT, *new))
        if written is None:
            raise ConflictError(f"another {record.kind} has this name, or it was changed meanwhile")
        await self._notify("config", f"{record.kind}/{record.id}")
        return written

    async def delete(self, kind: str, ident: str) -> bool:
        """Remove a record; gives whether there was one."""
        rows = await self._database.write(DELETE, kind, ident)
        if rows:
            await self._notify("config", f"{kind}/{ident}")
        return bool(rows)


def _one(rows: list[tuple[Any, ...]]) -> Record | None:
    return _record(rows[0]) if rows else None


def _record(row: tuple[Any, ...]) -> Record:
    kind, ident, tenant, name, doc, version, created_at, updated_at = row
    return Record(
        kind=kind,
        id=ident,
        tenant=tenant,
        name=name,
        doc=json.loads(doc),
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )
