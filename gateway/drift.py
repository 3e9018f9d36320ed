"""Signs that a provider changed its payload, counted per tenant, driver and sign.

Counting is free; what gathered is added to the store now and then, so that several processes count
into one row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from prometheus_client import Counter

from gateway import log
from gateway.ids import Ulids
from gateway.store.base import Record
from gateway.store.registry import Registry
from schemas.errors import ConflictError, StoreUnavailableError

KIND = "drift"
EVERY = 5.0  # seconds between two writes
TRIES = 5
MOST_SIGNS = 200  # of one driver: the words are a stranger's, and must not fill the store
MOST_UNWRITTEN = 5000
# What drivers begin a sign with; every other is the reason of a quarantine.
KNOWN = frozenset({"unknown_event", "unknown_status", "missing"})
OTHERS = "other:more signs than are kept apart"


Listener = Callable[[str, str, Collection[str], bool], None]


@dataclass(slots=True)
class Sign:
    """How often one sign was seen. `first_seen`, `last_seen`: microseconds. `example`: the inbound
    that showed it last.
    """

    count: int
    first_seen: int
    last_seen: int
    example: str

    def add(self, other: Sign) -> None:
        """Take in what somebody else counted."""
        self.count += other.count
        self.first_seen = min(self.first_seen, other.first_seen)
        if other.last_seen >= self.last_seen:
            self.last_seen, self.example = other.last_seen, other.example


class Drift:
    """`counter`: by driver and what the sign is about, which is one of few words. `now`: the wall
    clock in microseconds.
    """

    def __init__(
        self, registry: Registry, counter: Counter, ids: Ulids, now: Callable[[], int]
    ) -> None:
        self._registry, self._counter, self._ids, self._now = registry, counter, ids, now
        self._unwritten: dict[tuple[str, str], dict[str, Sign]] = {}
        self._size = 0
        self._listeners: list[Listener] = []

    def listen(self, callback: Listener) -> None:
        """Have `callback` called with the tenant, the driver, the signs of a delivery, and whether
        it is in quarantine.
        """
        self._listeners.append(callback)

    def note(
        self,
        tenant: str,
        driver: str,
        words: Collection[str],
        inbound_id: str,
        *,
        quarantined: bool = False,
    ) -> None:
        """Count signs such as `unknown_status:weird`. Never waits."""
        now = self._now()
        signs = self._unwritten.setdefault((tenant, driver), {})
        for word in words:
            self._counter.labels(driver, _what(word)).inc()
            known = word in signs or self._size < MOST_UNWRITTEN
            self._size += known and word not in signs
            _add(signs, word if known else OTHERS, Sign(1, now, now, inbound_id))
        for listener in self._listeners:
            listener(tenant, driver, words, quarantined)

    @property
    def unwritten(self) -> int:
        """How many signs wait to be written."""
        return sum(map(len, self._unwritten.values()))

    async def run(self) -> None:
        """Write now and then, for ever; whoever cancels this calls `flush` once more."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what gathered; what cannot be written now is kept for the next time."""
        unwritten, self._unwritten, self._size = self._unwritten, {}, 0
        for (tenant, driver), signs in unwritten.items():
            try:
                await self._write(tenant, driver, signs)
            except (StoreUnavailableError, ConflictError) as error:
                log.get().warning("drift.delayed", driver=driver, error=error.message)
                self._keep(tenant, driver, signs)

    def _keep(self, tenant: str, driver: str, signs: dict[str, Sign]) -> None:
        waiting = self._unwritten.setdefault((tenant, driver), {})
        for word, sign in signs.items():
            self._size += word not in waiting
            _add(waiting, word, sign)

    async def signs(self, tenant: str, driver: str) -> dict[str, Sign]:
        """Every sign of a driver, by its word, as all processes have written it."""
        record = await self._registry.find(KIND, tenant, driver)
        return {word: Sign(**sign) for word, sign in record.doc.items()} if record else {}

    async def _write(self, tenant: str, driver: str, signs: dict[str, Sign]) -> None:
        """Raises ConflictError when others kept writing at the same moment."""
        for tried in range(1, TRIES + 1):
            record = await self._registry.find(KIND, tenant, driver)
            record = record or Record(kind=KIND, id=self._ids(), tenant=tenant, name=driver)
            known = {word: Sign(**sign) for word, sign in record.doc.items()}
            for word, sign in signs.items():
                room = word in known or len(known) < MOST_SIGNS
                _add(known, word if room else OTHERS, sign)
            record.doc = {word: asdict(sign) for word, sign in known.items()}
            try:
                await self._registry.put(record, expect_version=record.version)
                return
            except ConflictError:
                if tried == TRIES:
                    raise


def _add(signs: dict[str, Sign], word: str, sign: Sign) -> None:
    known = signs.get(word)
    if known is None:
        signs[word] = Sign(sign.count, sign.first_seen, sign.last_seen, sign.example)
    else:
        known.add(sign)


def _what(word: str) -> str:
    """The part of a sign that our own code wrote; the rest is a stranger's."""
    what = word.partition(":")[0]
    return what if what in KNOWN else "quarantined"
