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

    def check(self, jitter: Callable[[], float]) -> None:
        """Return when ingress may accept. Raises UnavailableError saying why not."""
        trouble = "shutting down" if self.draining else self._trouble
        if trouble is not None:
            raise UnavailableError(
                f"try again shortly: {trouble}", retry_after=5 + int(10 * jitter())
            )

    async def watch(self) -> None:
        """Keep the view fresh, for ever."""
        while True:
            before, self._trouble = self._trouble, await self.find_trouble()
            if self._trouble != before:
                log.get().warning("ingress.pressure", reason=self._trouble or "none")
            await asyncio.sleep(EVERY)

    async def find_trouble(self) -> str | None:
        """Why nothing should be accepted now, or None."""
        if self._disk is not None:
            usage = shutil.disk_usage(self._disk)
            if usage.free < min(LEAST_FREE_BYTES, usage.total * LEAST_FREE_SHARE):
                return "the disk is almost full"
        try:
            held = self._dispatcher.held()
            self.backlog = await self._store.log.backlog(held, self._max_backlog + 1)
        except StoreUnavailableError:
            return "the store does not answer"
        return "the backlog is full" if self.backlog > self._max_backlog else None
