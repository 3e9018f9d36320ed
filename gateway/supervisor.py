"""Keeping several serving processes alive: one that dies is replaced, all end together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from gateway import log
from gateway.shared_metrics import forget

CANNOT_START = 2  # the exit status of a worker that failed before it served
SHORT_LIFE = 5.0  # seconds; who ends sooner is not replaced at once
PAUSE = 1.0
ENDING = (signal.SIGTERM, signal.SIGINT)


class Supervisor:
    """Runs `work` in `count` processes. `work` is given a pipe that ends when the supervisor does,
    so that killing it leaves no orphans; it gives an exit status.
    """

    def __init__(self, count: int, work: Callable[[int], int]) -> None:
        self._count, self._work = count, work
        self._children: dict[int, float] = {}  # process id -> when it began
        self._stopping = False
        self._status = 0
        self._alive, self._held = os.pipe()

    def run(self) -> int:
        """Until SIGTERM or SIGINT, and until every worker has ended; gives the exit status."""
        for number in ENDING:
            signal.signal(number, self._stop)
        began = time.monotonic()
        while not self._stopping or self._children:
            while not self._stopping and len(self._children) < self._count:
                self._fork()
            with suppress(ChildProcessError):
                pid, status = os.wait()  # goes on waiting after a signal
                born = self._children.pop(pid, None)
                forget(pid)
                # As process 1 of a container it inherits orphans that are none of its own.
                if born is not None and not self._stopping:
                    now = time.monotonic()
                    self._mourn(pid, status, now - born, is_first=now - began < SHORT_LIFE)
        return self._status

    def _mourn(self, pid: int, status: int, lived: float, *, is_first: bool) -> None:
        code = os.waitstatus_to_exitcode(status)
        log.get().error("worker.died", pid=pid, exit_code=code)
        if code == CANNOT_START and is_first:  # it would only be started again for ever
            self._status = 1
            self._stop()
        elif lived < SHORT_LIFE:
            time.sleep(PAUSE)

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for child in list(self._children):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    def _fork(self) -> None:
        """With the signals held back: a child must neither miss one nor take it for its parent."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            pid = os.fork()
            if pid:
                self._children[pid] = time.monotonic()
                return
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # Ctrl-C reaches the whole group: the supervisor passes it on, once.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        os._exit(self._live())

    def _live(self) -> int:
        """In the child."""
        os.close(self._held)
        try:
            return self._work(self._alive)
        except BaseException as error:  # noqa: BLE001 - the child must end here, whatever happened
            print(f"comporta: worker: {error}", file=sys.stderr, flush=True)
            return CANNOT_START
