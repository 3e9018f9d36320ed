"""One connection to one broker, kept up for every sink that uses it.

Sinks of one address share a link. It reconnects for as long as anybody uses it and is closed with
its last user. Whatever needs it while it is down waits for the next try and is told how that went.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
# Whoever is in a hurry may end a pause, but not sooner: many lanes share a link.
LEAST_PAUSE = 0.5
STABLE = 10.0  # seconds after which a connection that breaks is no sign of a sick broker
# RabbitMQ allows 2047 channels on a connection unless told otherwise, and each sink needs two.
MOST_USERS = 500


class LinkError(Exception):
    """There is no connection. `ours`: our own trouble (no socket, a dead resolver), not theirs."""

    def __init__(self, reason: str, *, ours: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.ours = reason, ours


class Peer(Protocol):
    """An established connection."""

    async def lost(self) -> str:
        """Wait until it is gone; gives why."""

    async def close(self) -> None:
        """Let go of it, soon even if the other side is silent. Never raises."""


P = TypeVar("P", bound=Peer)
Dial = Callable[[], Awaitable[P]]  # raises LinkError, and nothing else


class Link(Generic[P]):
    """See the module. Made, used and closed inside one running loop."""

    def __init__(self, dial: Dial[P], jitter: Callable[[], float] = random.random) -> None:
        self.peer: P | None = None
        self.error: LinkError | None = None
        self.users = 0
        self._dial, self._jitter = dial, jitter
        self._hurry = asyncio.Event()
        self._tried = asyncio.Event()  # set when the try that is under way, or due, has ended
        self._task: asyncio.Task[None] | None = None

    async def ready(self) -> P:
        """The connection, or the outcome of the next try. Raises LinkError."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_up())
        if self.peer is None:
            self._hurry.set()
            await self._tried.wait()
        if self.peer is None:
            error = self.error or LinkError("the connection was lost")
            raise LinkError(error.reason, ours=error.ours)
        return self.peer

    async def close(self) -> None:
        """Stop trying and let go of the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        peer, self.peer = self.peer, None
        if peer is not None:
            await peer.close()

    async def _keep_up(self) -> None:
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            began = clock()
            try:
                self.peer = await self._dial()
            except LinkError as error:
                self.error = error
            self._tried.set()
            self._hurry.clear()
            if self.peer is not None:
                await self._serve(self.peer)
            failures = 0 if clock() - began > STABLE else failures + 1
            await self._pause(failures)

    async def _serve(self, peer: P) -> None:
        reason = await peer.lost()
        self.error, self.peer = LinkError(reason), None
        self._tried.clear()
        await peer.close()

    async def _pause(self, failures: int) -> None:
        self._tried.clear()
        longest = min(FIRST_PAUSE * 2.0**failures, LONGEST_PAUSE) * (0.5 + self._jitter())
        least = min(LEAST_PAUSE, longest)
        await asyncio.sleep(least)
        try:
            async with asyncio.timeout(longest - least):
                await self._hurry.wait()
        except TimeoutError:
            return


class Links:
    """The links of a process, by what they connect to."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._links: dict[Hashable, list[Link[Any]]] = {}

    def take(self, key: Hashable, dial: Dial[P]) -> Link[P]:
        """The link of this key, made if need be; `leave` it when it is no longer used.

        `key`: everything that `dial` connects with.
        """
        links = self._links.setdefault(key, [])
        link = next((link for link in links if link.users < MOST_USERS), None)
        if link is None:
            link = Link(dial, self._jitter)
            links.append(link)
        link.users += 1
        return link

    async def leave(self, link: Link[Any]) -> None:
        """Give a taken link back, once."""
        link.users -= 1
        if link.users:
            return
        self._links = {
            key: rest
            for key, links in self._links.items()
            if (rest := [other for other in links if other is not link])
        }
        await link.close()
