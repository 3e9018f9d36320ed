"""Opening, watching over and closing: `gateway.store.base.Store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

from gateway.store import migrate
from gateway.store.base import Database, EventLog, Topic
from gateway.store.keys import storable_value
from gateway.store.postgres import days
from gateway.store.postgres.append_sql import HORIZON
from gateway.store.postgres.connections import Connection, Connections, parse_options
from gateway.store.postgres.event_log import PostgresLog
from gateway.store.postgres.hints import Hints
from schemas.errors import ConflictError, StoreUnavailableError

MIGRATION_LOCK = "SELECT pg_advisory_xact_lock(20545)"
HAS_TABLE = "SELECT to_regclass('schema_version') IS NOT NULL"
# A real write, that changes nothing.
PROBE = "UPDATE schema_version SET name = name WHERE version = $1 RETURNING version"
NOW = "SELECT comporta_now($1)"
READERS = 3  # connections that queries may hold, so that the log always finds one
FORGET = "DELETE FROM nodes WHERE id = $1"


async def open_postgres(
    url: str,
    *,
    node: str,
    lease_seconds: float,
    clock: Callable[[], int] | None = None,
    observe: Callable[[str, float], None] | None = None,
    crash: Callable[[str], None] | None = None,
) -> PostgresStore:
    """See `gateway.store.open_store`. `?statement_cache_size=0` in the URL is for PgBouncer's
    transaction pooling, `?pool_size=` and `?command_timeout=` (seconds) for tuning.
    """
    options = parse_options(url)
    connections = await Connections.open(options)
    log = PostgresLog(
        connections,
        node=node,
        lease_seconds=lease_seconds,
        clock=clock,
        observe=observe or _ignore,
        crash=crash or _ignore,
    )
    try:
        await _migrate(connections)
        await days.make(connections)
        await log.heartbeat()
    except BaseException:
        await connections.close()
        raise
    hints = Hints(connections, options, node)
    await hints.ready()
    return PostgresStore(log, PostgresDatabase(connections, clock), connections, hints)


class PostgresDatabase:
    """The cold half: `gateway.store.base.Database`."""

    def __init__(self, connections: Connections, clock: Callable[[], int] | None) -> None:
        self._connections, self._clock = connections, clock
        self._readers = asyncio.Semaphore(READERS)

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        async with self._readers, self._connections.transaction(read_only=True) as connection:
            return list(map(tuple, await connection.fetch(sql, *map(storable_value, args))))

    async def write(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        try:
            return list(map(tuple, await self._connections.write(sql, *map(storable_value, args))))
        except asyncpg.UniqueViolationError as error:
            raise ConflictError("that name is taken") from error

    async def now(self) -> int:
        if self._clock:
            return self._clock()
        return int((await self._connections.fetch(NOW, None))[0][0])

    async def horizon(self) -> int:
        return int((await self._connections.fetch(HORIZON))[0][0])


class PostgresStore:
    """One process's connection to the database that all processes share."""

    log: EventLog
    database: Database

    def __init__(
        self,
        log: PostgresLog,
        database: PostgresDatabase,
        connections: Connections,
        hints: Hints,
    ) -> None:
        self.log, self.database, self._log = log, database, log
        self._connections, self._hints = connections, hints
        self._needs = {step.version for step in migrate.available("postgres")}
        self._closed = False

    def listen(self, callback: Callable[[Topic, str], None]) -> None:
        self._hints.listen(callback)

    async def notify(self, topic: Topic, payload: str) -> None:
        self._hints.notify(topic, payload)

    async def check(self) -> None:
        if not (await self._connections.fetch(HAS_TABLE))[0][0]:
            raise StoreUnavailableError("the store has no tables")
        applied = {row[0] for row in await self._connections.fetch(migrate.APPLIED)}
        if not self._needs <= applied:  # more is fine: a newer program took over, we still serve
            raise StoreUnavailableError("the store's migrations are not current")
        await self._connections.write(PROBE, max(applied))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._hints.close()
        await self._log.flush()
        try:
            await self.log.release()
            await self._connections.write(FORGET, self.log.node)
        except (StoreUnavailableError, asyncpg.PostgresError):
            return  # our leases run out by themselves
        finally:
            await self._connections.close()


async def _migrate(connections: Connections) -> None:
    """Bring the schema up to date; whoever else starts now waits."""
    steps = migrate.available("postgres")
    if (await connections.fetch(HAS_TABLE))[0][0]:
        applied = {row[0] for row in await connections.fetch(migrate.APPLIED)}
        if not migrate.outstanding(steps, applied):
            return
    async with connections.transaction() as connection:
        await connection.execute(MIGRATION_LOCK)
        await connection.execute(migrate.TABLE)
        applied = {row[0] for row in await connection.fetch(migrate.APPLIED)}
        now = await _server_time(connection)
        for statement, args in migrate.statements(steps, applied, now):
            await connection.execute(statement, *args, timeout=3600)


async def _server_time(connection: Connection) -> int:
    """In microseconds; `comporta_now` may not exist yet."""
    return int(await connection.fetchval("SELECT (extract(epoch FROM now()) * 1000000)::bigint"))


def _ignore(*_: Any) -> None:
    """Nobody wants to know."""
