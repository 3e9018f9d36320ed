"""Named crash points for fault tests: the process ends there as if it were killed."""

from __future__ import annotations

import os
from collections.abc import Callable

EXIT_CODE = 137  # as after SIGKILL
# The path of a delivery, in its order; the last five are ways of one that was not sent at once.
POINTS = (
    "after_read",
    "after_verify",
    "before_commit",
    "after_commit",
    "before_offer",
    "before_answer",
    "before_send",
    "after_send",
    "before_settle",
    "after_settle",
    "before_claim",
    "after_claim",
    "before_release",
    "after_release",
    "after_free",
)


def crash_at(point: str) -> Callable[[str], None]:
    """A function to be called at each point: ends the process at `point`, else does nothing.

    `point` may say how many times to pass first: `after_commit:100`.
    """
    if not point:
        return nowhere
    name, _, passes = point.partition(":")
    left = [int(passes or 0)]

    def crash(here: str) -> None:
        if here == name:
            left[0] -= 1
            if left[0] < 0:
                os._exit(EXIT_CODE)

    return crash


def nowhere(_point: str) -> None:
    """Where nothing is to end."""
