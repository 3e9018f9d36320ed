"""Live push: the connected clients of each instance, fed by reading the store behind its writers.

Replay and live are one path. For every instance with clients one stream reads the events by seq,
never beyond the point up to which everything is committed, so that nothing appears behind it; a
client that comes with an older position reads by itself until it meets the stream. So any process
serves any client, whichever took the event in: the websocket sink only says that there is news,
here at once, and to the other processes by a hint. Hints may be lost, hence a look every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway import log
from gateway.directory import Directory
from gateway.push_again import Again
from gateway.push_client import DISABLED, REMOVED, SHUTDOWN, Client, Ending, Place, Push
from gateway.push_hint import again_hint, news_hint, read_hint
from gateway.push_seats import Seats
from gateway.push_stream import Reader, Stream, pages, room
from gateway.routing import document, targets, wants
from gateway.store.base import Database, Topic
from gateway.store.history import History
from schemas.errors import StoreUnavailableError
from schemas.events import StoredEvent
from schemas.sink_config import WebsocketConfig

LOOK_EVERY = 1.0
CHECK_EVERY = 60.0
HINT_EVERY = 0.01  # news of one instance go to the other processes at most so often
CHECKED_AT_ONCE = 500

NEWS = """
SELECT tenant, instance, max(seq) FROM events WHERE seq > $1 AND seq <= $2
GROUP BY tenant, instance"""
SEQ = "SELECT seq FROM events WHERE id = $1 AND tenant = $2 AND instance = $3"


@dataclass(slots=True, frozen=True, kw_only=True)
class Told:
    """Who hears of what: `notify` is Store.notify, the others are for metrics."""

    notify: Callable[[Topic, str], Awaitable[None]]
    connections: Callable[[int], None]
    pushed: Callable[[int], None]


class Hub:
    """See the module. `most`: connections of this process. Run `tell`, `repeat` and `watch`
    beside it, and have `heard` called with what the store tells.
    """

    def __init__(
        self,
        history: History,
        database: Database,
        directory: Directory,
        told: Told,
        *,
        server_url: str,
        most: int,
    ) -> None:
        self._database, self._directory = database, directory
        self._told, self._server_url = told, server_url
        self._seats = Seats(most, told.connections)
        self._reader = Reader(history, database, self._pushes, told.pushed)
        self._streams: dict[Place, Stream] = {}
        self._untold: dict[Place, int] = {}
        self._tell_now = asyncio.Event()
        self._looked = 0
        self._again = Again(database, self._offer_page)
        directory.on_change(self._configured)

    def sinks(self, place: Place) -> tuple[WebsocketConfig, ...]:
        """The enabled websocket sinks of an instance."""
        found = self._directory.sinks_of(*place)
        return tuple(s for s in found if isinstance(s, WebsocketConfig) and s.enabled)

    async def position(self) -> int:
        """Where the stream of events is now: a client that starts here misses nothing that is
        committed from now on.
        """
        return await self._reader.reach(0, fresh=True)

    async def seq_of(self, place: Place, event_id: str) -> int | None:
        """The seq of an event of this instance."""
        rows = await self._database.fetch(SEQ, event_id, *place)
        return rows[0][0] if rows else None

    def seat(self, place: Place) -> AbstractContextManager[None]:
        """See Seats.one."""
        return self._seats.one(place, [sink.max_connections for sink in self.sinks(place)])

    async def serve(self, client: Client, position: int) -> Ending | None:
        """Feed a client until it must be closed; gives why, None when it is gone already.

        `position`: where the stream was when the client came. Cancel this when the client goes.
        """
        stream = self._join(client, position)
        feeding = asyncio.get_running_loop().create_task(self._reader.feed(stream, client))
        try:
            both: set[asyncio.Future[Any]] = {feeding, client.ending}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if client.ending.done():
                return client.ending.result()
            error = feeding.exception()
            if error is not None and not isinstance(error, ConnectionError):
                raise error
            return None
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            self._leave(stream, client)

    def _join(self, client: Client, position: int) -> Stream:
        stream = self._streams.get(client.place)
        if stream is None:
            stream = self._streams[client.place] = Stream(client.place, position)
            self._reader.follow(stream)
        stream.clients.add(client)
        self._reconsider(stream)
        if self._seats.closed:
            client.end(SHUTDOWN)
        return stream

    def _leave(self, stream: Stream, client: Client) -> None:
        stream.clients.discard(client)
        stream.live.discard(client)
        if not stream.clients:
            stream.stop()
            del self._streams[stream.place]

    async def publish(self, event: StoredEvent, again: bool) -> None:  # noqa: FBT001 - as sinks.base.Context has it
        """Have an event pushed, by every process with clients of its instance. `again`: beside the
        stream, because it had passed already. One that is not stored (a test) always goes so.
        """
        if again or not event.seq:
            await self._told.notify("events", again_hint(event))
            return
        place = (event.tenant, event.instance)
        stream = self._streams.get(place)
        if stream is not None:
            stream.wake(event.seq)
        self._untold[place] = max(self._untold.get(place, 0), event.seq)
        self._tell_now.set()

    async def tell(self) -> None:
        """Tell the other processes of news, for ever."""
        while True:
            await self._tell_now.wait()
            await asyncio.sleep(HINT_EVERY)
            self._tell_now.clear()
            untold, self._untold = self._untold, {}
            for place, seq in untold.items():
                await self._told.notify("events", news_hint(place, seq))

    def heard(self, topic: Topic, payload: str) -> None:
        """Hear a hint, our own included; see `Store.listen`."""
        if topic != "events":
            return
        hint = read_hint(payload)
        if hint is None:
            for each in self._streams.values():
                each.refresh()
            return
        stream = self._streams.get(hint.place)
        if stream is None:
            return
        if hint.seq is not None:
            stream.wake(hint.seq)
        elif hint.event_id is not None:
            self._again.ask(hint.place, hint.event_id)
        elif hint.event is not None:
            self._offer_again(stream, hint.event)

    async def repeat(self) -> None:
        """Push again what was replayed by hand, for ever."""
        await self._again.run()

    async def _offer_page(self, place: Place, events: Sequence[StoredEvent]) -> None:
        for page in pages(events):
            stream = self._streams.get(place)
            if stream is None:
                return
            for event in page:
                self._offer_again(stream, event)
            await room(stream.clients)

    def _offer_again(self, stream: Stream, event: StoredEvent) -> None:
        sinks = self.sinks(stream.place)
        if sinks:
            sink = next((s for s in sinks if wants(s, event.name)), sinks[0])
            push = Push(event, sink, self._server_url, again=True)
            for client in tuple(stream.clients):
                client.offer(push)

    def _pushes(self, place: Place, events: Sequence[StoredEvent]) -> list[Push] | None:
        """What the websocket sinks want of these; None when none is enabled."""
        sinks, instance = self.sinks(place), self._directory.instance(*place)
        if not sinks:
            return None
        skips = instance is not None and instance.skip_superseded
        found = [
            (event, targets(sinks, event.name, partial(document, event, event, event.data)))
            for event in events
            if not (skips and event.superseded)
        ]
        return [Push(e, takers[0], self._server_url, again=False) for e, takers in found if takers]

    async def watch(self) -> None:
        """Look for news whose hint was lost, and whether keys still open, for ever."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            looks += 1
            try:
                await self._look()
            except StoreUnavailableError as error:
                log.get().error("push.delayed", error=error.message)
            if looks * LOOK_EVERY >= CHECK_EVERY:
                looks = 0
                await self._check_all()

    async def _look(self) -> None:
        if not self._streams:
            self._looked = 0
            return
        horizon = await self.position()
        since = self._looked or min(s.position for s in self._streams.values())
        self._looked = horizon
        if horizon > since:
            for tenant, instance, seq in await self._database.fetch(NEWS, since, horizon):
                stream = self._streams.get((tenant, instance))
                if stream is not None:
                    stream.wake(seq)

    async def _check_all(self) -> None:
        clients = [client for s in self._streams.values() for client in s.clients]
        for number, client in enumerate(clients, 1):
            _ask(client)
            if number % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _configured(self, kind: str, ident: str) -> None:
        """A key may be revoked, an instance removed, a sink switched on or off."""
        for stream in tuple(self._streams.values()) if kind in {"instance", "sink"} else ():
            self._reconsider(stream)
        for stream in self._streams.values() if kind == "api_key" else ():
            for client in stream.clients:
                if client.key_id == ident:
                    _ask(client)

    def _reconsider(self, stream: Stream) -> None:
        """Whether a stream flows, as it is configured now."""
        if self._directory.instance(*stream.place) is None:
            _end(stream.clients, REMOVED)
        elif self.sinks(stream.place):
            stream.resume()
        else:
            stream.pause()
            _end([client for client in stream.clients if not client.outlives_sink], DISABLED)

    async def close(self) -> None:
        """End every client and take no more."""
        self._seats.closed = True
        for stream in self._streams.values():
            _end(stream.clients, SHUTDOWN)


def _ask(client: Client) -> None:
    ending = client.check()
    if ending is not None:
        client.end(ending)


def _end(clients: Iterable[Client], ending: Ending) -> None:
    for client in clients:
        client.end(ending)
