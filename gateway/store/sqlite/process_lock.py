"""The lock beside the database: one process serves it, and it remembers whether that one ended
well.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from schemas.errors import StoreUnavailableError


class ProcessLock:
    """Held from `acquire` to `release`, or to the end of the process however it comes.

    The file holds the pid of who serves, and is emptied at a clean end. flock, not lockf: the lock
    belongs to this open file, so that another use of the same path in this process cannot drop it.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._descriptor = -1

    def acquire(self) -> bool:
        """Whether the last process ended well. Raises StoreUnavailableError when one is there."""
        path = self._database.with_name(self._database.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailableError(f"cannot open {path}: {error.strerror}") from None
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreUnavailableError(
                f"{self._database} is served by another process ({holder or 'just starting'}); "
                "SQLite serves one process, use PostgreSQL for more"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return not holder

    def release(self, *, clean: bool) -> None:
        """Let go. `clean`: everything was written and closed."""
        if self._descriptor < 0:
            return
        if clean:
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1
