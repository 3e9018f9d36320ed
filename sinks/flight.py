"""How many sends of a sink are under way, so that its close can wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.delivery import Outcome, Retry


class Flight:
    """`closed`: nothing more may take off."""

    def __init__(self) -> None:
        self.closed = False
        self._count = 0
        self._landed = asyncio.Event()
        self._landed.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a send while it lasts."""
        self._count += 1
        self._landed.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._landed.set()

    async def close(self) -> None:
        """Let nothing more take off, and wait for the rest."""
        self.closed = True
        await self._landed.wait()


def grounded(count: int) -> list[Outcome]:
    """The outcomes of a send to a sink that is closed."""
    return [Retry(reason="the sink is closed", counts=False)] * count
