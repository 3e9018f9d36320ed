"""Deleting what is old and finished, in slices, while nobody notices.

What is purged whole, whose payload alone goes, and which dedupe digests are forgotten each has its
own age. Of several processes one takes each walk: a record in the store says when it was last made
and how far it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway import log
from gateway.ids import Ulids
from gateway.store import prune
from gateway.store.base import Record, Store
from gateway.store.registry import Registry
from schemas.errors import ConflictError, StoreUnavailableError

K = TypeVar("K", int, str, bytes)

EVERY = 300.0
PAUSE = 0.2
SLICE = 500
DAY = 86_400_000_000
HOUR = 3_600_000_000
KIND = "retention"
BULK_JOBS = "replay"
ENDED = frozenset({"done", "canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """In days: of everything finished, of payloads, of dedupe digests."""

    all: float
    payloads: float
    seen: float


class Retention:
    """Runs for ever. `now`: microseconds."""

    def __init__(
        self, store: Store, registry: Registry, ages: Ages, ids: Ulids, now: Callable[[], int]
    ) -> None:
        self._store, self._registry, self._ages = store, registry, ages
        self._ids, self._now = ids, now

    async def run(self) -> None:
        """Purge, again and again; never what is unfinished."""
        while True:
            try:
                await self.sweep()
            except StoreUnavailableError as error:
                log.get().error("retention.delayed", error=error.message)
            await asyncio.sleep(EVERY)

    async def sweep(self) -> None:
        """Everything that is due, once."""
        count = 0
        while gone := await self._store.log.purge(self._before(self._ages.all), SLICE):
            count += gone
            await asyncio.sleep(PAUSE)
        if count:
            log.get().info("retention.purged", count=count)
        if self._ages.payloads < self._ages.all:
            await self._walk("events", HOUR, 0, self._strip_events)
            await self._walk("inbounds", HOUR, "", self._strip_inbounds)
        await self._walk("seen", DAY, b"", self._forget_seen, resumes=False)
        await self._walk("jobs", DAY, "", self._forget_jobs, resumes=False)

    def _before(self, days: float) -> int:
        return self._now() - int(days * DAY)

    async def _walk(
        self,
        name: str,
        every: int,
        start: K,
        step: Callable[[K], Awaitable[tuple[int, K | None]]],
        *,
        resumes: bool = True,
    ) -> None:
        """Take slices until there is no more, unless somebody did within `every` microseconds.
        `resumes`: the next walk goes on where this one ends.
        """
        turn = await self._turn(name, every)
        if turn is None:
            return
        above: K = turn.doc.get("above", start) if resumes else start
        count = 0
        while True:
            gone, last = await step(above)
            count += gone
            if last is None:
                break
            above = last
            await asyncio.sleep(PAUSE)
        if resumes:
            turn.doc["above"] = above
            await self._registry.put(turn)
        if count:
            log.get().info("retention.pruned", what=name, count=count)

    async def _turn(self, name: str, every: int) -> Record | None:
        """The walk's record, now ours; None while it is too early, or another took it."""
        found = await self._registry.find(KIND, "", name)
        if found is not None and found.updated_at + every > await self._store.database.now():
            return None
        doc: dict[str, Any] = found.doc if found else {}
        record = found or Record(kind=KIND, id=self._ids(), tenant="", name=name, doc=doc)
        try:
            return await self._registry.put(record, expect_version=record.version)
        except ConflictError:
            return None

    async def _strip_events(self, above: int) -> tuple[int, int | None]:
        before = self._before(self._ages.payloads)
        return await prune.strip_events(self._store.database, before, above, SLICE)

    async def _strip_inbounds(self, above: str) -> tuple[int, str | None]:
        before = self._before(self._ages.payloads)
        return await prune.strip_inbounds(self._store.database, before, above, SLICE)

    async def _forget_seen(self, above: bytes) -> tuple[int, bytes | None]:
        before = self._before(self._ages.seen)
        return await prune.forget_seen(self._store.database, before, above, SLICE)

    async def _forget_jobs(self, _: str) -> tuple[int, str | None]:
        """The records of bulk jobs that ended."""
        before, count = self._before(self._ages.all), 0
        for record in await self._registry.list(BULK_JOBS):
            if record.updated_at < before and record.doc["status"] in ENDED:
                count += await self._registry.delete(BULK_JOBS, record.id)
        return count, None
