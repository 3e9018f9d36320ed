"""Reading a large table newest first, never more of it at once than a request may cost.

Conditions that an index serves choose what is looked at; the others are tried on what was found, a
window at a time. When the budget is spent before a page is full, the page says where to go on. What
there are only few of, such as unfinished work, is found by an index of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway.ids import ALPHABET
from gateway.store.base import Database
from gateway.store.clause import Sql
from gateway.store.rows import Wanted

WINDOWS = (2_000, 20_000, 200_000)
FEW = 10_000
CHUNK = 500
LARGEST = (1 << 63) - 1
SKEW = 600_000_000  # microseconds that the clocks of two machines may be apart
_LAST_MILLISECOND = (1 << 48) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What to read. `key`: the column that orders and is unique. `columns`: what `tried` looks at,
    of a table called `w`. `indexed`: adds conditions that an index on them and `key` serves.
    `tried`: adds the others. `few`: queries for the keys of all that can be wanted, each served by
    an index that holds nothing else.
    """

    table: str
    key: str
    columns: tuple[str, ...]
    indexed: Callable[[Sql], None]
    tried: Callable[[Sql], None]
    few: tuple[str, ...] = ()

    async def page(
        self, database: Database, limit: int, below: int | str | None
    ) -> tuple[list[Any], int | str | None]:
        """Up to `limit` keys lower than `below`, and what to give as `below` for more (None: there
        is nothing more).
        """
        keys = await self._few(database) if self.few else None
        if keys is not None:
            return await self._among(database, keys, limit, below)
        found: list[Any] = []
        for window in WINDOWS:
            found += await self._window(database, window, limit + 1 - len(found), below)
            if len(found) > limit:
                return found[:limit], found[limit - 1]
            looked_at, last = await self._extent(database, window, below)
            if looked_at < window:
                return found, None
            below = last
        return found, below

    async def _few(self, database: Database) -> set[Any] | None:
        """All that can be wanted, None when it is too much."""
        keys: set[Any] = set()
        for query in self.few:
            rows = await database.fetch(f"{query} LIMIT {FEW + 1}")
            if len(rows) > FEW:
                return None
            keys.update(row[0] for row in rows)
        return keys

    async def _among(
        self, database: Database, keys: set[Any], limit: int, below: int | str | None
    ) -> tuple[list[Any], int | str | None]:
        ordered = sorted((k for k in keys if below is None or k < below), reverse=True)
        found: list[Any] = []
        for start in range(0, len(ordered), CHUNK):
            sql = Sql()
            sql.within(f"w.{self.key}", ordered[start : start + CHUNK])
            self.indexed(sql)
            self.tried(sql)
            rows = await database.fetch(
                f"SELECT w.{self.key} FROM {self.table} AS w WHERE {sql.where}"
                f" ORDER BY w.{self.key} DESC LIMIT {sql.mark(limit + 1 - len(found))}",
                *sql.args,
            )
            found += [row[0] for row in rows]
            if len(found) > limit:
                return found[:limit], found[limit - 1]
        return found, None

    async def _window(
        self, database: Database, window: int, limit: int, below: int | str | None
    ) -> list[Any]:
        sql, inner = self._inner(window, below)
        sql.parts = []
        self.tried(sql)
        where = f" WHERE {sql.where}" if sql.parts else ""
        rows = await database.fetch(
            f"SELECT w.{self.key} FROM ({inner}) AS w{where}"
            f" ORDER BY w.{self.key} DESC LIMIT {sql.mark(limit)}",
            *sql.args,
        )
        return [row[0] for row in rows]

    async def _extent(
        self, database: Database, window: int, below: int | str | None
    ) -> tuple[int, int | str | None]:
        """How many rows a window holds, and its lowest key."""
        sql, inner = self._inner(window, below)
        rows = await database.fetch(
            f"SELECT count(*), min(w.{self.key}) FROM ({inner}) AS w",
            *sql.args,
        )
        return rows[0][0], rows[0][1]

    def _inner(self, window: int, below: int | str | None) -> tuple[Sql, str]:
        sql = Sql()
        self.indexed(sql)
        if below is not None:
            sql.add(f"{self.key} < {{}}", min(below, LARGEST) if isinstance(below, int) else below)
        where = f"WHERE {sql.where}" if sql.parts else ""
        columns = ", ".join((self.key, *self.columns))
        return sql, (
            f"SELECT {columns} FROM {self.table} {where}"
            f" ORDER BY {self.key} DESC LIMIT {sql.mark(window)}"
        )


def first_id(microseconds: int) -> str:
    """No id that was made at this time or later is lower."""
    millisecond = min(max(microseconds // 1000, 0), _LAST_MILLISECOND)
    return "".join(ALPHABET[millisecond >> shift & 31] for shift in range(45, -1, -5)) + "0" * 16


def narrowed(wanted: Wanted) -> Wanted:
    """With the one instance somebody may see as the one that is wanted, which has an index."""
    if wanted.instances is not None and wanted.instance is None and len(wanted.instances) == 1:
        return replace(wanted, instance=next(iter(wanted.instances)))
    return wanted


def ids_between(sql: Sql, wanted: Wanted) -> None:
    """Ids are as old as what they name, give or take the differences of clocks."""
    if wanted.after is not None:
        sql.add("id >= {}", first_id(wanted.after - SKEW))
    if wanted.before is not None:
        sql.add("id < {}", first_id(wanted.before + SKEW))
