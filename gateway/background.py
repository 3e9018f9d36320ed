"""Work beside the requests: loops that must not die in silence, errands whose failure is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway import log

PAUSE = 1.0  # seconds before a loop that failed is begun again


async def forever(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a loop until it returns; one that fails is logged and begun again."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - whatever it was, the work has to go on
            log.get().exception("background.failed", name=name)
        else:
            return
        await asyncio.sleep(PAUSE)


class Errands:
    """Short work that nobody waits for. A failure is logged; `close` ends what still runs."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin; gives nothing back."""
        task = asyncio.get_running_loop().create_task(_told(name, work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self, within: float = 0.0) -> None:
        """Wait `within` seconds for what runs, then cancel it."""
        if not self._running:
            return
        _, late = await asyncio.wait(set(self._running), timeout=within)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _told(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 - nobody waits for it, so it is told here
        log.get().exception("errand.failed", name=name)
