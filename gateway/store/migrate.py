"""Numbered plain-SQL migrations, `migrations/{engine}/NNNN_name.sql`, each applied once.

An engine opens a transaction, takes its lock, makes `TABLE`, reads the versions that are there,
runs what `statements` gives, and commits: all of it or nothing, whoever else starts at the same
time.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from schemas.errors import StoreUnavailableError

Engine = Literal["sqlite", "postgres"]
TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_version "
    "(version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
)
APPLIED = "SELECT version FROM schema_version"
RECORD = "INSERT INTO schema_version (version, name, applied_at) VALUES ($1, $2, $3)"
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `sql`: any number of statements, without a transaction of their own."""

    version: int
    name: str
    sql: str


def available(engine: Engine) -> list[Migration]:
    """Every step this program knows, in order. Two with one number are a mistake of ours."""
    found = sorted(
        (
            Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8"))
            for entry in resources.files("gateway.store").joinpath("migrations", engine).iterdir()
            if (match := _FILE.fullmatch(entry.name))
        ),
        key=lambda step: step.version,
    )
    if [step.version for step in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations of {engine} are not numbered 0001, 0002, …")
    return found


def outstanding(steps: list[Migration], applied: Collection[int]) -> list[Migration]:
    """What is still to be done. Raises StoreUnavailableError when a newer program was here: going
    on would do damage.
    """
    newest = steps[-1].version if steps else 0
    if applied and max(applied) > newest:
        raise StoreUnavailableError(
            f"the store has schema version {max(applied)}, this program knows {newest}: "
            "start the newer program"
        )
    return [step for step in steps if step.version not in applied]


def statements(
    steps: list[Migration], applied: Collection[int], now: int
) -> list[tuple[str, tuple[int | str, ...]]]:
    """What to execute, in order, with `$1 $2 $3` parameters. `now`: microseconds."""
    plan: list[tuple[str, tuple[int | str, ...]]] = []
    for step in outstanding(steps, applied):
        plan += [(step.sql, ()), (RECORD, (step.version, step.name, now))]
    return plan
