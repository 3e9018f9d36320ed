"""The clock of the embedded store: what is to be done later is measured in time that passes, and
not moved by whoever sets the machine's clock.

It shows the wall clock's time, and yet passes evenly. When the wall clock is set, every schedule
is moved along with it in a transaction of its own, and so stays as far away as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.store.sqlite.connection import MICROSECONDS, Sql
from gateway.store.sqlite.leases import END_OF_TIME

LEAST_STEP = MICROSECONDS  # less than a second is not worth rewriting schedules
NANOSECONDS = 1000  # in a microsecond
LAST_SEEN = "SELECT max(seen_at) FROM nodes"
# What was due stays due: when the clock goes back, that has to move, too.
SHIFTS = (
    f"""UPDATE deliveries SET next_at = next_at + ?1
    WHERE state = 'pending' AND next_at > ?2 AND next_at < {END_OF_TIME}""",
    "UPDATE jobs SET due_at = due_at + ?1 WHERE due_at > ?2",
)
# How long a lease has been held is asked for, too.
SHIFT_LEASES = "UPDATE deliveries SET updated_at = updated_at + ? WHERE state = 'leased'"


class StoreClock:
    """Microseconds since 1970. `wall`: what the machine says. `elapsed`: microseconds from any
    beginning, that nobody sets.
    """

    def __init__(self, wall: Callable[[], int], elapsed: Callable[[], int]) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._anchor = wall() - elapsed()

    def __call__(self) -> int:
        return self._anchor + self._elapsed()

    def step(self) -> int:
        """How far the wall clock was set since we last followed it; 0 for next to nothing."""
        step = self._wall() - self()
        return step if abs(step) >= LEAST_STEP else 0

    def follow(self, step: int) -> None:
        """Show the wall clock's time again."""
        self._anchor += step


def machine_clock() -> StoreClock:
    """The clock of this machine."""
    return StoreClock(_wall, _elapsed)


def shift(sql: Sql, now: int, step: int) -> None:
    """Move every schedule by `step` microseconds, as the clock is: it shows `now` still."""
    late = min(now, now + step)
    for statement in SHIFTS:
        sql.run(statement, (step, late))
    sql.run(SHIFT_LEASES, (step,))


def catch_up(sql: Sql, now: int) -> None:
    """At the start: when it is earlier than it was when the store was last seen, the clock was set
    back meanwhile. That it was set forward cannot be told from a night in which nothing ran.
    """
    seen = sql.value(LAST_SEEN)
    if seen is not None and seen - now >= LEAST_STEP:
        shift(sql, seen, now - seen)


def _wall() -> int:
    return time.time_ns() // NANOSECONDS


def _elapsed() -> int:
    """Also while the machine sleeps, where the system counts that."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // NANOSECONDS
