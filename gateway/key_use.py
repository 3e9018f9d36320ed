"""When each API key was last used: noted on every request, written at most once a minute per key.

Known to the minute is enough to find the keys that nobody uses any more, and costs no request a
write.
"""

from __future__ import annotations

import asyncio

from gateway import log
from gateway.directory import Directory
from gateway.models import ApiKey
from schemas.errors import ConflictError, StoreUnavailableError

PRECISION = 60_000_000  # microseconds
EVERY = 5.0  # seconds between two writes


class KeyUse:
    """Notes and writes the last use of every key of this process."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._unwritten: dict[str, int] = {}

    def note(self, key: ApiKey, now: int) -> None:
        """This key was used at `now` (microseconds). Never waits."""
        if key.last_used_at is None or now - key.last_used_at >= PRECISION:
            self._unwritten.setdefault(key.id, now)

    async def run(self) -> None:
        """Write now and then, for ever; whoever cancels this calls `flush` once more."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what was noted. A key that changes at the same moment is told the next time."""
        unwritten, self._unwritten = self._unwritten, {}
        for ident, at in unwritten.items():
            key = self._directory.api_key(ident)
            if key is None or (key.last_used_at or 0) >= at:
                continue
            try:
                await self._directory.save("api_key", key.model_copy(update={"last_used_at": at}))
            except ConflictError:
                continue
            except StoreUnavailableError as error:
                log.get().warning("key_use.delayed", error=error.message)
                return
