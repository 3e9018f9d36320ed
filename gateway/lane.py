"""The lane of one sink: what this process is sending to it, bounded, so that a slow one costs the
others nothing.

Deliveries wait in memory only up to `bound`; the rest stays in the store until there is room. A
lane that may not send now (open breaker, Retry-After) gives what it holds back to the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from gateway import log
from gateway.breaker import Breaker
from gateway.crash import nowhere
from gateway.journal import Journal
from gateway.pace import Pace
from gateway.store.base import Leased
from gateway.tracing import Span, Tracing, continued
from schemas.delivery import Delivered, Message, Outcome, Rejected, Retry
from schemas.sink_config import SinkConfig
from sinks.base import Sink

LEAST_BOUND, LARGEST_BOUND = 64, 2048
SHORT_HOLD = 2.0  # seconds a lane may hold its deliveries in memory while it may not send
GONE_HOLD = 30.0  # seconds in which a sink that wants nothing any more is being switched off
LONGEST_SEND = 150.0  # seconds; a sink's own deadline is shorter
CLOSE_SECONDS = 3.0  # for a sink to let go


class Results(Protocol):
    """Who takes the outcomes of a lane."""

    def settle(self, lane: Lane, leased: Leased, outcome: Outcome, at: int, seconds: float) -> None:
        """Take one outcome; `at` in microseconds, `seconds` the try took."""

    def give_back(self, lane: Lane, leased: Iterable[Leased]) -> None:
        """Take unsent deliveries back to the store."""

    def has_room(self, lane: Lane) -> None:
        """Hear that a lane that had turned something away can take more."""

    def recovered(self, lane: Lane) -> None:
        """Hear that the sink works again after its circuit was open."""

    def opened(self, lane: Lane) -> None:
        """Hear that the circuit opened, or opened again."""

    def told_to_wait(self, lane: Lane, seconds: float) -> None:
        """Hear that the sink wants nothing for so long (Retry-After)."""


@dataclass(slots=True, frozen=True)
class Clocks:
    """Time as the lanes see it: wall in microseconds, monotonic in seconds."""

    wall: Callable[[], int]
    monotonic: Callable[[], float]


class Lane:
    """See the module. One per sink and configuration; `close` ends it. `wanting`: deliveries wait
    in the store because there was no room.
    """

    def __init__(
        self,
        config: SinkConfig,
        sink: Sink,
        results: Results,
        clocks: Clocks,
        crash: Callable[[str], None] = nowhere,
        *,
        tracing: Tracing | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.config, self.sink = config, sink
        self.breaker = Breaker()
        self.held_until = 0.0
        self.last_error: str | None = None
        self._results, self._clocks, self._crash = results, clocks, crash
        self._tracing, self._journal = tracing, journal or Journal()
        self._queue: deque[Leased] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._sending: set[str] = set()
        self._closing = False
        self._ended = asyncio.Event()
        self.wanting = False
        self._pace = Pace(config.rate_limit) if config.rate_limit else None
        wanted = 8 * sink.parallel * sink.batch_size
        self.bound = min(max(wanted, LEAST_BOUND), LARGEST_BOUND)

    @property
    def load(self) -> int:
        """Deliveries in memory, waiting or being sent."""
        return len(self._queue) + len(self._sending)

    @property
    def is_busy(self) -> bool:
        """Whether more is in memory than is sent at once."""
        return self.load > self.sink.parallel * self.sink.batch_size

    def ids(self) -> set[str]:
        """The deliveries in memory."""
        return {leased.id for leased in self._queue} | self._sending

    def wait(self) -> float:
        """Seconds until this lane may send at all; 0 when it may now."""
        now = self._clocks.monotonic()
        return max(self.breaker.wait(now), self.held_until - now, 0.0)

    def room(self) -> int:
        """How many more deliveries it would take now."""
        if self._closing or not self.config.enabled or self.wait() > 0:
            return 0
        allowance = self.breaker.allowance
        return max(0, (self.bound if allowance is None else allowance) - self.load)

    def offer(self, items: Iterable[Leased]) -> None:
        """Take deliveries this node holds the lease of, and send them as soon as may be."""
        self._queue.extend(items)
        if self._closing or self.wait() > SHORT_HOLD or self.breaker.state == "open":
            self._return_queue()  # no worker would start, and nobody could wait for one
        else:
            self._start()

    def hold(self, seconds: float) -> None:
        """Send nothing for so long (Retry-After)."""
        self.held_until = max(self.held_until, self._clocks.monotonic() + seconds)
        if seconds > SHORT_HOLD:
            self._return_queue()

    def adopt(self, seconds: float, reopens: int, failing_for: float | None) -> None:
        """Take the circuit for open, as another process found it; no probe for so many seconds."""
        now = self._clocks.monotonic()
        since = None if failing_for is None else now - failing_for
        self.breaker.adopt(until=now + seconds, reopens=reopens, failing_since=since)
        self._return_queue()

    def circuit_closed(self) -> None:
        """Take the circuit for closed: another process found that the sink works."""
        if self.breaker.state != "closed":
            self.breaker.reset()
            self._results.has_room(self)

    def failing_for(self) -> float | None:
        """Seconds since the first failure after which nothing succeeded, None without one."""
        since = self.breaker.failing_since
        return None if since is None else self._clocks.monotonic() - since

    def share(self, processes: int) -> None:
        """Keep to this process's part of the rate; the limit is that of all together."""
        if self._pace is not None and self.config.rate_limit:
            self._pace.rate = self.config.rate_limit / max(1, processes)

    async def close(self, within: float) -> None:
        """Start nothing more, give back what waits, allow `within` seconds to what is in flight,
        close the sink. May be called again, to hurry.
        """
        self._closing = True
        self._ended.set()
        self._return_queue()
        if self._workers:
            _, late = await asyncio.wait(set(self._workers), timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            await asyncio.wait_for(self.sink.close(), CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - a sink that cannot let go must not hold us up
            log.get().warning("sink.unclosed", sink_id=self.config.id, error=str(error))

    def _return_queue(self) -> None:
        if self._queue:
            self._results.give_back(self, list(self._queue))
            self._queue.clear()

    def _start(self) -> None:
        """As many workers as there are batches, at most as many as may send at once."""
        batches = -(-len(self._queue) // self.sink.batch_size)
        for _ in range(min(self._most() - len(self._workers), batches)):
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _most(self) -> int:
        """How many may send at once. One that fails in a row gets no more tries than it takes to
        find out that it is down: a hundred that hang are not all tried to the full once again.
        """
        breaker = self.breaker
        allowance = breaker.headroom if breaker.allowance is None else breaker.allowance
        return self.sink.parallel if allowance is None else min(allowance, self.sink.parallel)

    async def _work(self) -> None:
        """Send batch after batch until nothing is left."""
        try:
            while self._queue and not self._closing:
                wait = self.wait()
                if wait > SHORT_HOLD:
                    self._return_queue()
                elif wait > 0:
                    await self._pause(wait)
                elif self.breaker.allowance is not None and self._sending:
                    return  # whoever is sending the probe goes on with the rest
                elif self.breaker.headroom and len(self._workers) > self._most():
                    return  # the others go on
                elif self._pace and (wait := self._pace.take(self._clocks.monotonic())) > 0:
                    await self._pause(wait)
                else:
                    await self._send(self._batch())
        except Exception:  # noqa: BLE001 - a bug of ours: somebody else may do better
            log.get().exception("lane.failed", sink_id=self.config.id, kind=self.config.kind)
            self._return_queue()
        finally:
            # In the same step as the last look at the queue: what is offered next finds no worker
            # that is about to end.
            if (task := asyncio.current_task()) is not None:
                self._workers.discard(task)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the lane's end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    def _batch(self) -> list[Leased]:
        singly = self._pace is not None or self.breaker.allowance is not None
        most = 1 if singly or self._holds_suspect() else self.sink.batch_size
        return [self._queue.popleft() for _ in range(min(most, len(self._queue)))]

    def _holds_suspect(self) -> bool:
        """Whether a delivery that waits here was being sent when a process died."""
        suspects = self._journal.suspects
        return bool(suspects) and any(leased.id in suspects for leased in self._queue)

    async def _send(self, batch: list[Leased]) -> None:
        ids = {leased.id for leased in batch}
        self._sending |= ids
        self._journal.sending([leased.id for leased in batch])
        self._crash("before_send")
        at, started = self._clocks.wall(), self._clocks.monotonic()
        spans = self._begin(batch)
        try:
            outcomes = await self._try(batch, spans)
        except asyncio.CancelledError:
            self._results.give_back(self, batch)
            raise
        finally:
            self._sending -= ids
        seconds = self._clocks.monotonic() - started
        if self._tracing is not None:
            self._end(spans, batch, outcomes)
        for leased, outcome in zip(batch, outcomes, strict=True):
            self._learn(outcome)
            self._results.settle(self, leased, outcome, at, seconds)
        if self.wanting and self.load < self.bound // 2:
            self.wanting = False
            self._results.has_room(self)

    def _begin(self, batch: Sequence[Leased]) -> Sequence[Span | None]:
        """A span for each try, where somebody wants to know."""
        if self._tracing is None:
            return [None] * len(batch)
        name = f"deliver {self.config.kind}"
        begin = self._tracing.begin
        return [begin(name, "producer", leased.event.trace, link=True) for leased in batch]

    def _end(
        self,
        spans: Sequence[Span | None],
        batch: Sequence[Leased],
        outcomes: Sequence[Outcome],
    ) -> None:
        for span, leased, outcome in zip(spans, batch, outcomes, strict=True):
            if span is not None:
                span.end(
                    None if isinstance(outcome, Delivered) else log.scrub(outcome.reason),
                    sink_kind=self.config.kind,
                    sink_id=self.config.id,
                    delivery_id=leased.id,
                    attempt=leased.attempts + 1,
                    event_id=leased.event.id,
                    event=leased.event.name,
                    http_status=outcome.exchange.status if outcome.exchange else None,
                )

    async def _try(
        self, batch: Sequence[Leased], spans: Sequence[Span | None]
    ) -> Sequence[Outcome]:
        """One outcome each: a bug in a sink must not lose a delivery, nor hold it for ever."""
        try:
            async with asyncio.timeout(LONGEST_SEND):
                messages = [_message(*one) for one in zip(batch, spans, strict=True)]
                outcomes = await self.sink.send(messages)
            reason = f"the sink gave {len(outcomes)} outcomes for {len(batch)} messages"
            if len(outcomes) == len(batch):
                return outcomes
        except Exception as error:  # noqa: BLE001 - as the docstring says
            reason = f"{type(error).__name__}: {error}"[:300]
        return [Retry(reason=reason)] * len(batch)

    def _learn(self, outcome: Outcome) -> None:
        """What an outcome says about the sink as a whole."""
        now = self._clocks.monotonic()
        if isinstance(outcome, Delivered):
            if self.breaker.record(ok=True, now=now):
                self._results.recovered(self)
            if self._queue and len(self._workers) < self.sink.parallel:
                self._start()  # there were fewer while it failed
            return
        self.last_error = outcome.reason
        if isinstance(outcome, Rejected):
            if outcome.disable:
                self.hold(GONE_HOLD)
        elif outcome.after:
            if now + outcome.after > self.held_until + SHORT_HOLD:
                self._results.told_to_wait(self, outcome.after)
            self.hold(outcome.after)
        elif outcome.counts and self.breaker.record(ok=False, now=now):
            self._return_queue()
            self._results.opened(self)


def _message(leased: Leased, span: Span | None) -> Message:
    event = leased.event
    trace = span.traceparent if span else None
    if trace is None and event.trace is not None:
        trace = continued(event.trace, f"{leased.id}/{leased.attempts + 1}")
    return Message(
        delivery_id=leased.id,
        event=event,
        attempt=leased.attempts + 1,
        dedupe_id=event.id if not leased.replay else f"{event.id}-{leased.id}-{leased.replay}",
        traceparent=trace,
        gap=leased.gap,
        hop=event.hop,
    )
