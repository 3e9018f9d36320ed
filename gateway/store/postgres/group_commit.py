"""Group commit: callers hand in items, and whatever gathered while the last transaction was under
way goes into the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from schemas.errors import StoreUnavailableError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`batch`, `batch_bytes`: what one transaction takes. `waiting`, `waiting_bytes`: above it new
    items are refused (None: never), and when the first has waited `waiting_seconds`. `lanes`:
    transactions at a time. `linger`: seconds that a lane which just committed waits for a batch
    that is not full yet.
    """

    batch: int = 512
    batch_bytes: int = 8 << 20
    waiting: int | None = 4000
    waiting_bytes: int = 64 << 20
    waiting_seconds: float = 2.0
    lanes: int = 1
    linger: float = 0.0


@dataclass(slots=True)
class Ticket(Generic[T, R]):
    """One item that waits. `at`: since when, in the event loop's time."""

    item: T
    size: int
    future: asyncio.Future[R]
    at: float


class GroupCommit(Generic[T, R]):
    """The queue before the transactions, one per process.

    `write(items)` commits items in one transaction and gives one answer for each, in order. When it
    raises StoreUnavailableError every item fails; when it raises anything else one item is at
    fault, and the batch is halved until only that one fails. `observe`: hears of `commit_seconds`
    and `batch_size`.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        limits: Limits,
        observe: Callable[[str, float], None],
    ) -> None:
        self._write, self._limits, self._observe = write, limits, observe
        self._queue: deque[Ticket[T, R]] = deque()
        self._bytes = 0
        self._running = 0  # lanes that will look at the queue again
        self._lanes: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, item: T, size: int) -> asyncio.Future[R]:
        """What becomes of an item of about `size` bytes; done also when nobody waits any more.
        Raises StoreUnavailableError at once when too much waits already.
        """
        limits = self._limits
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        if limits.waiting is not None and (
            len(self._queue) >= limits.waiting or self._bytes + size > limits.waiting_bytes
        ):
            raise StoreUnavailableError(f"{len(self._queue)} writes are waiting already")
        loop = asyncio.get_running_loop()
        now = loop.time()
        old = self._queue and now - self._queue[0].at > limits.waiting_seconds
        if limits.waiting is not None and old:
            raise StoreUnavailableError("the store is slow: writes wait for it too long already")
        ticket: Ticket[T, R] = Ticket(item, size, loop.create_future(), now)
        self._queue.append(ticket)
        self._bytes += size
        if self._running < limits.lanes:
            self._running += 1
            lane = asyncio.create_task(self._run(), name="comporta-group-commit")
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return ticket.future

    async def close(self) -> None:
        """Commit what waits; take nothing more."""
        self._closed = True
        while self._lanes:
            await asyncio.wait(self._lanes)

    async def _run(self) -> None:
        """Commit until nothing waits."""
        try:
            while self._queue:
                await self._commit(self._take())
                if self._limits.linger and 0 < len(self._queue) < self._limits.batch:
                    await asyncio.sleep(self._limits.linger)
        finally:
            self._running -= 1

    def _take(self) -> list[Ticket[T, R]]:
        batch: list[Ticket[T, R]] = []
        room = self._limits.batch_bytes
        while self._queue and len(batch) < self._limits.batch and room > 0:
            ticket = self._queue.popleft()
            room -= ticket.size
            batch.append(ticket)
        self._bytes -= sum(ticket.size for ticket in batch)
        return batch

    async def _commit(self, batch: Sequence[Ticket[T, R]]) -> None:
        started = perf_counter()
        try:
            answers = await self._write([ticket.item for ticket in batch])
        except StoreUnavailableError as error:
            for ticket in batch:  # each its own: a traceback grows with every raise
                _fail((ticket,), type(error)(error.message))
        except Exception as error:  # noqa: BLE001 - whatever it is, one item's caller must hear it
            if len(batch) == 1:
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        except BaseException:
            _fail(batch, StoreUnavailableError("the store is closing"))
            raise
        else:
            self._observe("commit_seconds", perf_counter() - started)
            self._observe("batch_size", len(batch))
            for ticket, answer in zip(batch, answers, strict=True):
                if not ticket.future.done():
                    ticket.future.set_result(answer)


def _fail(batch: Sequence[Ticket[T, R]], error: Exception) -> None:
    for ticket in batch:
        if not ticket.future.done():
            ticket.future.set_exception(error)
