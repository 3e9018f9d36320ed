"""Deadlines of requests that end one after the other, however many of them end at once.

A hundred receivers that hang give up in the same instant, as they were told of the same event. What
has to be done about each takes a fraction of a millisecond; all of it in one turn of the event loop
would hold up whoever is well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# An answer that came while this process was stopped, or busy, is read before its request is ended:
# timers go before sockets in a turn of the loop.
LAST_LOOK = 0.005
APART = 0.0025  # between two that end
MOST_LATE = 2.0  # seconds; beyond that, together again


class Deadlines:
    """Belongs to one event loop. `begin` gives a timer to be cancelled by whoever finishes in time;
    `scope` is entered by then, and times out a moment after its deadline, never before.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = 0.0

    def begin(self, scope: asyncio.Timeout, seconds: float) -> asyncio.TimerHandle:
        """Give `scope` so many seconds from now."""
        return self._loop.call_later(seconds, self._passed, scope)

    def _passed(self, scope: asyncio.Timeout) -> None:
        scope.reschedule(self.turn())

    def turn(self) -> float:
        """When the next of those whose deadline has passed shall end."""
        now = self._loop.time()
        turn = max(now + LAST_LOOK, self._last + APART)
        self._last = min(turn, now + MOST_LATE)
        return self._last


class Alarm:
    """The deadlines of one request after the other, on one timer: it is moved when it rings too
    early, which is seldom, and not at every request. `late` is called a moment after a deadline.
    """

    def __init__(self, late: Callable[[], None]) -> None:
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._deadlines: Deadlines | None = None
        self._due = 0.0

    def set(self, deadlines: Deadlines, due: float) -> None:
        """Ring at this time of the loop, unless `clear` comes first."""
        self._deadlines, self._due = deadlines, due
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._ring)
        elif due < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(due, self._ring)

    def clear(self) -> None:
        """Nothing is due."""
        self._deadlines = None

    def cancel(self) -> None:
        """Never ring again."""
        self.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        deadlines, self._timer = self._deadlines, None
        if deadlines is None:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._ring)
        else:
            self._timer = self._loop.call_at(deadlines.turn(), self._end, deadlines, self._due)

    def _end(self, deadlines: Deadlines, due: float) -> None:
        self._timer = None
        if self._deadlines is deadlines and self._due == due:
            self._late()
        elif self._deadlines is not None:
            self._ring()
