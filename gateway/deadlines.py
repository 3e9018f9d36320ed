"""Deadlines of requests that end one after the other, however many of them end at once.

A hundred receivers that hang give up in the same instant, as they were told of the same event. What
has to be done about each takes a fraction of a millisecond; all of it in one turn of the event loop
would hold up whoever is well.
"""

from __future__ import annotations

import asyncio

# An answer that came while this process was stopped, or busy, is read before its request is ended:
# timers go before sockets in a turn of the loop.
LAST_LOOK = 0.005
APART = 0.001  # between two that end
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
        now = self._loop.time()
        turn = max(now + LAST_LOOK, self._last + APART)
        self._last = min(turn, now + MOST_LATE)
        scope.reschedule(self._last)
