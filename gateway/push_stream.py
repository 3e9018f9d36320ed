"""Reading an instance's events for its clients, in order and without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway import log
from gateway.background import forever
from gateway.push_client import PAGE, PAGE_BYTES, Client, Place, Push
from gateway.store.base import Database
from gateway.store.history import History
from schemas.errors import StoreUnavailableError
from schemas.events import StoredEvent

LEAST_LAG, LONGEST_LAG = 0.005, 0.25  # pauses while a slower transaction is still under way
STORE_PAUSE = 0.5
PATIENCE, GLANCE = (
    1.0,
    0.005,
)  # seconds that the others wait for a client to keep up, and between looks

Choose = Callable[[Place, Sequence[StoredEvent]], list[Push] | None]


@dataclass(eq=False, slots=True)
class Stream:
    """One instance with clients. `position`: the seq up to which its `live` clients were given
    everything; `target`: up to which there is news. It stands still while no websocket sink is
    enabled, and goes on from there.
    """

    place: Place
    position: int
    target: int = 0
    clients: set[Client] = field(default_factory=set)
    live: set[Client] = field(default_factory=set)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    flows: asyncio.Event = field(default_factory=asyncio.Event)
    is_stale: bool = True  # the known horizon may be older than what it waits for
    task: asyncio.Task[None] | None = None

    def wake(self, seq: int) -> None:
        """There are events up to `seq`."""
        self.target = max(self.target, seq)
        self.news.set()

    def refresh(self) -> None:
        """There may be events; nobody knows how many."""
        self.is_stale = True
        self.news.set()

    def resume(self) -> None:
        """Flow, if it does not."""
        if not self.flows.is_set():
            self.flows.set()
            self.refresh()

    def pause(self) -> None:
        """Stand still."""
        self.flows.clear()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self.task is not None:
            self.task.cancel()


class Reader:
    """Feeds streams and clients. `choose`: what of some events is pushed, None to stand still."""

    def __init__(
        self,
        history: History,
        database: Database,
        choose: Choose,
        count: Callable[[int], None],
    ) -> None:
        self._history, self._database = history, database
        self._choose, self._count = choose, count
        self._horizon = 0
        self._asking = asyncio.Lock()

    async def reach(self, target: int, *, fresh: bool = False) -> int:
        """The seq up to which everything is committed: what is known of it when that is `target` or
        more, else asked anew. It never goes back.
        """
        if fresh or self._horizon < target:
            async with self._asking:  # whoever waited here may know enough by then
                if fresh or self._horizon < target:
                    self._horizon = max(self._horizon, await self._database.horizon())
        return self._horizon

    def follow(self, stream: Stream) -> None:
        """Begin to read for a stream."""
        following = forever("push.stream", partial(self._follow, stream))
        stream.task = asyncio.get_running_loop().create_task(following)

    async def feed(self, stream: Stream, client: Client) -> None:
        """Bring a client up to the stream, then send it what waits for it, for ever.

        Raises ConnectionError when it is gone.
        """
        while client.after < stream.position:
            await stream.flows.wait()
            await _patiently(lambda: self._catch_up(stream, client))
        stream.live.add(client)  # nothing was awaited since it was seen to be level
        await client.pump(self._count)

    async def _catch_up(self, stream: Stream, client: Client) -> None:
        upto = stream.position
        events = await self._tail(stream, client.after, upto)
        pushes = self._choose(stream.place, events)
        if pushes is not None:
            self._count(await client.write(pushes))
            client.after = events[-1].seq if len(events) == PAGE else upto

    async def _follow(self, stream: Stream) -> None:
        while True:
            await stream.news.wait()
            stream.news.clear()
            await _patiently(lambda: self._advance(stream))

    async def _advance(self, stream: Stream) -> None:
        """Give live clients everything up to the target that no transaction can still precede."""
        lag = LEAST_LAG
        while True:
            await stream.flows.wait()
            fresh, stream.is_stale = stream.is_stale, False
            horizon = await self.reach(stream.target, fresh=fresh)
            if horizon > stream.position:
                await self._pass_on(stream, horizon)
            elif stream.target > horizon:
                await asyncio.sleep(lag)
                lag = min(2 * lag, LONGEST_LAG)
            else:
                return

    async def _pass_on(self, stream: Stream, horizon: int) -> None:
        events = await self._tail(stream, stream.position, horizon)
        for page in pages(events):
            pushes = self._choose(stream.place, page)
            if pushes is None:
                stream.pause()
                return
            # No await until the position is set: who joins finds all of these given, or none.
            for client in tuple(stream.live):
                for push in pushes:
                    client.offer(push)
            stream.position = page[-1].seq if page else horizon
            await room(stream.live)
        if len(events) < PAGE:
            stream.position = horizon

    async def _tail(self, stream: Stream, after: int, upto: int) -> list[StoredEvent]:
        return await self._history.tail(*stream.place, after, PAGE, below=upto + 1)


async def room(clients: Collection[Client]) -> None:
    """Return when a page more finds room with each of these clients; or when it was waited long
    enough, and whoever still has none is too slow.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + PATIENCE
    while clock() < until and not all(client.has_room for client in clients):  # noqa: ASYNC110 - many clients, and only for a moment
        await asyncio.sleep(GLANCE)


def pages(events: Sequence[StoredEvent]) -> Iterator[Sequence[StoredEvent]]:
    """Parts of what was read that may be offered at once, however large events are."""
    start, size = 0, 0
    for number, event in enumerate(events):
        size += len(event.data)
        if size > PAGE_BYTES and number > start:
            yield events[start:number]
            start, size = number, len(event.data)
    yield events[start:]


async def _patiently(work: Callable[[], Awaitable[None]]) -> None:
    """Do it, again and again while the store does not answer."""
    while True:
        try:
            return await work()
        except StoreUnavailableError as error:
            log.get().error("push.delayed", error=error.message)
            await asyncio.sleep(STORE_PAUSE)
