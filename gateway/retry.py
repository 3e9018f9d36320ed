"""When to try again: pure functions of the schedule, the tries made and a random number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

JITTER = 0.2
LONGEST_HOLD = 86_400.0


def next_delay(schedule: Sequence[float], attempts: int, random: float) -> float | None:
    """Seconds until the next try after `attempts` tries; None when the schedule is used up.

    Up to 20 % is added, never taken away, so that nothing comes before its time. `random` is in [0,
    1).
    """
    if attempts > len(schedule):
        return None
    return schedule[attempts - 1] * (1 + JITTER * random)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date), at most a day; None
    for nonsense.

    RFC 9110, section 10.2.3.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_HOLD)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return min(seconds, LONGEST_HOLD) if seconds > 0 else None
