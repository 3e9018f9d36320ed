"""Opening, watching over and closing a database file: `gateway.store.base.Store`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import apsw

from gateway.store import migrate
from gateway.store.base import Database, EventLog, Topic
from gateway.store.sqlite import leases
from gateway.store.sqlite.clock import catch_up, machine_clock
from gateway.store.sqlite.connection import (
    NOT_NOW,
    Sql,
    Tuning,
    create_private,
    open_writer,
    refuse_version,
)
from gateway.store.sqlite.event_log import SqliteLog
from gateway.store.sqlite.process_lock import ProcessLock
from gateway.store.sqlite.readers import Readers, SqliteDatabase
from gateway.store.sqlite.transaction import Transactions
from gateway.store.sqlite.writer import Writer
from schemas.errors import StoreUnavailableError

LAST_SEQ = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
# A row of several pages, so that a disk too full for events is found out.
PROBE = "INSERT INTO seen (digest, ref) VALUES (x'00', hex(zeroblob(8192)))"
PROBE_END = "DELETE FROM seen WHERE digest = x'00'"
VERSION = "SELECT max(version) FROM schema_version"


class SqliteStore:
    """An open database file."""

    def __init__(
        self,
        log: SqliteLog,
        database: SqliteDatabase,
        writer: Writer,
        readers: Readers,
        lock: ProcessLock,
    ) -> None:
        self.log: EventLog = log
        self.database: Database = database
        self._as_node = log.as_node
        self._writer, self._readers, self._lock = writer, readers, lock
        self._callbacks: list[Callable[[Topic, str], None]] = []
        self._news: dict[tuple[Topic, str], None] = {}
        self._version = migrate.available("sqlite")[-1].version
        self._closing = False

    def as_node(self, node: str) -> EventLog:
        """What another process would see, if SQLite served more than one."""
        return self._as_node(node)

    def listen(self, callback: Callable[[Topic, str], None]) -> None:
        self._callbacks.append(callback)

    async def notify(self, topic: Topic, payload: str) -> None:
        if not self._news:
            asyncio.get_running_loop().call_soon(self._spread)
        self._news[topic, payload] = None

    def _spread(self) -> None:
        news, self._news = self._news, {}
        loop = asyncio.get_running_loop()
        for topic, payload in news:
            for callback in self._callbacks:
                loop.call_soon(callback, topic, payload)  # one that fails stops no other

    async def check(self) -> None:
        version = await self._writer.call(_probe)
        if version < self._version:
            raise StoreUnavailableError(
                f"the store has schema version {version}, this program needs {self._version}"
            )

    async def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        with suppress(StoreUnavailableError):  # the next start frees the leases all the same
            await self.log.release()
        await self._readers.close()
        await self._writer.close()
        self._lock.release(clean=True)


async def open_sqlite(
    path: Path,
    *,
    node: str,
    lease_seconds: float,
    clock: Callable[[], int] | None = None,
    observe: Callable[[str, float], None] | None = None,
    crash: Callable[[str], None] | None = None,
    tuning: Tuning | None = None,
) -> SqliteStore:
    """See `gateway.store.open_store`. Leases that a dead process left are free at once."""
    clock, tuning = clock or machine_clock(), tuning or Tuning()
    refuse_version(apsw.sqlite_lib_version())
    create_private(path)
    lock = ProcessLock(path)
    suspect = not lock.acquire()
    try:
        connection, last_seq = await asyncio.to_thread(
            _prepare, path, tuning, clock, suspect=suspect
        )
    except BaseException:
        lock.release(clean=not suspect)
        raise
    transactions = Transactions(
        connection, clock=clock, seqs=count(last_seq + 1), crash=crash or _ignore
    )
    writer = Writer(connection, transactions, tuning, observe or _ignore)
    readers = Readers(path, tuning)
    log = SqliteLog(node, lease_seconds=lease_seconds, writer=writer, readers=readers, clock=clock)
    store = SqliteStore(log, SqliteDatabase(readers, writer, clock), writer, readers, lock)
    try:
        await log.heartbeat()
    except BaseException:
        await store.close()
        raise
    return store


def _prepare(
    path: Path, tuning: Tuning, clock: Callable[[], int], *, suspect: bool
) -> tuple[apsw.Connection, int]:
    """The write connection to a sound, migrated database without leases, and its last `seq`."""
    try:
        connection = open_writer(path, tuning)
        try:
            if suspect and path.stat().st_size <= tuning.quick_check_bytes:
                _refuse_damage(connection, path)
            upgrade(connection, clock())
            sql = Sql(connection)
            sql.run("BEGIN IMMEDIATE")
            catch_up(sql, clock())
            leases.void_all(sql, clock())
            sql.run("COMMIT")
            return connection, sql.value(LAST_SEQ) or 0
        except BaseException:
            connection.close()
            raise
    except NOT_NOW as error:
        raise StoreUnavailableError(f"cannot open {path}: {error}") from error


def _refuse_damage(connection: apsw.Connection, path: Path) -> None:
    verdict = Sql(connection).value("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise StoreUnavailableError(f"{path} is damaged, restore a backup: {verdict}")


def upgrade(connection: apsw.Connection, now: int) -> None:
    """Apply the migrations that are missing, all or none. `now`: microseconds."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(migrate.TABLE)
        applied = [version for (version,) in connection.execute(migrate.APPLIED)]
        for statement, args in migrate.statements(migrate.available("sqlite"), applied, now):
            connection.execute(statement, args or None)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _probe(sql: Sql, _now: int) -> int:
    sql.run(PROBE)
    sql.run(PROBE_END)
    version: int = sql.value(VERSION) or 0
    return version


def _ignore(*_: object) -> None:
    """For whoever is not interested."""
