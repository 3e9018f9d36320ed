"""Connections to PostgreSQL: the pool, transactions, and which errors mean "not now"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.errors import InDoubtError, StoreUnavailableError

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

# The server, or the way to it, cannot do it now; what was asked of it is not at fault.
NOT_NOW: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidCachedStatementError,
)
# Without tables, somebody is putting a backup back.
CANNOT_BEGIN: tuple[type[Exception], ...] = (*NOT_NOW, asyncpg.UndefinedTableError)
AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
TRIES = 5
SETTINGS = {
    # What was answered must survive a power cut, whatever the server's default is.
    "synchronous_commit": "on",
    # Compiling a batch statement takes longer than running it.
    "jit": "off",
    # Plans are kept while the tables grow from nothing to millions of rows.
    "enable_seqscan": "off",
    # A process that was stopped in mid transaction must not hold its keys for ever.
    "idle_in_transaction_session_timeout": "15s",
}
SET_LOCAL = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in SETTINGS.items())


@dataclass(frozen=True, slots=True)
class Options:
    """How to connect. `pooled`: a pooler such as PgBouncer is in between, which keeps neither
    prepared statements nor settings for us (`?statement_cache_size=0`).
    """

    dsn: str
    connect: dict[str, Any] = field(default_factory=dict)
    pool_size: int = 8
    pooled: bool = False

    def begin(self, *, read_only: bool) -> str:
        """Starts a transaction that has SETTINGS. It does not ask for READ WRITE: an operator who
        made the database read-only meant it.
        """
        start = "BEGIN ISOLATION LEVEL READ COMMITTED" + (" READ ONLY" if read_only else "")
        return start + SET_LOCAL if self.pooled else start


def parse_options(url: str) -> Options:
    """The options a URL's query holds: `statement_cache_size`, `pool_size`, `command_timeout`
    (seconds). The others are asyncpg's. Raises ValueError.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    cache = _number(query, "statement_cache_size", 200)
    settings = {"application_name": "comporta"}
    if cache:
        settings |= SETTINGS
    connect = {
        "statement_cache_size": cache,
        "max_cached_statement_lifetime": 0,
        "command_timeout": float(_number(query, "command_timeout", 15)),
        "timeout": 10.0,
        "server_settings": settings,
    }
    size = max(4, _number(query, "pool_size", 8))
    dsn = parts._replace(query=urlencode(query)).geturl()
    return Options(dsn, connect, size, pooled=not cache)


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.pop(name, str(default))
    if not text.isdecimal():
        raise ValueError(f"{name} in the store's URL must be a number")
    return int(text)


def unavailable(error: Exception) -> StoreUnavailableError:
    """What callers are told of an error of NOT_NOW."""
    text = str(error) or type(error).__name__
    return StoreUnavailableError(f"the store cannot take this now: {text}")


class Connections:
    """The pool. Broken connections are replaced when they are next needed, for ever.

    Every method raises StoreUnavailableError for NOT_NOW, and lets other errors through.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], options: Options) -> None:
        self._pool, self._options = pool, options

    @classmethod
    async def open(cls, options: Options) -> Connections:
        try:
            pool = asyncpg.create_pool(
                options.dsn,
                min_size=0,
                max_size=options.pool_size,
                max_queries=1 << 62,  # an old connection is as good as a new one
                reset=_nothing_to_reset,
                **options.connect,
            )
            return cls(await pool, options)
        except NOT_NOW as error:
            raise unavailable(error) from error

    @asynccontextmanager
    async def transaction(
        self, first: str = "", *, read_only: bool = False
    ) -> AsyncIterator[Connection]:
        """A transaction, committed at the end, undone by any error. When the result of COMMIT is
        not known the answer is InDoubtError: who tries again meets the unique keys.
        `first`: a statement that goes along with BEGIN.
        """
        begin = self._options.begin(read_only=read_only)
        connection = await self._begun(f"{begin}; {first}" if first else begin)
        kind = StoreUnavailableError
        try:
            try:
                yield connection
                kind = InDoubtError
                await connection.execute("COMMIT")
            except NOT_NOW as error:
                await self._expire_after(error)
                raise kind(unavailable(error).message) from error
        except asyncio.CancelledError:
            _cut(connection)  # what it was doing goes no further, and locks nothing
            raise
        except BaseException:
            await _undo(connection)
            raise
        finally:
            await self._release(connection)

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Rows of a single statement that only reads."""
        try:
            return await self._pool.fetch(sql, *args)
        except NOT_NOW as error:
            await self._expire_after(error)
            raise unavailable(error) from error

    async def write(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Rows of a single statement, committed."""
        for attempt in range(1, TRIES + 1):
            try:
                async with self.transaction() as connection:
                    return await connection.fetch(sql, *args)
            except StoreUnavailableError as error:
                if not is_conflict(error) or attempt == TRIES:
                    raise
        raise AssertionError("unreachable")

    async def write_again(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Rows of a single statement that may be made twice, committed: it is a transaction by
        itself, so in one round trip. When that fails it is made again like any other.
        """
        if not self._options.pooled:
            try:
                return await self._pool.fetch(sql, *args)
            except TimeoutError as error:
                raise InDoubtError(unavailable(error).message) from error
            except NOT_NOW as error:
                await self._expire_after(error)
        return await self.write(sql, *args)

    async def close(self) -> None:
        """Wait a little for what is in flight, then cut."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except NOT_NOW:
            self._pool.terminate()

    async def _begun(self, begin: str) -> Connection:
        """A connection in a transaction. Those that prove to be dead are replaced: nothing is lost
        yet.
        """
        problem: Exception = ConnectionError("no connection")
        for _ in range(self._options.pool_size + 1):
            try:
                connection = await self._pool.acquire()
            except NOT_NOW as error:
                raise unavailable(error) from error
            try:
                await connection.execute(begin)
                return connection
            except CANNOT_BEGIN as error:
                problem = error
            except BaseException:
                _cut(connection)
                raise
            _cut(connection)
            if isinstance(problem, TimeoutError):
                break
        raise unavailable(problem) from problem

    async def _expire_after(self, error: Exception) -> None:
        """A server that became read-only is no longer the primary: connect anew."""
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            await self._pool.expire_connections()

    async def _release(self, connection: Connection) -> None:
        with suppress(*NOT_NOW):
            await self._pool.release(connection, timeout=5)


def is_conflict(error: StoreUnavailableError) -> bool:
    """Whether another transaction was in the way, and trying again at once is right."""
    return isinstance(error.__cause__, AGAIN)


def _cut(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it broke, and the pool took it back already
        connection.terminate()


async def _undo(connection: Connection) -> None:
    try:
        if not connection.is_closed():
            await connection.execute("ROLLBACK", timeout=2)
    except NOT_NOW:
        _cut(connection)


async def _nothing_to_reset(_connection: object) -> None:
    """Settings and locks end with each transaction, so that giving back costs no round trip."""
