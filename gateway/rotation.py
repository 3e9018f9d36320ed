"""Encrypting what is stored with the newest key, while the gateway runs.

Each record is written over exactly the version that was read, so that a change made meanwhile is
not lost: such a record is read again. Several processes may rotate at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.directory import KINDS
from gateway.security import Vault
from gateway.store.base import Database, Record
from gateway.store.registry import Registry
from schemas.errors import ConflictError

TRIES = 5
SLICE = 500
ANSWERS = "SELECT digest, answer FROM idempotency WHERE digest > $1 ORDER BY digest LIMIT 500"
RESEAL = "UPDATE idempotency SET answer = $1 WHERE digest = $2 AND answer = $3 RETURNING digest"


@dataclass(slots=True)
class Rotated:
    """How many secrets were sealed anew, and how many had the newest key already."""

    rotated: int = 0
    current: int = 0


async def rotate(registry: Registry, database: Database, vault: Vault) -> Rotated:
    """Seal everything stored with the newest key. Raises SecretsError for what no key opens."""
    told = Rotated()
    for kind in KINDS:
        for record in await registry.list(kind):
            await _record(registry, vault, record, told)
    above = ""
    while rows := await database.fetch(ANSWERS, above):
        above = rows[-1][0]
        for ident, sealed in rows:
            if sealed and not vault.is_current(sealed):
                await database.write(RESEAL, vault.rotate(sealed), ident, sealed)
                told.rotated += 1
    return told


async def _record(registry: Registry, vault: Vault, record: Record | None, told: Rotated) -> None:
    for _ in range(TRIES):
        if record is None or "sealed" not in record.doc:
            return
        if vault.is_current(record.doc["sealed"]):
            told.current += 1
            return
        record.doc["sealed"] = vault.rotate(record.doc["sealed"])
        try:
            await registry.put(record, expect_version=record.version)
        except ConflictError:
            record = await registry.get(record.kind, record.id)
        else:
            told.rotated += 1
            return
    raise ConflictError("a record does not stop changing: rotate again")
