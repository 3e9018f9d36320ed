"""Many pieces of work in one transaction; one that cannot be done fails alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apsw

from gateway.store.base import Append, Settlement
from gateway.store.sqlite.append import Appends
from gateway.store.sqlite.clock import StoreClock, shift
from gateway.store.sqlite.connection import NOT_NOW, Sql, unavailable
from gateway.store.sqlite.settle import settle, settle_singly

Call = Callable[[Sql, int], Any]
# An append of a node; results; or anything else, given `now` in microseconds.
Work = tuple[Append, str] | list[Settlement] | Call


class Transactions:
    """Commits batches of work. `seqs`: what events take their `seq` from; it never goes back."""

    def __init__(
        self,
        connection: apsw.Connection,
        *,
        clock: Callable[[], int],
        seqs: Iterator[int],
        crash: Callable[[str], None],
    ) -> None:
        self._connection, self._sql = connection, Sql(connection)
        self._clock, self._seqs, self._crash = clock, seqs, crash

    def commit(self, works: Sequence[Work]) -> list[Any]:
        """A result or an exception for each, in order. Raises nothing."""
        try:
            self._follow_the_wall_clock()
            try:
                return self._transact(works, self._together)
            except NOT_NOW:
                raise
            except Exception:  # noqa: BLE001 - one is at fault: tried singly, only that one fails
                return self._transact(works, self._singly)
        except NOT_NOW as error:
            return [unavailable(error) for _ in works]
        except Exception as error:  # noqa: BLE001 - the thread outlives whatever happens here
            return [error for _ in works]

    def _follow_the_wall_clock(self) -> None:
        """In a transaction of its own: all others see the time and the schedules in step."""
        clock = self._clock
        if not isinstance(clock, StoreClock) or not (step := clock.step()):
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            shift(self._sql, clock(), step)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        clock.follow(step)

    def _transact(
        self, works: Sequence[Work], apply: Callable[[Sequence[Work], int], list[Any]]
    ) -> list[Any]:
        appends = any(isinstance(work, tuple) for work in works)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = apply(works, self._clock())
            if appends:
                self._crash("before_commit")
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        if appends:
            self._crash("after_commit")
        return outcomes

    def _together(self, works: Sequence[Work], now: int) -> list[Any]:
        """All appends in a few statements, all results in two, then the rest."""
        appends = [work for work in works if isinstance(work, tuple)]
        results = [item for work in works if isinstance(work, list) for item in work]
        appended = iter(Appends(self._sql, now, self._seqs).run(appends) if appends else ())
        if results:
            settle(self._sql, now, results)
        return [
            next(appended)
            if isinstance(work, tuple)
            else self._apart(work, now)
            if callable(work)
            else frozenset()
            for work in works
        ]

    def _singly(self, works: Sequence[Work], now: int) -> list[Any]:
        return [self._apart(work, now) for work in works]

    def _apart(self, work: Work, now: int) -> Any:
        """The outcome of one piece of work, undone when it is an exception."""
        self._connection.execute("SAVEPOINT apart")
        try:
            outcome = self._one(work, now)
        except NOT_NOW:
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's to hear
            self._connection.execute("ROLLBACK TO apart")
            outcome = error
        self._connection.execute("RELEASE apart")
        return outcome

    def _one(self, work: Work, now: int) -> Any:
        if callable(work):
            return work(self._sql, now)
        if isinstance(work, tuple):
            return Appends(self._sql, now, self._seqs).run([work])[0]
        return settle_singly(self._sql, now, work)
