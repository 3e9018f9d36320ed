"""Erasing a person from what is stored (LGPD, art. 18): events, what came in, and tries.

Found by e-mail address or document, and from there by the order: an order's later events name its
buyer no more, but are about them. What a driver made of it loses the person and keeps the order;
what came in, and what receivers answered, goes whole. Digests that recognise a redelivery stay:
they tell nothing, and without them a provider's second try would bring everything back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.person import Person, without
from gateway.store import erase
from gateway.store.base import Database
from gateway.store.prune import NO_DATA

AT_ONCE = 25  # rows that are looked at before others get their turn


@dataclass(slots=True)
class Erased:
    """What was done: how many of each lost the person, and how many deliveries were canceled."""

    events: int = 0
    inbounds: int = 0
    attempts: int = 0
    deliveries_canceled: int = 0


@dataclass(slots=True)
class Erasure:
    """One search through a tenant. `instances`: the only ones, None for all."""

    database: Database
    tenant: str
    person: Person
    instances: Collection[str] | None = None
    erased: Erased = field(default_factory=Erased)
    _orders: set[tuple[str, str, str | None]] = field(default_factory=set)

    async def run(self) -> Erased:
        """Through everything, a slice at a time. Doing it again does no harm."""
        await self._events()
        await self._inbounds()
        await self._attempts()
        return self.erased

    def _sees(self, instance: str) -> bool:
        return self.instances is None or instance in self.instances

    async def _events(self) -> None:
        above = 0
        while rows := await erase.events_above(self.database, self.tenant, above):
            above = rows[-1][0]
            for number, row in enumerate(rows):
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
                if self._sees(row[1]) and self.person.is_in(bytes(row[5])):
                    await self._order(row)

    async def _order(self, row: Sequence[Any]) -> None:
        """Everything about the order that an event is about."""
        _, instance, installation_id, _, key, _ = row
        if (key, instance, installation_id) in self._orders:
            return
        self._orders.add((key, instance, installation_id))
        above = 0
        while rows := await erase.events_of_key(self.database, self.tenant, key, above):
            above = rows[-1][0]
            await self._blank([r for r in rows if (r[1], r[2]) == (instance, installation_id)])

    async def _blank(self, rows: Sequence[Sequence[Any]]) -> None:
        for seq, *_, data in rows:
            kept = without(self.person, bytes(data))
            changed, tries = await erase.blank_event(self.database, seq, kept)
            self.erased.events += changed
            self.erased.attempts += tries
            if kept == NO_DATA:
                self.erased.deliveries_canceled += await erase.cancel(self.database, seq)
        inbounds = {row[3] for row in rows if row[3] is not None}
        self.erased.inbounds += await erase.blank_inbounds(self.database, sorted(inbounds))

    async def _inbounds(self) -> None:
        """What came in and became no event: kept in quarantine, ignored, waiting."""
        above = ""
        while rows := await erase.inbounds_above(self.database, self.tenant, above):
            above = rows[-1][0]
            found = []
            for number, (ident, instance, *parts) in enumerate(rows):
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
                if self._sees(instance) and any(self.person.is_in(bytes(p or b"")) for p in parts):
                    found.append(ident)
            self.erased.inbounds += await erase.blank_inbounds(self.database, found)

    async def _attempts(self) -> None:
        """What receivers answered."""
        above: str | None = ""
        while above is not None:
            rows, above = await erase.attempts_above(self.database, self.tenant, above)
            found = {
                ident
                for ident, instance, exchange, body, error in rows
                if self._sees(instance)
                and any(map(self.person.is_in, (exchange, body or b"", (error or "").encode())))
            }
            for ident in sorted(found):
                self.erased.attempts += await erase.blank_attempts(self.database, ident)
