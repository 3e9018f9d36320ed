"""Sending what was committed: lanes, claims, settled results, retries, dead letters.

The process that stored a delivery sends it from memory at once. Everything else is claimed from the
store in batches: retries that are due, the backlog of a lane that was full, the leases of a process
that died. Results are settled in batches too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gateway import log
from gateway.directory import Directory
from gateway.lane import Clocks, Lane
from gateway.retry import next_delay
from gateway.store.base import EventLog, Leased, Settlement
from schemas.delivery import AttemptRecord, Delivered, Outcome, Rejected, Retry
from schemas.errors import StoreUnavailableError
from schemas.sink_config import SinkConfig
from sinks import open_sink
from sinks.base import Context, Sink

IDLE_POLL = 1.0  # seconds; wake-ups come sooner, this is for what a lost one would miss
LEAST_PAUSE = 0.01  # between two rounds of claiming
MOST_IN_MEMORY = 8192  # deliveries of all lanes
LONGEST_SEND = 130.0  # seconds a retired lane may take to finish


@dataclass(slots=True, frozen=True, kw_only=True)
class Options:
    """What the dispatcher is told. `schedule`: seconds between tries. `random`: in [0, 1)."""

    schedule: Sequence[float]
    lease_seconds: float
    random: Callable[[], float]
    disable: Callable[[str, str], Awaitable[None]]
    recovered: Callable[[str], Awaitable[None]]
    observe: Callable[[str, str, float, float], None]
    crash: Callable[[str], None]


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
        self._retired: set[asyncio.Task[None]] = set()
        self._results: list[Settlement] = []
        self._returned: list[str] = []
        self._settle_now = asyncio.Event()
        self._claim_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        directory.on_change(self._configured)

    def start(self) -> None:
        """Begin to settle, claim and keep the lease alive."""
        loops = (self._settle_forever, self._claim_forever, self._beat_forever)
        self._tasks = [asyncio.get_running_loop().create_task(run()) for run in loops]

    async def stop(self, within: float) -> None:
        """Claim nothing more, finish what is in flight `within` seconds, settle, give back."""
        self._stopping = True
        self._claim_now.set()
        lanes, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.close(within) for lane in lanes), *self._retired)
        for task in self._tasks[1:]:
            task.cancel()
        self._settle_now.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
    def load(self) -> int:
        """Deliveries in memory."""
        return sum(lane.load for lane in self._lanes.values())

    def held(self) -> frozenset[str]:
        """Sinks whose deliveries wait for a reason: disabled, an open breaker, Retry-After."""
        disabled = {s.id for s in self._directory.sinks() if not s.enabled}
        return frozenset(disabled | {i for i, lane in self._lanes.items() if lane.wait() > 0})

    def takes(self, config: SinkConfig) -> bool:
        """Whether a delivery to this sink should be born with this process's lease."""
        if self._stopping or config.ordered or not config.enabled:
            return False
        lane = self._lanes.get(config.id) or self._open(config)
        return lane is not None and lane.room() > 0

    def offer(self, leased: Iterable[Leased]) -> None:
        """Send deliveries that were born leased."""
        self._options.crash("before_offer")
        for item in leased:
            lane = self._lane_of(item.sink_id)
            if lane is None:
                self._returned.append(item.id)
                self._settle_now.set()
            else:
                lane.offer((item,))

    def settle(self, lane: Lane, leased: Leased, outcome: Outcome, at: int, seconds: float) -> None:
        """See lane.Results."""
        self._options.crash("after_send")
        item = self._settlement(lane, leased, outcome, at, seconds)
        self._results.append(item)
        self._settle_now.set()
        lag = max(0.0, self._clocks.wall() / 1e6 - leased.event.received_at.timestamp())
        self._options.observe(lane.config.kind, _word(outcome), seconds, lag)
        if isinstance(outcome, Rejected) and outcome.disable:
            self._later(self._options.disable(lane.config.id, outcome.reason))
        if not isinstance(outcome, Delivered):
            log.get().warning(
                "delivery.attempted",
                delivery_id=leased.id,
                event_id=leased.event.id,
                sink_id=lane.config.id,
                kind=lane.config.kind,
                attempt=leased.attempts + 1,
                outcome=item.state,
                reason=outcome.reason,
                next_in=round(item.delay, 1) if item.state == "pending" else None,
            )

    def give_back(self, lane: Lane, leased: Iterable[Leased]) -> None:
        """See lane.Results."""
        self._returned.extend(item.id for item in leased)
        self._settle_now.set()

    def has_room(self, lane: Lane) -> None:
        """See lane.Results."""
        self._claim_now.set()

    def recovered(self, lane: Lane) -> None:
        """See lane.Results: what was put off while the sink was down need not wait any longer."""
        self._later(self._options.recovered(lane.config.id))

    def _lane_of(self, sink_id: str) -> Lane | None:
        lane = self._lanes.get(sink_id)
        if lane is None:
            config = self._directory.sink(sink_id)
            lane = self._open(config) if config is not None and config.enabled else None
        return lane

    def _open(self, config: SinkConfig) -> Lane | None:
        try:
            sink: Sink = open_sink(config, self._context)
        except Exception as error:  # noqa: BLE001 - one sink that cannot open must not stop the rest
            log.get().error("sink.unusable", sink_id=config.id, kind=config.kind, error=str(error))
            return None
        lane = self._lanes[config.id] = Lane(config, sink, self, self._clocks)
        return lane

    def _configured(self, kind: str, ident: str) -> None:
        """A changed sink gets a new lane; the old one finishes what it is sending."""
        if kind != "sink":
            return
        lane = self._lanes.get(ident)
        if lane is not None and lane.config != self._directory.sink(ident):
            del self._lanes[ident]
            self._later(lane.close(LONGEST_SEND))
        self._claim_now.set()

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    def _settlement(
        self, lane: Lane, leased: Leased, outcome: Outcome, at: int, seconds: float
    ) -> Settlement:
        number, item = (
            leased.attempts + 1,
            Settlement(id=leased.id, token=leased.token, state="pending"),
        )
        if isinstance(outcome, Delivered):
            item.state = "succeeded"
        elif isinstance(outcome, Rejected):
            # A sink that wants nothing any more is switched off; what it did not take is held.
            item.state, item.reason = ("pending" if outcome.disable else "dead"), outcome.reason
        else:
            self._put_off(item, lane.config, outcome, number)
        exchange = outcome.exchange
        item.attempt = AttemptRecord(
            number=number,
            at=at,
            duration_ms=round(seconds * 1000, 3),
            outcome=_word(outcome),
            request_headers=exchange.request_headers if exchange else {},
            status=exchange.status if exchange else None,
            response_headers=exchange.response_headers if exchange else {},
            response_body=exchange.response_body if exchange else b"",
            error=None if isinstance(outcome, Delivered) else outcome.reason,
        )
        return item

    def _put_off(self, item: Settlement, config: SinkConfig, outcome: Retry, number: int) -> None:
        schedule = self._options.schedule if config.retry is None else config.retry
        item.reason, item.counts = outcome.reason, outcome.counts
        if not outcome.counts:
            item.delay = 5.0 + 5.0 * self._options.random()
            return
        delay = next_delay(schedule, number, self._options.random())
        if delay is None:
            item.state, item.reason = "dead", f"gave up after {number} attempts: {outcome.reason}"
        else:
            item.delay = max(delay, outcome.after or 0.0)

    async def _settle_forever(self) -> None:
        """Write what gathered while the last batch was being written; results outlive a dead
        store, they are written when it is back (or their leases run out elsewhere).
        """
        while not (self._stopping and not self._results and not self._returned and self._idle()):
            await self._settle_now.wait()
            self._settle_now.clear()
            results, self._results = self._results, []
            returned, self._returned = self._returned, []
            try:
                await self._write(results, returned)
            except StoreUnavailableError as error:
                log.get().error("settle.delayed", error=error.message, count=len(results))
                if self._stopping:
                    return
                self._results[:0], self._returned[:0] = results, returned
                await asyncio.sleep(0.5)
                self._settle_now.set()

    def _idle(self) -> bool:
        return not self._lanes

    async def _write(self, results: list[Settlement], returned: list[str]) -> None:
        self._options.crash("before_settle")
        if results:
            lost = await self._log.settle(results)
            if lost:
                log.get().warning("delivery.lease_lost", count=len(lost))
        if returned:
            await self._log.release(returned)
        self._options.crash("after_settle")
        if returned or any(r.delay < IDLE_POLL or r.state != "pending" for r in results):
            self._claim_if_wanted(results)

    def _claim_if_wanted(self, results: list[Settlement]) -> None:
        """Retries that are due soon, and ordered sinks whose head went, want a claim now."""
        if any(r.state == "pending" for r in results) or any(
            lane.config.ordered for lane in self._lanes.values()
        ):
            self._claim_now.set()

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
        wants, ordered, soonest = {}, set(), IDLE_POLL
        left = MOST_IN_MEMORY - self.load
        for sink_id, seconds in (await self._log.due()).items():
            config = self._directory.sink(sink_id)
            if config is None or not config.enabled:
                continue
            lane = self._lane_of(sink_id)
            if lane is None:
                continue
            wait = max(seconds, lane.wait())
            room = min(lane.room(), left)
            if wait > 0:
                soonest = min(soonest, wait)
            elif room > 0:
                wants[sink_id], left = room, left - room
                if config.ordered:
                    ordered.add(sink_id)
        if wants and not self._stopping:
            claimed = await self._log.claim(wants, ordered=frozenset(ordered))
            self._options.crash("after_claim")
            self.offer(claimed)
            if claimed:
                self._claim_now.set()
        return soonest

    async def _beat_forever(self) -> None:
        while True:
            try:
                freed = await self._log.heartbeat()
                if freed:
                    log.get().warning("leases.freed", freed=freed)
                    self._claim_now.set()
            except StoreUnavailableError as error:
                log.get().error("heartbeat.missed", error=error.message)
            await asyncio.sleep(self._options.lease_seconds / 3)


def _word(outcome: Outcome) -> str:
    return {Delivered: "succeeded", Retry: "failed", Rejected: "rejected"}[type(outcome)]
