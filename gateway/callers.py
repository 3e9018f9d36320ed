"""Everything the API remembers of whoever calls it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from gateway import log
from gateway.audit import Audit
from gateway.idempotency import Idempotency
from gateway.parts import Parts
from gateway.sources import Attempts, Sources
from schemas.errors import StoreUnavailableError

EVERY = 3600.0  # seconds between two clean-ups


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Where requests come from, who fails too often, what was asked before, and the audit log."""

    sources: Sources
    attempts: Attempts
    idempotency: Idempotency
    audit: Audit

    @classmethod
    def of(cls, parts: Parts) -> Callers:
        """Those of one process."""
        database = parts.store.database
        return cls(
            sources=Sources(parts.settings.trusted_proxies),
            attempts=Attempts(time.monotonic),
            idempotency=Idempotency(database, parts.keys.vault, parts.now),
            audit=Audit(database, parts.ids, parts.now),
        )

    async def run(self) -> None:
        """Forget what is too old, now and then, for ever."""
        while True:
            try:
                await self.idempotency.forget()
                await self.audit.forget()
            except StoreUnavailableError as error:
                log.get().warning("callers.delayed", error=error.message)
            await asyncio.sleep(EVERY)
