"""Reading beside the writer: a few connections, each used by one thread at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from gateway.store.keys import storable_value
from gateway.store.sqlite.connection import NOT_NOW, Sql, Tuning, open_reader, unavailable
from gateway.store.sqlite.writer import Writer
from schemas.errors import StoreUnavailableError


def named(args: tuple[Any, ...]) -> dict[str, Any] | None:
    """Arguments for `$1 $2 …`, wherever each stands."""
    return {str(n): storable_value(value) for n, value in enumerate(args, 1)} if args else None


class Readers:
    """Queries that see everything committed so far."""

    def __init__(self, path: Path, tuning: Tuning) -> None:
        self._path, self._tuning = path, tuning
        self._idle: SimpleQueue[apsw.Connection] = SimpleQueue()
        self._pool = ThreadPoolExecutor(tuning.readers, thread_name_prefix="comporta-read")
        self._closed = False

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._fetch, sql, named(args))

    def _fetch(self, sql: str, args: dict[str, Any] | None) -> list[tuple[Any, ...]]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._open()
        try:
            return connection.execute(sql, args).fetchall()
        except NOT_NOW as error:
            raise unavailable(error) from error
        finally:
            self._idle.put(connection)

    def _open(self) -> apsw.Connection:
        try:
            return open_reader(self._path, self._tuning)
        except NOT_NOW as error:
            raise unavailable(error) from error

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        while not self._idle.empty():
            self._idle.get_nowait().close()


class SqliteDatabase:
    """The cold half: `gateway.store.base.Database`."""

    def __init__(self, readers: Readers, writer: Writer, clock: Callable[[], int]) -> None:
        self._readers, self._writer, self._clock = readers, writer, clock

    async def fetch(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        return await self._readers.fetch(sql, *args)

    async def write(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        def work(store: Sql, _now: int) -> list[tuple[Any, ...]]:
            return store.connection.execute(sql, named(args)).fetchall()

        size = sum(len(value) for value in args if isinstance(value, str | bytes))
        return await self._writer.call(work, size=size)

    async def now(self) -> int:
        return self._clock()

    async def horizon(self) -> int:
        # One writer: numbers are committed in their order.
        highest: int = (await self.fetch("SELECT coalesce(max(seq), 0) FROM events"))[0][0]
        return highest
