"""Whether ingress may accept more: a view of the store's health that is refreshed in the background
and read for free by every request.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from gateway import log
from gateway.dispatch import Dispatcher
from gateway.store.base import Store
from schemas.errors import StoreUnavailableError, UnavailableError

EVERY = 1.0
SHUTTING_DOWN = "shutting down"
LEAST_FREE_BYTES, LEAST_FREE_SHARE = 256 * 1024 * 1024, 0.02


class Pressure:
    """`disk`: the folder whose file system holds the store, None where that is another
    machine's.
    """

    def __init__(
        self, store: Store, dispatcher: Dispatcher, *, max_backlog: int, disk: Path | None
    ) -> None:
        self._store, self._dispatcher = store, dispatcher
        self._max_backlog, self._disk = max_backlog, disk
        self.backlog = 0
        self.draining = False
        self._trouble: str | None = None
        self._look: asyncio.Task[str | None] | None = None
        self._fresh_until = 0.0

    def check(self, jitter: Callable[[], float]) -> None:
        """Return when ingress may accept. Raises UnavailableError saying why not."""
        trouble = SHUTTING_DOWN if self.draining else self._trouble
        if trouble is not None:
            raise UnavailableError(
                f"try again shortly: {trouble}", retry_after=5 + int(10 * jitter())
            )

    async def watch(self) -> None:
        """Keep the view fresh, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            before, self._trouble = self._trouble, await self.find_trouble()
            if self._trouble != before:
                log.get().warning("ingress.pressure", reason=self._trouble or "none")
            # Counting a long backlog must not be what keeps the store busy.
            await asyncio.sleep(max(EVERY, 4 * (loop.time() - began)))

    async def find_trouble(self) -> str | None:
        """Why nothing should be accepted now, or None."""
        if (trouble := self._disk_trouble()) is not None:
            return trouble
        try:
            held = self._dispatcher.held()
            self.backlog = await self._store.log.backlog(held, self._max_backlog + 1)
        except StoreUnavailableError:
            return "the store does not answer"
        return "the backlog is full" if self.backlog > self._max_backlog else None

    async def find_unready(self) -> str | None:
        """Why this process should get no requests now, or None. Anybody may ask, so one look serves
        everybody for a second.
        """
        if self.draining:
            return SHUTTING_DOWN
        loop = asyncio.get_running_loop()
        if self._look is None or (self._look.done() and loop.time() >= self._fresh_until):
            self._look = loop.create_task(self._look_at_store())
        return await asyncio.shield(self._look)

    async def _look_at_store(self) -> str | None:
        trouble = self._disk_trouble()
        if trouble is None:
            try:
                await self._store.check()
            except StoreUnavailableError as error:
                trouble = error.message
        self._fresh_until = asyncio.get_running_loop().time() + EVERY
        return trouble

    def _disk_trouble(self) -> str | None:
        if self._disk is None:
            return None
        try:
            usage = shutil.disk_usage(self._disk)
        except OSError as error:
            return f"the disk does not answer: {error.strerror}"
        short = usage.free < min(LEAST_FREE_BYTES, usage.total * LEAST_FREE_SHARE)
        return "the disk is almost full" if short else None
