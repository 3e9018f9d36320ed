"""Retry-After for a whole destination, whichever process heard it: the others hold as well, and so
does whoever starts later.

A hold is a record of the store, its end counted from the store's clock; one that is over is removed
by whoever reads it next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from gateway import log
from gateway.background import Errands
from gateway.lane import Lane
from gateway.store.base import Record, Store
from gateway.store.registry import Registry
from schemas.errors import StoreUnavailableError

KIND = "hold"
PAUSE = 1.0  # seconds, while the store does not answer


@dataclass(frozen=True, slots=True)
class Hold:
    """`until`: the store's time, microseconds. `of`: of which configuration."""

    until: int
    of: int


class SharedHolds:
    """Tells the others of this process's holds, and this process of theirs."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self._known: dict[str, Hold] = {}
        self._errands = Errands()
        self._lane_of: Callable[[str], Lane | None] = lambda _: None
        store.listen(self._heard)

    def attach(self, lane_of: Callable[[str], Lane | None]) -> None:
        """Where this process's lanes are found."""
        self._lane_of = lane_of

    def begun(self, lane: Lane) -> None:
        """A lane began: it learns what the others were told."""
        if lane.config.id in self._known:
            self._errands.run("hold.apply", self._apply(lane.config.id))

    def held(self, lane: Lane, seconds: float) -> None:
        """This process was told to wait."""
        self._errands.run("hold.tell", self._tell(lane, seconds))

    async def close(self) -> None:
        """Read nothing more."""
        await self._errands.close()

    async def load(self) -> None:
        """Read all of them."""
        now = await self._store.database.now()
        for record in await self._registry.list(KIND):
            if _hold(record).until <= now:
                await self._registry.delete(KIND, record.id)
            else:
                self._known[record.id] = _hold(record)
                await self._apply(record.id)

    async def _tell(self, lane: Lane, seconds: float) -> None:
        config = lane.config
        doc = {"node": self._store.log.node, "seconds": seconds, "of": config.updated_at}
        record = Record(kind=KIND, id=config.id, tenant=config.tenant, name=config.id, doc=doc)
        try:
            await self._registry.put(record)
        except StoreUnavailableError as error:  # the others will be told themselves
            log.get().error("hold.untold", sink_id=config.id, error=error.message)

    def _heard(self, topic: str, payload: str) -> None:
        kind, _, ident = payload.partition("/")
        if topic == "config" and kind in {KIND, ""}:
            self._errands.run("hold.read", self._read(ident))

    async def _read(self, ident: str) -> None:
        """One of them, or all, once the store lets us."""
        while True:
            try:
                await (self._take(ident) if ident else self.load())
            except StoreUnavailableError:
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _take(self, ident: str) -> None:
        record = await self._registry.get(KIND, ident)
        if record is None:
            self._known.pop(ident, None)
        else:
            self._known[ident] = _hold(record)
            if record.doc["node"] != self._store.log.node:
                await self._apply(ident)

    async def _apply(self, ident: str) -> None:
        """Hold the lane for what is left; forget a hold that is over."""
        hold, lane = self._known.get(ident), self._lane_of(ident)
        if hold is None:
            return
        left = (hold.until - await self._store.database.now()) / 1e6
        if left <= 0:
            del self._known[ident]
        elif lane is not None and lane.config.updated_at == hold.of:
            lane.hold(left)


def _hold(record: Record) -> Hold:
    return Hold(record.updated_at + int(record.doc["seconds"] * 1e6), record.doc["of"])
