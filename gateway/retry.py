"""When to try again: pure functions of the schedule, the tries made and a random number."""

from __future__ import annotations

from collections.abc import Sequence

JITTER = 0.2


def next_delay(schedule: Sequence[float], attempts: int, random: float) -> float | None:
    """Seconds until the next try after `attempts` tries; None when the schedule is used up.

    Up to 20 % is added, never taken away, so that nothing comes before its time. `random` is in [0,
    1).
    """
    if attempts > len(schedule):
        return None
    return schedule[attempts - 1] * (1 + JITTER * random)
