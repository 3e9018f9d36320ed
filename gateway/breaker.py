"""The circuit breaker of one sink: a pure state machine; time is an argument (seconds, monotonic).

Opens after ten failures in a row, or at 70 % of at least ten results in five minutes; stays open
one second, doubling to half a minute, so that a receiver that is back is noticed soon; then lets
one probe through, and closes after two good ones.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

WINDOW = 300.0
LEAST_RESULTS = 10
FAILURE_RATE = 0.7
MOST_RESULTS = 1000  # kept of the window
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST_DOUBLINGS = 5  # by then the pause is the longest
PROBES_TO_CLOSE = 2


@dataclass(slots=True)
class Breaker:
    """`state`: closed lets everything through, open nothing, half_open one at a time.
    `failing_since`: the first failure after which nothing succeeded, None when the last result was
    good.
    """

    state: Literal["closed", "open", "half_open"] = "closed"
    reopens: int = 0
    opened_until: float = 0.0
    failing_since: float | None = None
    _in_a_row: int = 0
    _failures: int = 0
    _good_probes: int = 0
    _results: deque[tuple[float, bool]] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        """Seconds until something may be tried; 0 when it may now. An open breaker whose pause is
        over half-opens.
        """
        if self.state == "open" and now >= self.opened_until:
            self.state, self._good_probes = "half_open", 0
        return max(0.0, self.opened_until - now) if self.state == "open" else 0.0

    @property
    def allowance(self) -> int | None:
        """How many may be in flight: one while half open, None for no limit of ours."""
        return {"closed": None, "half_open": 1, "open": 0}[self.state]

    @property
    def headroom(self) -> int | None:
        """How many more failures in a row would open it; None while the last result was good."""
        return LEAST_RESULTS - self._in_a_row if self._in_a_row else None

    def record(self, *, ok: bool, now: float) -> bool:
        """Take a result in; gives whether the state changed by it."""
        before = self.state
        if ok:
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = now
        if self.state == "half_open":
            self._probe(ok=ok, now=now)
        elif self.state == "closed":
            self._count(ok=ok, now=now)
        return self.state != before

    def adopt(self, *, until: float, reopens: int, failing_since: float | None) -> None:
        """Open as another process found it to be; `until` is when this one may probe."""
        self.state, self.opened_until = "open", until
        self.reopens, self.failing_since = reopens, failing_since
        self._forget()

    def reset(self) -> None:
        """Close: another process found that it works."""
        self.state, self.reopens, self.failing_since = "closed", 0, None
        self._forget()

    def _probe(self, *, ok: bool, now: float) -> None:
        if not ok:
            self._open(now)
            return
        self._good_probes += 1
        if self._good_probes >= PROBES_TO_CLOSE:
            self.state, self.reopens = "closed", 0
            self._forget()

    def _count(self, *, ok: bool, now: float) -> None:
        if ok and not self._results:
            return  # the usual case costs nothing
        self._in_a_row = 0 if ok else self._in_a_row + 1
        self._failures += not ok
        self._results.append((now, ok))
        while self._results[0][0] < now - WINDOW or len(self._results) > MOST_RESULTS:
            _, was_ok = self._results.popleft()
            self._failures -= not was_ok
        if not self._failures:
            self._results.clear()
        elif not ok and self._is_failing():
            self._open(now)

    def _is_failing(self) -> bool:
        if self._in_a_row >= LEAST_RESULTS:
            return True
        known = len(self._results)
        return known >= LEAST_RESULTS and self._failures / known >= FAILURE_RATE

    def _open(self, now: float) -> None:
        pause = min(FIRST_PAUSE * 2 ** min(self.reopens, MOST_DOUBLINGS), LONGEST_PAUSE)
        self.state, self.opened_until = "open", now + pause
        self.reopens += 1
        self._forget()

    def _forget(self) -> None:
        self._results.clear()
        self._in_a_row = self._failures = 0
