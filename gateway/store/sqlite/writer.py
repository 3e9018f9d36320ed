"""The one thread that writes: it takes whatever has gathered and commits it as one.

The event loop hands work over once per turn and hears of all results of a transaction in one call:
nothing crosses between the threads one by one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import apsw

from gateway.store.base import Append, Appended, Settlement
from gateway.store.sqlite.connection import NOT_NOW, Sql, Tuning
from gateway.store.sqlite.transaction import Transactions, Work
from schemas.errors import StoreUnavailableError

T = TypeVar("T")
BATCH_BYTES = 16 << 20


@dataclass(slots=True)
class Ticket:
    """One piece of work that waits."""

    work: Work
    future: asyncio.Future[Any]
    size: int


class Writer:
    """The queue before the writer thread, bounded. Belongs to one event loop's thread."""

    def __init__(
        self,
        connection: apsw.Connection,
        transactions: Transactions,
        tuning: Tuning,
        observe: Callable[[str, float], None],
    ) -> None:
        self._tuning, self._observe = tuning, observe
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[list[Ticket] | None] = SimpleQueue()
        self._gathered: list[Ticket] = []
        self._waiting = self._waiting_bytes = 0
        self._handed: deque[list[float]] = deque()  # when, and how many of them still wait
        self._closed = False
        self._thread = _Thread(connection, transactions, tuning, self._queue, self._tell)
        self._thread.start()

    def append(self, item: Append, node: str) -> asyncio.Future[Appended]:
        """Raises StoreUnavailableError at once when too much waits already."""
        size = _size(item)
        self._refuse_overflow(size)
        return self._submit((item, node), size)

    def settle(self, items: Sequence[Settlement]) -> asyncio.Future[frozenset[str]]:
        """Never refused for what waits: a result that is not kept is a try made twice."""
        return self._submit(list(items), 0)

    def call(self, work: Callable[[Sql, int], T], *, size: int | None = None) -> asyncio.Future[T]:
        """Run `work(sql, now)` in a transaction. With a `size` it may be refused like an append."""
        if size is not None:
            self._refuse_overflow(size)
        return self._submit(work, size or 0)

    async def close(self) -> None:
        """Finish what waits, end the thread, close the connection."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _refuse_overflow(self, size: int) -> None:
        tuning = self._tuning
        many = self._waiting >= tuning.max_waiting
        if many or self._waiting_bytes + size > tuning.max_waiting_bytes:
            raise StoreUnavailableError(f"{self._waiting} writes are waiting for the store already")
        if self._handed and self._loop.time() - self._handed[0][0] > tuning.max_waiting_seconds:
            raise StoreUnavailableError("the store is slow: writes wait for it too long already")

    def _submit(self, work: Work, size: int) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        ticket = Ticket(work, self._loop.create_future(), size)
        self._waiting += 1
        self._waiting_bytes += size
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(ticket)
        return ticket.future

    def _hand_over(self) -> None:
        if self._gathered:
            self._handed.append([self._loop.time(), len(self._gathered)])
            self._queue.put(self._gathered)
            self._gathered = []

    def _tell(self, batch: list[Ticket], outcomes: list[Any], seconds: float) -> bool:
        """From the writer thread. False: the loop is gone, and with it everybody who waited."""
        try:
            self._loop.call_soon_threadsafe(self._resolve, batch, outcomes, seconds)
        except RuntimeError:
            return False
        return True

    def _forget_handed(self, count: int) -> None:
        """The first so many that were handed over wait no longer."""
        while count:
            first = self._handed[0]
            taken = min(count, int(first[1]))
            first[1] -= taken
            count -= taken
            if not first[1]:
                self._handed.popleft()

    def _resolve(self, batch: list[Ticket], outcomes: list[Any], seconds: float) -> None:
        self._forget_handed(len(batch))
        for ticket, outcome in zip(batch, outcomes, strict=True):
            self._waiting -= 1
            self._waiting_bytes -= ticket.size
            if ticket.future.done():
                continue  # the caller went away; what it asked for is done all the same
            if isinstance(outcome, Exception):
                ticket.future.set_exception(outcome)
            else:
                ticket.future.set_result(outcome)
        self._observe("commit_seconds", seconds)
        self._observe("batch_size", len(batch))


class _Thread(threading.Thread):
    """Takes, commits, tells; owns the write connection."""

    def __init__(
        self,
        connection: apsw.Connection,
        transactions: Transactions,
        tuning: Tuning,
        queue: SimpleQueue[list[Ticket] | None],
        tell: Callable[[list[Ticket], list[Any], float], bool],
    ) -> None:
        super().__init__(name="comporta-store", daemon=True)
        self._connection, self._transactions, self._tuning = connection, transactions, tuning
        self._queue, self._tell = queue, tell
        self._left: deque[Ticket] = deque()
        self._pages = self._copied = 0
        self._pressure = 0.0
        connection.set_wal_hook(self._on_wal)

    def run(self) -> None:
        while batch := self._gather():
            started = time.perf_counter()
            outcomes = self._transactions.commit([ticket.work for ticket in batch])
            seconds = time.perf_counter() - started
            # What came meanwhile tells load from a few callers that ask again and again.
            self._take_all()
            self._pressure += (len(self._left) - self._pressure) / 4
            if not self._tell(batch, outcomes, seconds):
                break
            self._checkpoint()
        self._connection.close()

    def _gather(self) -> list[Ticket]:
        """What waits now, at least one ticket; none at the end."""
        most = self._tuning.max_batch
        if not self._left:
            self._take(block=True)
        if self._left and self._pressure > 1:
            time.sleep(self._tuning.gather_seconds)
            self._take_all()
        batch: list[Ticket] = []
        size = 0
        while self._left and len(batch) < most and size < BATCH_BYTES:
            batch.append(self._left.popleft())
            size += batch[-1].size
        return batch

    def _take_all(self) -> None:
        while len(self._left) < self._tuning.max_batch and self._take(block=False):
            pass

    def _take(self, *, block: bool) -> bool:
        try:
            tickets = self._queue.get(block=block)
        except Empty:
            return False
        if tickets is None:
            self._queue.put(None)  # seen again when everything before it is done
            return False
        self._left.extend(tickets)
        return True

    def _on_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:
            self._copied = 0  # the log began anew
        self._pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Copy a long log back into the database, after everybody has their answer."""
        if self._pages - self._copied < self._tuning.checkpoint_pages:
            return
        self._copied = self._pages
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except NOT_NOW:
            return  # nothing is lost, the log grows: the next one is due as many pages later


def _size(item: Append) -> int:
    """About how many bytes an append holds while it waits."""
    size = sum(len(event.data) + 300 * len(event.deliveries) for event in item.events)
    size += sum(len(job.doc) for job in item.jobs)
    if item.inbound:
        size += len(item.inbound.body) + len(item.inbound.headers) + len(item.inbound.query)
    return size + 1000
