"""Sending what was committed: lanes, claims, settled results, retries, dead letters.

The process that stored a delivery sends it from memory at once. Everything else is claimed from the
store in batches: retries that are due, the backlog of a lane that was full, the leases of a process
that died. Results are settled in batches too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import log
from gateway.background import Errands, forever
from gateway.directory import Directory
from gateway.journal import Journal
from gateway.lane import LONGEST_SEND, Clocks, Lane
from gateway.settling import Settler, log_attempt, settlement, word
from gateway.store.base import EventLog, Lease, Leased
from gateway.tracing import Tracing
from schemas.delivery import Delivered, Outcome, Rejected
from schemas.errors import StoreUnavailableError
from schemas.sink_config import SinkConfig
from sinks import open_sink
from sinks.base import Context, Sink

IDLE_POLL = 1.0  # seconds; wake-ups come sooner, this is for what a lost one would miss
LEAST_PAUSE = 0.01  # between two rounds of claiming
MOST_IN_MEMORY = 8192  # deliveries of all lanes
FAIR_SHARE = 16  # of these a lane may have in any case, however much the others hold
SETTLE_SECONDS = 3.0  # at the end, for the last results
STRAY_SECONDS = 30.0  # after which a lease that nobody in this process knows of is given back
LOOK_AGAIN = 30.0  # seconds until a sink that could not be opened, or found, is looked at again


class Circuits(Protocol):
    """What all processes know of the sinks' circuits; see `gateway.circuits`."""

    def begun(self, lane: Lane) -> None:
        """A lane began: it learns what the others found out."""

    def opened(self, lane: Lane) -> None:
        """This process found a circuit open, or still open."""

    def closed(self, lane: Lane) -> None:
        """This process found that a sink works again."""

    def held(self, lane: Lane, seconds: float) -> None:
        """This process was told to send nothing for so long."""


def _unheard(_count: int) -> None:
    """For whoever is not interested."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Options:
    """What the dispatcher is told. `schedule`: seconds between tries. `random`: in [0, 1).

    `disable(sink, reason)`: a sink wants nothing any more. `recovered(sink)`: it works again.
    `gone(sink)`: deliveries wait for a sink that is not configured. `leased_for(seconds)`: the
    leases this node took longer ago. `lost(n)`: so many results came too late.
    `died(kind)`: a delivery was given up.
    """

    schedule: Sequence[float]
    lease_seconds: float
    random: Callable[[], float]
    disable: Callable[[str, str], Coroutine[Any, Any, None]]
    recovered: Callable[[str], Coroutine[Any, Any, None]]
    gone: Callable[[str], Coroutine[Any, Any, None]]
    leased_for: Callable[[float], Awaitable[Sequence[Lease]]]
    processes: Callable[[], Awaitable[int]]
    circuits: Circuits
    observe: Callable[[str, str, float, float], None]
    lost: Callable[[int], None] = _unheard
    crash: Callable[[str], None]
    died: Callable[[str], None] = lambda _kind: None
    tracing: Tracing | None = None
    journal: Journal | None = None


class Dispatcher:
    """Runs the lanes of this process. `start`, then `stop`."""

    def __init__(
        self,
        event_log: EventLog,
        directory: Directory,
        context: Context,
        clocks: Clocks,
        options: Options,
    ) -> None:
        self._log, self._directory, self._context = event_log, directory, context
        self._clocks, self._options = clocks, options
        self._lanes: dict[str, Lane] = {}
        self._retired: set[Lane] = set()
        self._strays: set[Lease] = set()  # as it looked the last time
        self._passed_over: dict[str, float] = {}  # sinks not to look at until then
        self._settler = Settler(event_log, self.wake, options.lost, options.crash)
        self._errands = Errands()
        self._claim_now = asyncio.Event()
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self._processes = 1
        self._logger = log.get()
        directory.on_change(self._configured)

    def start(self) -> None:
        """Begin to settle, claim and keep the lease alive."""
        loop = asyncio.get_running_loop()
        for name, work in (
            ("settle", self._settler.run),
            ("claim", self._claim_forever),
            ("beat", self._beat_forever),
        ):
            self._loops[name] = loop.create_task(forever(f"dispatch.{name}", work))

    async def stop(self, within: float) -> None:
        """Claim nothing more, finish what is in flight `within` seconds, settle, give back."""
        self._stopping = True
        lanes, self._lanes = [*self._lanes.values(), *self._retired], {}
        await asyncio.gather(*(lane.close(within) for lane in lanes), return_exceptions=True)
        settling = self._loops.pop("settle", None)
        for task in self._loops.values():
            task.cancel()
        await asyncio.gather(*self._loops.values(), return_exceptions=True)
        self._settler.end()
        if settling is not None:
            await asyncio.wait({settling}, timeout=SETTLE_SECONDS)
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
        await self._errands.close()
        if self._options.journal is not None:
            self._options.journal.close()

    def wake(self) -> None:
        """Something may be due."""
        self._claim_now.set()

    def lane(self, sink_id: str) -> Lane | None:
        """The lane of a sink, when it has one now."""
        return self._lanes.get(sink_id)

    @property
    def lanes(self) -> Iterable[Lane]:
        """Every lane of this process."""
        return self._lanes.values()

    async def due(self) -> dict[str, float]:
        """See EventLog.due."""
        return await self._log.due()

    @property
    def tracing(self) -> Tracing | None:
        """What the tries are told to."""
        return self._options.tracing

    @property
    def load(self) -> int:
        """Deliveries in memory."""
        return sum(lane.load for lane in self._lanes.values())

    def held(self) -> frozenset[str]:
        """Sinks whose deliveries wait for a reason: disabled, unusable, an open breaker,
        Retry-After.
        """
        now = self._clocks.monotonic()
        self._passed_over = {i: until for i, until in self._passed_over.items() if until > now}
        disabled = {s.id for s in self._directory.sinks() if not s.enabled}
        waiting = {i for i, lane in self._lanes.items() if lane.wait() > 0}
        return frozenset(disabled | waiting | self._passed_over.keys())

    def takes(self, config: SinkConfig) -> bool:
        """Whether a delivery to this sink should be born with this process's lease."""
        if self._stopping or config.ordered or not config.enabled:
            return False
        lane = self._lane_of(config.id)
        return lane is not None and lane.room() > 0

    def offer(self, leased: Iterable[Leased]) -> None:
        """Send deliveries that this process holds the lease of."""
        self._options.crash("before_offer")
        for item in leased:
            lane = None if self._stopping else self._lane_of(item.sink_id)
            if lane is None:
                self._settler.give_back((item.lease,))
            else:
                lane.offer((item,))

    def disown(self, leases: Iterable[Lease]) -> None:
        """Give back leases that this process may hold without having the deliveries."""
        self._settler.give_back(leases)

    def waits(self, sink_id: str) -> None:
        """A delivery to this sink was stored without a lease: claim it as soon as there is room."""
        lane, config = self._lanes.get(sink_id), self._directory.sink(sink_id)
        if lane is not None and lane.room() <= 0:
            lane.wanting = True
        elif config is not None and config.enabled:
            self.wake()

    def settle(self, lane: Lane, leased: Leased, outcome: Outcome, at: int, seconds: float) -> None:
        """See lane.Results."""
        self._options.crash("after_send")
        config = lane.config
        schedule = self._options.schedule if config.retry is None else config.retry
        item = settlement(
            leased, outcome, schedule, at=at, seconds=seconds, random=self._options.random()
        )
        self._settler.put(item, ordered=config.ordered)
        lag = max(0.0, self._clocks.wall() / 1e6 - leased.event.received_at.timestamp())
        self._options.observe(config.kind, word(outcome), seconds, lag)
        log_attempt(self._logger, config, leased, item, outcome)
        if isinstance(outcome, Delivered):
            return
        if item.state == "dead":
            self._options.died(config.kind)
        # What an earlier configuration was told says nothing of the present one.
        if isinstance(outcome, Rejected) and outcome.disable and self.lane(config.id) is lane:
            self._errands.run("sink.disable", self._options.disable(config.id, outcome.reason))

    def give_back(self, lane: Lane, leased: Iterable[Leased]) -> None:
        """See lane.Results."""
        self._settler.give_back([item.lease for item in leased])

    def has_room(self, lane: Lane) -> None:
        """See lane.Results."""
        self.wake()

    def recovered(self, lane: Lane) -> None:
        """See lane.Results: what was put off while the sink was down need not wait any longer."""
        self._options.circuits.closed(lane)
        self._errands.run("sink.recovered", self._options.recovered(lane.config.id))

    def opened(self, lane: Lane) -> None:
        """See lane.Results. A lane that was replaced says nothing of the present one."""
        if self.lane(lane.config.id) is lane:
            self._options.circuits.opened(lane)

    def told_to_wait(self, lane: Lane, seconds: float) -> None:
        """See lane.Results."""
        if self.lane(lane.config.id) is lane:
            self._options.circuits.held(lane, seconds)

    def _lane_of(self, sink_id: str) -> Lane | None:
        lane = self._lanes.get(sink_id)
        if lane is None and not self._is_passed_over(sink_id):
            config = self._directory.sink(sink_id)
            lane = self._open(config) if config is not None and config.enabled else None
        return lane

    def _open(self, config: SinkConfig) -> Lane | None:
        try:
            sink: Sink = open_sink(config, self._context)
        except Exception as error:  # noqa: BLE001 - one sink that cannot open must not stop the rest
            log.get().error("sink.unusable", sink_id=config.id, kind=config.kind, error=str(error))
            self._pass_over(config.id)
            return None
        crash, journal = self._options.crash, self._options.journal
        lane = Lane(config, sink, self, self._clocks, crash, tracing=self.tracing, journal=journal)
        self._lanes[config.id] = lane
        lane.share(self._processes)
        self._options.circuits.begun(lane)
        return lane

    def _pass_over(self, sink_id: str) -> None:
        self._passed_over[sink_id] = self._clocks.monotonic() + LOOK_AGAIN

    def _is_passed_over(self, sink_id: str) -> bool:
        until = self._passed_over.get(sink_id)
        if until is not None and until <= self._clocks.monotonic():
            del self._passed_over[sink_id]
            return False
        return until is not None

    def _configured(self, kind: str, ident: str) -> None:
        """A changed sink gets a new lane; the old one finishes what it is sending."""
        if kind != "sink":
            return
        config, lane = self._directory.sink(ident), self._lanes.get(ident)
        if config is not None:
            self._passed_over.pop(ident, None)
        if lane is not None and lane.config != config:
            del self._lanes[ident]
            self._retired.add(lane)
            self._errands.run("lane.close", self._retire(lane))
        self.wake()

    async def _retire(self, lane: Lane) -> None:
        try:
            await lane.close(LONGEST_SEND)
        finally:
            self._retired.discard(lane)

    async def _claim_forever(self) -> None:
        pause = IDLE_POLL
        while not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._claim_now.wait(), pause)
            self._claim_now.clear()
            try:
                pause = min(IDLE_POLL, await self._claim())
            except StoreUnavailableError as error:
                log.get().error("claim.delayed", error=error.message)
                pause = IDLE_POLL
            await asyncio.sleep(LEAST_PAUSE)

    async def _claim(self) -> float:
        """One round; gives the seconds until the next is wanted."""
        wants: dict[str, int] = {}
        soonest, left = IDLE_POLL, MOST_IN_MEMORY - self.load
        for sink_id, seconds in (await self._log.due()).items():
            lane = self._lane_for_due(sink_id)
            if lane is None:
                continue
            wait = max(seconds, lane.wait())
            room = min(lane.room(), max(left, FAIR_SHARE))
            if wait > 0:
                soonest = min(soonest, wait)
            elif room > 0:
                wants[sink_id], left = room, left - room
            else:
                lane.wanting = True
        if wants and not self._stopping:
            await self._claim_these(wants)
        return soonest

    def _lane_for_due(self, sink_id: str) -> Lane | None:
        """The lane of a sink that deliveries wait for; None while they cannot be sent."""
        if self._directory.sink(sink_id) is None and not self._is_passed_over(sink_id):
            self._pass_over(sink_id)
            self._errands.run("sink.gone", self._options.gone(sink_id))
        return self._lane_of(sink_id)

    async def _claim_these(self, wants: dict[str, int]) -> None:
        ordered = frozenset(i for i in wants if (c := self._directory.sink(i)) and c.ordered)
        self._options.crash("before_claim")
        claimed = await self._log.claim(wants, ordered=ordered)
        self._options.crash("after_claim")
        self.offer(claimed)
        if claimed:
            self.wake()

    async def _beat_forever(self) -> None:
        while True:
            try:
                freed = await self._log.heartbeat()
                if freed:
                    self._options.crash("after_free")
                    log.get().warning("leases.freed", freed=freed)
                    self.wake()
                await self._share_rates()
                await self._return_strays()
            except StoreUnavailableError as error:
                log.get().error("heartbeat.missed", error=error.message)
            await asyncio.sleep(self._options.lease_seconds / 3)

    async def _share_rates(self) -> None:
        self._processes = await self._options.processes()
        for lane in self._lanes.values():
            lane.share(self._processes)

    async def _return_strays(self) -> None:
        """Give back leases that this process took without learning of it, as when the connection
        broke between a commit and its answer: nobody else may take them while we live.
        """
        known = self._known()
        leased = await self._options.leased_for(STRAY_SECONDS)
        known |= self._known()
        strays = {lease for lease in leased if lease[0] not in known}
        # Seen twice: one that was leased a moment ago, and is on its way to us, looks old when
        # somebody sets the clock just then.
        lost, self._strays = strays & self._strays, strays
        if lost and not self._stopping:  # then, lanes that are being closed are known to nobody
            log.get().warning("leases.strayed", count=len(lost))
            self._settler.give_back(lost)

    def _known(self) -> set[str]:
        lanes = (*self._lanes.values(), *self._retired)
        return self._settler.ids().union(*(lane.ids() for lane in lanes))
