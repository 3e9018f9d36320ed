"""Events that are pushed once more, because somebody replayed them: in the order they were asked
for, a page at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from gateway import log
from gateway.push_client import PAGE, Place
from gateway.push_stream import STORE_PAUSE
from gateway.store.base import Database
from gateway.store.stored_event import COLUMNS, stored_event_from
from schemas.errors import StoreUnavailableError
from schemas.events import StoredEvent

Offer = Callable[[Place, Sequence[StoredEvent]], Awaitable[None]]


class Again:
    """`offer`: gives events to the clients of an instance, and waits a little for slow ones."""

    def __init__(self, database: Database, offer: Offer) -> None:
        self._database, self._offer = database, offer
        self._asked: deque[tuple[Place, str]] = deque()
        self._news = asyncio.Event()

    def ask(self, place: Place, event_id: str) -> None:
        """This one, after those before it."""
        self._asked.append((place, event_id))
        self._news.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._asked:
                place, ids = self._next()
                try:
                    await self._offer(place, await self._read(place, ids))
                except StoreUnavailableError as error:
                    log.get().error("push.delayed", error=error.message)
                    self._asked.extendleft((place, ident) for ident in reversed(ids))
                    await asyncio.sleep(STORE_PAUSE)

    def _next(self) -> tuple[Place, list[str]]:
        """A page of what was asked for one instance."""
        place, ids = self._asked[0][0], list[str]()
        while self._asked and self._asked[0][0] == place and len(ids) < PAGE:
            ids.append(self._asked.popleft()[1])
        return place, ids

    async def _read(self, place: Place, ids: Sequence[str]) -> list[StoredEvent]:
        marks = ", ".join(f"${number}" for number in range(3, len(ids) + 3))
        rows = await self._database.fetch(
            f"SELECT {', '.join(COLUMNS)} FROM events"  # noqa: S608 - names and numbers of our own
            f" WHERE tenant = $1 AND instance = $2 AND id IN ({marks})",
            *place,
            *ids,
        )
        found = {event.id: event for event in map(stored_event_from, rows)}
        return [found[ident] for ident in ids if ident in found]
