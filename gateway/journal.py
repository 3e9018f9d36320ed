"""What this process is sending at this very moment, kept where it outlives the process.

A delivery that kills whoever encodes it (a crash in a C library, memory that runs out) would be
claimed by the next process and kill that one, too. The journal tells which it was: it names what is
being encoded, for the few microseconds that takes, in memory that belongs to a file. Whoever starts
next reads it. After three deaths the delivery is a dead letter; after the first it is sent singly,
so that its neighbours in a batch are not taken for it.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gateway import log
from gateway.store.base import Database

DEATHS = 3
REASON = f"sending it ended the process {DEATHS} times"
SIZE = 4096  # bytes; the ids of one batch
REMEMBERED = 1000  # deaths
BURY = """
UPDATE deliveries SET state = 'dead', owner = NULL, reason = $1, updated_at = $2
WHERE id = $3 AND state IN ('pending', 'leased') RETURNING id"""


class Journal:
    """`suspects`: deliveries that a process died over; `convicted`: too many did.

    Without a folder, or one that may not be written to, it does nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.suspects: frozenset[str] = frozenset()
        self.convicted: tuple[str, ...] = ()
        self._page: mmap.mmap | None = None
        self._file: BinaryIO | None = None
        self._folder = folder
        if folder is None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._read(folder)
            self._begin(folder / f"{os.getpid()}-{secrets.token_hex(4)}.mark")
        except OSError as error:
            log.get().info("journal.off", folder=str(folder), error=str(error))

    def sending(self, ids: Sequence[str]) -> None:
        """These are encoded now: until the caller waits for something."""
        page = self._page
        if page is not None:
            text = " ".join(ids).encode()[: SIZE - 1] + b"\0"
            page[: len(text)] = text
            asyncio.get_running_loop().call_soon(self._done)

    def _done(self) -> None:
        if self._page is not None:
            self._page[0] = 0

    async def bury(self, database: Database) -> None:
        """Make dead letters of what too many processes died over."""
        for ident in self.convicted:
            if await database.write(BURY, REASON, await database.now(), ident):
                log.get().error("delivery.poisonous", delivery_id=ident, reason=REASON)
        if self._folder is not None and self.convicted:
            with _locked(self._folder / "deaths") as file:
                _rewrite(file, [i for i in _known(file) if i not in self.convicted])

    def close(self) -> None:
        """At a good end there is nothing to remember."""
        if self._file is not None and self._page is not None:
            Path(self._file.name).unlink(missing_ok=True)
            self._page.close()
            self._file.close()
        self._page = self._file = None

    def _begin(self, path: Path) -> None:
        """A page of our own. Its lock tells others that we live."""
        self._file = path.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        # Written, not only made long: a page without a block would end us on a full disk.
        self._file.write(bytes(SIZE))
        self._file.flush()
        self._page = mmap.mmap(self._file.fileno(), SIZE)

    def _read(self, folder: Path) -> None:
        """Take in what those who died were sending, each once."""
        with _locked(folder / "deaths") as file:
            known = _known(file)
            known += [ident for mark in folder.glob("*.mark") for ident in _left_by(mark)]
            deaths = Counter(known)
            self.convicted = tuple(i for i, count in deaths.items() if count >= DEATHS)
            self.suspects = frozenset(deaths)
            _rewrite(file, known)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _known(file: BinaryIO) -> list[str]:
    """The deliveries of all deaths that are remembered."""
    file.seek(0)
    return file.read().decode("ascii", "replace").split()


def _rewrite(file: BinaryIO, known: Sequence[str]) -> None:
    file.truncate(0)
    file.write("\n".join(known[-REMEMBERED:]).encode())


def _left_by(mark: Path) -> list[str]:
    """What a process that is gone was sending; nothing of one that lives."""
    try:
        with mark.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = file.read().partition(b"\0")[0]
            mark.unlink(missing_ok=True)
    except OSError:
        return []
    return text.decode("ascii", "replace").split()
