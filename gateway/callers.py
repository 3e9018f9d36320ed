"""Everything the API remembers of whoever calls it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway import log
from gateway.audit import Audit
from gateway.idempotency import Idempotency
from gateway.security import Vault
from gateway.settings import Settings
from gateway.sources import Attempts, Sources
from gateway.store.base import Database
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
    def of(  # noqa: PLR0917 - parts of the one composition root
        cls,
        settings: Settings,
        database: Database,
        vault: Vault,
        ids: Callable[[], str],
        now: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Callers:
        """The parts of one process."""
        return cls(
            sources=Sources(settings.trusted_proxies),
            attempts=Attempts(monotonic),
            idempotency=Idempotency(database, vault, now),
            audit=Audit(database, ids, now),
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
