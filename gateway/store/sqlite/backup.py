"""Copies of a database file: one made while it is served, and one put in its place.

A copy is one moment of the store, whole: it is read in a single transaction, beside the writer,
which goes on. Under its name it is either complete, checked and on the disk, or not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import apsw

from gateway.store import migrate
from gateway.store.sqlite.connection import (
    NOT_NOW,
    Sql,
    Tuning,
    create_private,
    open_reader,
    refuse_version,
    unavailable,
)
from gateway.store.sqlite.process_lock import ProcessLock
from schemas.errors import StoreUnavailableError

PAGES = 1024  # copied in one step
BESIDE = ".before-restore"  # what the name of the replaced database ends with
Progress = Callable[[int, int], None]


def copy_out(path: Path, target: Path, progress: Progress) -> int:
    """Copy the database, served or not, to a file that does not exist yet; gives its bytes.

    `progress(done, all)`: pages. Raises StoreUnavailableError, FileExistsError.
    """
    refuse_version(apsw.sqlite_lib_version())
    if not path.exists():
        raise StoreUnavailableError(f"there is no database at {path}")
    if target.exists():
        raise FileExistsError(0, "this file is there already", str(target))
    draft = target.with_name(f"{target.name}.part")
    draft.unlink(missing_ok=True)
    create_private(draft)
    try:
        try:
            _copy(path, draft, progress)
        except NOT_NOW as error:
            raise unavailable(error) from error
        return _settle(draft, target)
    finally:
        _remove(draft)


def _copy(path: Path, draft: Path, progress: Progress) -> None:
    with closing(open_reader(path, Tuning())) as source, closing(_plain(draft)) as copy:
        # In a transaction of its own the source stands still; else every write would begin it anew.
        source.execute("BEGIN")
        source.execute(migrate.APPLIED).fetchall()
        with copy.backup("main", source, "main") as running:
            while not running.done:
                running.step(PAGES)
                progress(running.page_count - running.remaining, running.page_count)
    _check(draft)


def put_back(copy: Path, path: Path) -> Path | None:
    """Put a copy in the place of the database, which nobody serves; gives where the one that was
    there is now. Raises StoreUnavailableError, with everything as it was.
    """
    refuse_version(apsw.sqlite_lib_version())
    lock = ProcessLock(path)
    clean = lock.acquire()
    draft = path.with_name(f"{path.name}.part")
    try:
        _remove(draft)
        create_private(draft)
        _fill(draft, copy)
        try:
            _check(draft)
        except NOT_NOW as error:
            raise StoreUnavailableError(f"{copy} is no database of this program: {error}") from None
        before = _set_aside(path)
        _settle(draft, path)
    except BaseException:
        lock.release(clean=clean)
        raise
    finally:
        _remove(draft)
    lock.release(clean=True)
    return before


def _fill(draft: Path, copy: Path) -> None:
    with copy.open("rb") as source, draft.open("r+b") as target:
        while block := source.read(1 << 20):
            target.write(block)


def _check(draft: Path) -> None:
    """Raise StoreUnavailableError unless this is a sound store that this program knows."""
    with closing(_plain(draft)) as connection:
        sql = Sql(connection)
        verdict = sql.value("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise StoreUnavailableError(f"the copy is damaged: {verdict}")
        try:
            applied = [version for (version,) in sql.all(migrate.APPLIED)]
        except apsw.SQLError as error:
            raise StoreUnavailableError("the copy is no store of this program") from error
        migrate.outstanding(migrate.available("sqlite"), applied)
        # One file: what is still in its log would be left behind by whoever moves it.
        connection.execute("PRAGMA journal_mode = DELETE")


def _plain(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)


def _set_aside(path: Path) -> Path | None:
    """Give a database another name as well, so that the first one may be given away at once."""
    if not path.exists():
        return None
    before = path.with_name(path.name + BESIDE)
    number = 1
    while before.exists():
        number += 1
        before = path.with_name(f"{path.name}{BESIDE}-{number}")
    log = path.with_name(f"{path.name}-wal")
    with suppress(*NOT_NOW, apsw.SQLError), closing(_plain(path)) as connection:
        connection.execute(migrate.APPLIED).fetchall()  # it has no log until it is read
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    if log.exists() and log.stat().st_size:  # damaged: its last commits are in its log alone
        log.rename(before.with_name(f"{before.name}-wal"))
    os.link(path, before)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    return before


def _settle(draft: Path, target: Path) -> int:
    """Give a file its name once it is on the disk; gives its bytes."""
    descriptor = os.open(draft, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return size


def _remove(draft: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        draft.with_name(draft.name + end).unlink(missing_ok=True)
