"""Looking at a store without opening it: nothing is migrated, locked or written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.store.migrate import APPLIED, Engine, available, outstanding
from schemas.errors import StoreUnavailableError

if TYPE_CHECKING:
    from gateway.store.postgres.connections import Connections

HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'"
FACTS = (
    "SELECT to_regclass('schema_version') IS NOT NULL, pg_is_in_recovery(),"
    " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
)


@dataclass(frozen=True, slots=True)
class Peek:
    """`version`: of the schema, 0 where there is none. `missing`: migrations still to be done.
    `ahead`: seconds our clock is ahead of the store's.
    """

    version: int
    missing: int
    ahead: float = 0.0


async def peek_sqlite(path: Path) -> Peek:
    """The state of a database file that exists. Raises StoreUnavailableError when it is damaged, or
    a newer program's.
    """
    return await asyncio.to_thread(_peek_file, path)


def _peek_file(path: Path) -> Peek:
    # Imported here: only this engine needs it.
    from gateway.store.sqlite.connection import (  # noqa: PLC0415 - as above
        NOT_NOW,
        Tuning,
        open_reader,
    )

    try:
        with closing(open_reader(path, Tuning())) as connection:
            if not list(connection.execute(HAS_TABLE)):
                return _judged("sqlite", set())
            return _judged("sqlite", {version for (version,) in connection.execute(APPLIED)})
    except NOT_NOW as error:
        raise StoreUnavailableError(f"{path} cannot be read: {error}") from error


async def peek_postgres(url: str, clock: Callable[[], int]) -> Peek:
    """The state of a database. `clock`: microseconds. Raises StoreUnavailableError when it cannot
    be reached or takes no writes, and ValueError for a URL that is none.
    """
    from gateway.store.postgres.connections import (  # noqa: PLC0415 - only for this engine
        Connections,
        parse_options,
    )

    connections = await Connections.open(parse_options(url))
    try:
        return await _peek_server(connections, clock)
    finally:
        await connections.close()


async def _peek_server(connections: Connections, clock: Callable[[], int]) -> Peek:
    before = clock()
    ((has_table, is_standby, theirs),) = await connections.fetch(FACTS)
    ours = (before + clock()) / 2
    if is_standby:
        raise StoreUnavailableError("this server is a standby and takes no writes")
    applied = {row[0] for row in await connections.fetch(APPLIED)} if has_table else set()
    return _judged("postgres", applied, (ours - theirs) / 1e6)


def _judged(engine: Engine, applied: set[int], ahead: float = 0.0) -> Peek:
    missing = outstanding(available(engine), applied)
    return Peek(max(applied, default=0), len(missing), ahead)
