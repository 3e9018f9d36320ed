"""How many clients may be connected: to this process, and to each instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gateway.push_client import SHUTDOWN, Place
from schemas.errors import TooManyRequestsError, UnavailableError

RETRY_AFTER = 10


class Seats:
    """`most`: of this process. `count`: told of the number that are taken whenever it changes."""

    def __init__(self, most: int, count: Callable[[int], None]) -> None:
        self._most, self._count = most, count
        self._taken: dict[Place, int] = {}
        self._total = 0
        self.closed = False

    @contextmanager
    def one(self, place: Place, allowed: Sequence[int | None]) -> Iterator[None]:
        """Count a connection while it lasts. `allowed`: what each websocket sink of the instance
        allows, None for any number; they add up.

        Raises UnavailableError when this process has none left, TooManyRequestsError when the
        instance has.
        """
        self._admit(place, allowed)
        self._change(place, 1)
        try:
            yield
        finally:
            self._change(place, -1)

    def _admit(self, place: Place, allowed: Sequence[int | None]) -> None:
        if self.closed:
            raise UnavailableError(SHUTDOWN.reason, retry_after=1)
        if self._total >= self._most:
            raise UnavailableError("this server has no connection left", retry_after=RETRY_AFTER)
        limits = [limit for limit in allowed if limit is not None]
        if limits and len(limits) == len(allowed) and self._taken.get(place, 0) >= sum(limits):
            raise TooManyRequestsError(
                f"all connections of instance {place[1]} are taken: {sum(limits)}",
                retry_after=RETRY_AFTER,
            )

    def _change(self, place: Place, change: int) -> None:
        taken = self._taken.pop(place, 0) + change
        if taken:
            self._taken[place] = taken
        self._total += change
        self._count(self._total)
