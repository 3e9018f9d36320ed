"""The answers to a batch of messages, which a broker gives one by one and in any order."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

A = TypeVar("A")


class Answers(Generic[A]):
    """What is said to each message, None where nothing is yet. `complete`: done when there is an
    answer to each, or there will be none.
    """

    def __init__(self, count: int) -> None:
        self.given: list[A | None] = [None] * count
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = count
        if not count:
            self.end()

    def give(self, position: int, answer: A) -> None:
        """The first answer to a message counts."""
        if self.given[position] is not None:
            return
        self.given[position] = answer
        self._missing -= 1
        if not self._missing:
            self.end()

    def give_rest(self, answer: A, first: int = 0) -> None:
        """The answer to all that have none, from `first` on."""
        for position in range(first, len(self.given)):
            self.give(position, answer)

    def end(self) -> None:
        """No more answers come."""
        if not self.complete.done():
            self.complete.set_result(None)
