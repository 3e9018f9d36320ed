"""A process that appends and says what was acknowledged, until it is told to die.

python -m tests.store.doomed PATH POINT NUMBER: killed when the NUMBERth append reaches POINT.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from gateway.store.base import Append
from gateway.store.sqlite import Tuning, open_sqlite
from tests.store.rows import Clock, Maker


class Doom:
    """Kills this process, as the kernel would, at the chosen pass of the chosen point."""

    def __init__(self, point: str, passes: int) -> None:
        self._point, self._passes = point, passes

    def __call__(self, point: str) -> None:
        if point == self._point:
            self._passes -= 1
            if not self._passes:
                os.kill(os.getpid(), signal.SIGKILL)


def say(*words: str) -> None:
    print(*words, flush=True)


async def main(path: Path, point: str, passes: int) -> None:
    make = Maker(Clock())
    store = await open_sqlite(
        path, node="doomed", lease_seconds=1e6, crash=Doom(point, passes), tuning=Tuning()
    )
    say("open")
    for number in range(10_000):
        item: Append = make.sent("sink-a", leased=number % 2 == 0)
        assert item.inbound
        item.inbound.delivery_key = f"key-{number}"
        say("sent", item.inbound.delivery_key)
        await store.log.append(item)
        say("acked", item.inbound.delivery_key)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
