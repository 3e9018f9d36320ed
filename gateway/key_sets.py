"""Key sets (JWKS) of providers that sign with public keys: fetched once, kept, refreshed when a key
is not among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway import log
from schemas import codec
from schemas.errors import UnparsableError
from sinks.base import Http, HttpError

TIMEOUT = 10.0
MOST_BYTES = 256 * 1024
LEAST_AGE = 60.0  # seconds between two fetches, so that forgeries cannot make us ask for ever


class KeySets:
    """By URL. `get` is free; `refresh` asks the provider."""

    def __init__(self, http: Http, monotonic: Callable[[], float]) -> None:
        self._http, self._monotonic = http, monotonic
        self._documents: dict[str, Any] = {}
        self._asked: dict[str, float] = {}
        self._lock = asyncio.Lock()

    def get(self, url: str) -> Any:
        """The key set last seen at `url`, None when there is none yet."""
        return self._documents.get(url)

    async def refresh(self, url: str) -> bool:
        """Ask again, at most once a minute; gives whether the keys are others now."""
        before = self._documents.get(url)
        async with self._lock:
            if self._documents.get(url) is not before:
                return True
            now = self._monotonic()
            if now - self._asked.get(url, -LEAST_AGE) < LEAST_AGE:
                return False
            self._asked[url] = now
            try:
                answer = await self._http.request(
                    "GET", url, headers={}, timeout=TIMEOUT, limit=MOST_BYTES
                )
                if answer.status == 200:
                    self._documents[url] = codec.loads(answer.body)
            except (HttpError, UnparsableError) as error:
                log.get().warning("key_set.unavailable", reason=str(error))
        return self._documents.get(url) != before
