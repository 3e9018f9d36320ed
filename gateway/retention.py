"""Deleting what is old and finished, in slices, while nobody notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway import log
from gateway.store.base import EventLog
from schemas.errors import StoreUnavailableError

EVERY = 300.0
PAUSE = 0.2
SLICE = 500
DAY = 86_400_000_000


async def purge_forever(event_log: EventLog, days: float, now: Callable[[], int]) -> None:
    """Purge what is older than `days`, for ever; never what is unfinished."""
    while True:
        try:
            count = 0
            while gone := await event_log.purge(now() - int(days * DAY), SLICE):
                count += gone
                await asyncio.sleep(PAUSE)
            if count:
                log.get().info("retention.purged", count=count)
        except StoreUnavailableError as error:
            log.get().error("retention.delayed", error=error.message)
        await asyncio.sleep(EVERY)
