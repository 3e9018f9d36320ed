"""Following a bulk job from the command line until it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EVERY = 1.0  # seconds
ENDED = frozenset({"done", "canceled"})


def follow(
    look: Callable[[], Any], tell: Callable[[str], object], pause: Callable[[float], None]
) -> int:
    """Tell each change of what `look` gives, the answer of `GET /processing/replays/{id}`; gives
    an exit status: 0 when everything was done.
    """
    before = ""
    while True:
        job = look()["data"]
        line = f"{job['status']}: {job['done'] + job['failed']} of {job['matched']}"
        if job["failed"]:
            line += f", {job['failed']} of them left alone"
        if line != before:
            tell(line)
        if job["status"] in ENDED:
            return 0 if job["status"] == "done" else 1
        before = line
        pause(EVERY)
