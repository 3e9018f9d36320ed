"""One connected client: what waits for it, bounded, and how it must end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from schemas.envelope import envelope, frame
from schemas.events import StoredEvent, key_of
from schemas.sink_config import SinkConfig

MOST_WAITING = 256
MOST_BYTES = 16 * 1024 * 1024
# What is offered at a time, so that whoever keeps up has room for it.
PAGE, PAGE_BYTES = 50, 4 * 1024 * 1024
AT_ONCE = 32  # written before the queue is looked at again

Place = tuple[str, str]  # tenant and instance


class Ending(NamedTuple):
    """Why a connection is closed: a code of RFC 6455, ours from 4400 on, and words for people."""

    code: int
    reason: str


SHUTDOWN = Ending(1001, "the server is shutting down")
FAILED = Ending(1011, "something went wrong here")
SLOW = Ending(1013, "too slow: too many events wait; come back with since=")
REVOKED = Ending(4401, "the API key is no longer valid here")
REMOVED = Ending(4404, "the instance was removed")
DISABLED = Ending(4409, "the websocket sink was disabled or removed")


class Push:
    """One event on its way to clients; each wire form is made once for all of them. `sink`: whose
    settings shape it. `again`: for clients that may have had it (a replay by hand, a test).
    """

    def __init__(
        self, event: StoredEvent, sink: SinkConfig, server_url: str, *, again: bool
    ) -> None:
        self.event, self.sink, self.again = event, sink, again
        self.key = key_of(event.name)
        self._server_url = server_url

    @cached_property
    def frame(self) -> bytes:
        """The text of a plain websocket message."""
        return frame(self.event, naming=self.sink.naming)

    @cached_property
    def packet(self) -> str:
        """An EVENT packet of Socket.IO: upstream's name and envelope, whatever the sink's naming.

        https://socket.io/docs/v4/socket-io-protocol/#sending-and-receiving-data
        """
        event, apikey = self.event, self.sink.shown_apikey
        body = envelope(event, naming="evolution", server_url=self._server_url, apikey=apikey)
        return f'2/{event.instance},["{event.name}",{body.decode()}]'


class Transport(Protocol):
    """How a client is written to."""

    async def write(self, pushes: Sequence[Push]) -> None:
        """Send these; return when the other side keeps up. Raises ConnectionError when it is
        gone.
        """


class Client:
    """`after`: the seq up to which it has everything. `events`: the keys it wants, None for all.
    `check`: asked now and then why it must end. `outlives_sink`: stays although no websocket sink
    is enabled. `key_id`: of the API key it came with.
    """

    def __init__(
        self,
        place: Place,
        transport: Transport,
        *,
        after: int,
        key_id: str,
        check: Callable[[], Ending | None],
        events: frozenset[str] | None = None,
        outlives_sink: bool = False,
    ) -> None:
        self.place, self.after, self.events = place, after, events
        self.key_id, self.check, self.outlives_sink = key_id, check, outlives_sink
        self.ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._waiting: deque[Push] = deque()
        self._bytes = 0
        self._news = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether a page more may wait for it."""
        few = len(self._waiting) + PAGE <= MOST_WAITING
        return not self._waiting or (few and self._bytes + PAGE_BYTES <= MOST_BYTES)

    def end(self, ending: Ending) -> None:
        """Have the connection closed; the first reason counts."""
        if not self.ending.done():
            self.ending.set_result(ending)

    def offer(self, push: Push) -> None:
        """Let an event wait for this client, unless it does not want it or had it. A client for
        which too much waits already is ended: it can come back and read on where it was.
        """
        if self.ending.done() or not self._wants(push):
            return
        size = len(push.event.data)
        if len(self._waiting) >= MOST_WAITING or (
            self._waiting and self._bytes + size > MOST_BYTES
        ):
            self._waiting.clear()
            self._bytes = 0
            self.end(SLOW)
            return
        self._waiting.append(push)
        self._bytes += size
        self._news.set()

    async def write(self, pushes: Sequence[Push]) -> int:
        """Send what is wanted of these, past the queue; gives how many."""
        wanted = [push for push in pushes if self._wants(push)]
        if wanted:
            await self._transport.write(wanted)
        return len(wanted)

    async def pump(self, count: Callable[[int], None]) -> None:
        """Send what waits, for ever; `count` hears how many went."""
        while True:
            await self._news.wait()
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            if not self._waiting:
                self._news.clear()
            self._bytes -= sum(len(push.event.data) for push in batch)
            await self._transport.write(batch)
            count(len(batch))

    def _wants(self, push: Push) -> bool:
        if not push.again and push.event.seq <= self.after:
            return False
        return self.events is None or push.key in self.events
