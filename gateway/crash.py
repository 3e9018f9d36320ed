"""Named crash points for fault tests: the process ends there as if it were killed."""

from __future__ import annotations

import os
from collections.abc import Callable

EXIT_CODE = 137  # as after SIGKILL


def crash_at(point: str) -> Callable[[str], None]:
    """A function to be called at each point: ends the process at `point`, else does nothing.

    `point` may say how many times to pass first: `after_commit:100`.
    """
    if not point:
        return _nothing
    name, _, passes = point.partition(":")
    left = [int(passes or 0)]

    def crash(here: str) -> None:
        if here == name:
            left[0] -= 1
            if left[0] < 0:
                os._exit(EXIT_CODE)

    return crash


def _nothing(_point: str) -> None:
    return
