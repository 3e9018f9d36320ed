"""LISTEN and NOTIFY: hints between processes that something changed. The rows are the truth.

NOTIFY takes a lock of the whole server at commit, so it has a transaction of its own, and bursts
are told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import asyncpg
import orjson

from gateway.store.base import Topic
from gateway.store.keys import storable
from gateway.store.postgres.connections import NOT_NOW, Connections, Options
from schemas.errors import StoreUnavailableError

CHANNEL = "comporta"
TELL = "SELECT count(pg_notify($1, payload)) FROM unnest($2::text[]) AS payloads (payload)"
WINDOW = 0.02  # seconds in which the same hint is told once
PULSE = 20.0  # seconds between looks at whether the listening connection is alive
MOST_PATIENCE = 5.0
MAX_BYTES = 7900  # https://www.postgresql.org/docs/current/sql-notify.html: below 8000
TOPICS: tuple[Topic, ...] = ("config", "deliveries", "events")

Callback = Callable[[Topic, str], None]


class Hints:
    """Tells and hears. `node`: by which the others' hints are told from our own.

    A hint with an empty payload means that anything of its topic may have changed: hints were
    missed.
    """

    def __init__(self, connections: Connections, options: Options, node: str) -> None:
        self._connections, self._options, self._node = connections, options, node
        self._callbacks: list[Callback] = []
        self._untold: dict[tuple[Topic, str], None] = {}
        self._wake, self._hearing = asyncio.Event(), asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._tell(), name="comporta-notify"),
            asyncio.create_task(self._listen(), name="comporta-listen"),
        ]

    def listen(self, callback: Callback) -> None:
        """Have `callback` called with every hint, our own included, in the event loop."""
        self._callbacks.append(callback)

    def notify(self, topic: Topic, payload: str) -> None:
        """Tell every process, at once or within WINDOW."""
        self._untold[topic, storable(payload)] = None
        self._wake.set()

    async def ready(self) -> None:
        """Return when the hints of others are heard, or could not be for a while."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hearing.wait(), MOST_PATIENCE)

    async def close(self) -> None:
        """Stop telling and hearing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            hints, self._untold = list(self._untold), {}
            for topic, payload in hints:
                self._call(topic, payload)
            await self._send([self._written(*hint) for hint in hints])
            await asyncio.sleep(WINDOW)

    def _written(self, topic: Topic, payload: str) -> str:
        text = orjson.dumps([self._node, topic, payload]).decode()
        if len(text.encode()) > MAX_BYTES:
            text = orjson.dumps([self._node, topic, ""]).decode()
        return text

    async def _send(self, payloads: list[str]) -> None:
        """For ever: a change of the configuration that nobody heard of is not seen for long."""
        patience = 0.1
        while True:
            try:
                await self._connections.fetch(TELL, CHANNEL, payloads)
                return
            except StoreUnavailableError:
                await asyncio.sleep(patience)
                patience = min(patience * 2, MOST_PATIENCE)
            except asyncpg.PostgresError:
                return  # the server refuses these very hints; the next ones may be better

    def _call(self, topic: Topic, payload: str) -> None:
        loop = asyncio.get_running_loop()
        for callback in self._callbacks:
            loop.call_soon(callback, topic, payload)  # one that fails stops no other

    async def _listen(self) -> None:
        patience, missed = 0.1, False
        while True:
            try:
                connection = await asyncpg.connect(self._options.dsn, **self._options.connect)
            except NOT_NOW:
                await asyncio.sleep(patience)
                patience = min(patience * 2, MOST_PATIENCE)
                continue
            try:
                patience = 0.1
                await self._hear(connection, missed=missed)
            except NOT_NOW:
                missed = True
            finally:
                connection.terminate()

    async def _hear(self, connection: asyncpg.Connection[Any], *, missed: bool) -> None:
        """Hear hints until the connection breaks."""
        broken = asyncio.Event()
        connection.add_termination_listener(lambda _: broken.set())
        await connection.add_listener(CHANNEL, self._on_hint)
        self._hearing.set()
        if missed:
            for topic in TOPICS:
                self._call(topic, "")
        while not broken.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(broken.wait(), PULSE)
            await connection.execute("SELECT 1")

    def _on_hint(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            node, topic, subject = orjson.loads(cast("str", payload))
        except ValueError:
            return  # whoever sent that, it was not one of us
        if node != self._node and topic in TOPICS:
            self._call(topic, subject)
