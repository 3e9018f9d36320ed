"""The engines under test, each with the same few handles."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw

from gateway.store import migrate, open_store
from gateway.store.base import EventLog, Store
from gateway.store.sqlite import SqliteStore
from gateway.store.sqlite.store import upgrade
from tests.store.rows import Clock

LEASE = 10.0  # seconds


class Rig(ABC):
    """One empty database. Every store opened through it is closed by `close`."""

    name: migrate.Engine

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = Clock()
        self._stores: list[Store] = []

    async def open(
        self, node: str = "node-a", *, crash: Callable[[str], None] | None = None
    ) -> Store:
        store = await open_store(
            self.url, node=node, lease_seconds=LEASE, clock=self.clock, crash=crash
        )
        self._stores.append(store)
        return store

    @abstractmethod
    async def neighbour(self, store: Store, node: str = "node-b") -> EventLog:
        """What another process sees of the same database."""

    @abstractmethod
    async def die(self, store: Store) -> None:
        """Let go of a store as a killed process does: nothing flushed, nothing given back."""

    @abstractmethod
    async def migrate_twice_at_once(self) -> None:
        """Two processes find an empty database at the same moment."""

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


class SqliteRig(Rig):
    name: migrate.Engine = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "comporta.db"
        super().__init__(f"sqlite:///{self.path}")

    async def neighbour(self, store: Store, node: str = "node-b") -> EventLog:
        assert isinstance(store, SqliteStore)
        log = store.as_node(node)
        await log.heartbeat()
        return log

    async def die(self, store: Store) -> None:
        """Its connection stays open, as idle as a dead one; the lock is what others meet."""
        assert isinstance(store, SqliteStore)
        store._lock.release(clean=False)

    async def migrate_twice_at_once(self) -> None:
        self.path.touch()
        await asyncio.gather(*(asyncio.to_thread(self._migrate) for _ in range(2)))

    def _migrate(self) -> None:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(10_000)
        with suppress(apsw.BusyError):  # the other one is changing the mode at this moment
            connection.execute("PRAGMA journal_mode = WAL")
        upgrade(connection, self.clock())
        connection.close()


class PostgresRig(Rig):
    name: migrate.Engine = "postgres"

    async def neighbour(self, store: Store, node: str = "node-b") -> EventLog:
        return (await self.open(node)).log

    async def die(self, store: Store) -> None:
        """It says nothing any more, and that is all the others can know."""

    async def migrate_twice_at_once(self) -> None:
        await asyncio.gather(self.open("node-a"), self.open("node-b"))
