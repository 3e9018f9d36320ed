"""Connections to one database file: how they are opened, what their errors mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from schemas.errors import StoreUnavailableError

# Below these a checkpoint beside a write can corrupt the file: https://www.sqlite.org/wal.html#walresetbug
FIXED = (3, 51, 3)
BACKPORTED = frozenset({(3, 50, 7), (3, 44, 6)})
# The store cannot take anything now; what was asked of it is not at fault.
NOT_NOW = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.InterruptError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
    apsw.ConnectionClosedError,
)
MICROSECONDS = 1_000_000
STATEMENTS = 256  # prepared statements kept by a connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How the engine is set. Only tests change any of it.

    `synchronous`: FULL, since NORMAL loses acknowledged commits at a power cut. `busy_seconds`: how
    long a lock of another connection is waited for. `gather_seconds`: how long a batch gathers when
    more come than are committed one by one. `max_waiting`, `_bytes`, `_seconds`: what may wait, and
    how long the oldest may, before more is refused. `checkpoint_pages`: the length of the
    write-ahead log that is copied back into the database.
    """

    synchronous: str = "FULL"
    busy_seconds: float = 5.0
    readers: int = 4
    vfs: str | None = None
    checkpoint_pages: int = 4000
    max_batch: int = 512
    gather_seconds: float = 0.002
    max_waiting: int = 4000
    max_waiting_bytes: int = 64 << 20
    max_waiting_seconds: float = 2.0
    quick_check_bytes: int = 256 << 20


def refuse_version(version: str) -> None:
    """Raise StoreUnavailableError for an SQLite that may corrupt what it holds."""
    parts = tuple(int(part) for part in version.split(".")[:3])
    if parts < FIXED and parts not in BACKPORTED:
        raise StoreUnavailableError(
            f"SQLite {version} can corrupt a database in WAL mode; 3.51.3 or newer is needed "
            "(reinstall apsw from its wheel, which brings its own)"
        )


def unavailable(error: Exception) -> StoreUnavailableError:
    """What callers are told of an error of NOT_NOW."""
    return StoreUnavailableError(f"the store cannot take this now: {error}")


def create_private(path: Path) -> None:
    """Make the database file readable by its owner only; its log files inherit that."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreUnavailableError(f"cannot open {path}: {error.strerror}") from None


def open_writer(path: Path, tuning: Tuning) -> apsw.Connection:
    """The one connection that writes."""
    connection = _open(path, tuning)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {tuning.synchronous}")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA foreign_keys = ON")
    # What is purged or erased leaves the file, not only the tables.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def open_reader(path: Path, tuning: Tuning) -> apsw.Connection:
    """A connection that cannot write."""
    connection = _open(path, tuning)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open(path: Path, tuning: Tuning) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READWRITE
    connection = apsw.Connection(
        str(path), flags=flags, vfs=tuning.vfs, statementcachesize=STATEMENTS
    )
    connection.set_busy_timeout(round(tuning.busy_seconds * 1000))
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


class Sql:
    """Statements on the write connection. Each step lets go of the GIL, and taking it back from a
    busy event loop takes milliseconds: so rows go in by the hundred, and lists come out as JSON.
    """

    MAX_ROWS = 128

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._texts: dict[tuple[str, int], str] = {}

    def run(self, sql: str, args: Sequence[Any] = ()) -> int:
        """How many rows a statement changed."""
        self.connection.execute(sql, args)
        return self.connection.changes()

    def value(self, sql: str, args: Sequence[Any] = ()) -> Any:
        """The first column of the first row, None without rows."""
        row = self.connection.execute(sql, args).fetchone()
        return row[0] if row else None

    def all(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, args).fetchall()

    def run_rows(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """How many rows `sql`, with `{rows}` where VALUES lists them, changed. All rows are of one
        length.
        """
        changed = 0
        for text, args in self._chunks(sql, rows):
            self.connection.execute(text, args)
            changed += self.connection.changes()
        return changed

    def all_rows(self, sql: str, rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """What a query with `{rows}` gives."""
        found: list[tuple[Any, ...]] = []
        for text, args in self._chunks(sql, rows):
            found += self.connection.execute(text, args).fetchall()
        return found

    def _chunks(self, sql: str, rows: Sequence[Sequence[Any]]) -> list[tuple[str, list[Any]]]:
        """In powers of two, so that a few prepared statements serve batches of every size."""
        chunks = []
        start = 0
        while left := len(rows) - start:
            size = min(self.MAX_ROWS, 1 << (left.bit_length() - 1))
            args = [value for row in rows[start : start + size] for value in row]
            chunks.append((self._text(sql, size, len(rows[start])), args))
            start += size
        return chunks

    def _text(self, sql: str, size: int, width: int) -> str:
        text = self._texts.get((sql, size))
        if text is None:
            row = "(" + ",".join("?" * width) + ")"
            text = self._texts[sql, size] = sql.replace("{rows}", ",".join([row] * size))
        return text
