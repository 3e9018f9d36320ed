"""What becomes of a try: the result as it is stored, and the queue of results on their way there.

Results are written in batches: whatever gathered while the last batch was being written. They
outlive a dead store, and are written when it is back (or their leases run out elsewhere).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from gateway import log
from gateway.retry import next_delay
from gateway.store.base import EventLog, Lease, Leased, Settlement
from schemas.delivery import AttemptRecord, Delivered, Outcome, Rejected, Retry
from schemas.errors import StoreUnavailableError
from schemas.sink_config import SinkConfig

PAUSE = 0.5  # seconds between two tries to write
SOON = 1.0  # seconds; a retry that is due sooner wants a claim of its own
GATHER = 0.05  # seconds in which results gather after a batch, unless somebody waits for one
OUR_DELAY = 5.0  # seconds after trouble of our own, and up to as much again


def word(outcome: Outcome) -> str:
    """An outcome as it is counted and shown."""
    return {Delivered: "succeeded", Retry: "failed", Rejected: "rejected"}[type(outcome)]


def settlement(
    leased: Leased,
    outcome: Outcome,
    schedule: Sequence[float],
    *,
    at: int,
    seconds: float,
    random: float,
) -> Settlement:
    """The result of one try that began `at` (microseconds) and took `seconds`.

    `random`: in [0, 1).
    """
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
        _put_off(item, outcome, schedule, number, random)
    exchange = outcome.exchange
    item.attempt = AttemptRecord(
        number=number,
        at=at,
        duration_ms=round(seconds * 1000, 3),
        outcome=word(outcome),
        request_headers=exchange.request_headers if exchange else {},
        status=exchange.status if exchange else None,
        response_headers=exchange.response_headers if exchange else {},
        response_body=exchange.response_body if exchange else b"",
        error=None if isinstance(outcome, Delivered) else outcome.reason,
    )
    return item


def log_attempt(
    logger: FilteringBoundLogger,
    config: SinkConfig,
    leased: Leased,
    item: Settlement,
    outcome: Outcome,
) -> None:
    """One line per try: which one, of what, to where, and what came of it. `logger`: one that is
    kept, because to make one costs as much as a line.
    """
    exchange, attempt = outcome.exchange, item.attempt
    about = {
        "event_id": leased.event.id,
        "event_name": leased.event.name,
        "instance": leased.event.instance,
        "delivery_id": leased.id,
        "sink_id": config.id,
        "kind": config.kind,
        "attempt": leased.attempts + 1,
        "outcome": item.state,
        "status": exchange.status if exchange else None,
        "duration_ms": attempt.duration_ms if attempt else None,
    }
    if isinstance(outcome, Delivered):
        logger.info("delivery.attempted", **about)
        return
    next_in = round(item.delay, 1) if item.state == "pending" else None
    logger.warning("delivery.attempted", **about, reason=outcome.reason, next_in=next_in)


def _put_off(
    item: Settlement, outcome: Retry, schedule: Sequence[float], number: int, random: float
) -> None:
    item.reason, item.counts = outcome.reason, outcome.counts
    if not outcome.counts:
        item.delay = OUR_DELAY * (1 + random)
        return
    delay = next_delay(schedule, number, random)
    if delay is None:
        item.state, item.reason = "dead", f"gave up after {number} attempts: {outcome.reason}"
    else:
        item.delay = max(delay, outcome.after or 0.0)


class Settler:
    """Writes results and gives back leases. `run` it; `end` lets it finish. `wake`: called when
    something that was written may be claimed now. `lost`: called with how many results came when
    their lease was somebody else's.
    """

    def __init__(
        self,
        event_log: EventLog,
        wake: Callable[[], None],
        lost: Callable[[int], None],
        crash: Callable[[str], None],
    ) -> None:
        self._log, self._wake, self._lost, self._crash = event_log, wake, lost, crash
        self._results: list[Settlement] = []
        self._returned: list[Lease] = []
        self._writing: list[Settlement] = []
        self._now, self._hurry = asyncio.Event(), asyncio.Event()
        self._wanted = False
        self._ending = False

    def put(self, item: Settlement, *, ordered: bool) -> None:
        """Take a result in. `ordered`: another event waits for this one to be over."""
        self._results.append(item)
        if item.delay < SOON if item.state == "pending" else ordered:
            self._wanted = True
            self._hurry.set()
        self._now.set()

    def give_back(self, leases: Iterable[Lease]) -> None:
        """Take in leases that are not used."""
        self._returned.extend(leases)
        self._now.set()

    def ids(self) -> set[str]:
        """The deliveries whose result is not written yet, or that are being given back."""
        return {
            *(r.id for r in self._results),
            *(r.id for r in self._writing),
            *(i for i, _ in self._returned),
        }

    def end(self) -> None:
        """Let `run` return once everything is written."""
        self._ending = True
        self._now.set()
        self._hurry.set()

    async def run(self) -> None:
        """Write what gathers, until `end`."""
        while not (self._ending and not self._results and not self._returned):
            await self._now.wait()
            self._now.clear()
            try:
                await self._write_results()
                await self._release()
                await self._gather()
            except StoreUnavailableError as error:
                log.get().error("settle.delayed", error=error.message, count=len(self._results))
                await asyncio.sleep(PAUSE)
                self._now.set()

    async def _gather(self) -> None:
        """Let results come together: a batch of many costs little more than one of a few."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER):
                await self._hurry.wait()
        if not self._ending:
            self._hurry.clear()

    async def _write_results(self) -> None:
        if not self._results:
            return
        self._writing, self._results = self._results, []
        wanted, self._wanted = self._wanted, False
        self._crash("before_settle")
        try:
            lost = await self._settle(self._writing)
        except BaseException:
            self._results[:0] = self._writing
            self._wanted |= wanted
            raise
        finally:
            self._writing = []
        self._crash("after_settle")
        if lost:
            self._lost(lost)
            log.get().warning("delivery.lease_lost", count=lost)
        if wanted:
            self._wake()

    async def _settle(self, items: Sequence[Settlement]) -> int:
        """Write results; gives how many were not written because their lease was lost."""
        try:
            return len(await self._log.settle(items))
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with one, the others must be written
            if len(items) > 1:
                middle = len(items) // 2
                return await self._settle(items[:middle]) + await self._settle(items[middle:])
            log.get().exception("settle.failed", delivery_id=items[0].id)
            return await self._settle_barely(items[0])

    async def _settle_barely(self, item: Settlement) -> int:
        """Write a result without its record, which is what the store may choke on."""
        item.attempt, item.reason = None, "the record of this try could not be kept"
        try:
            return len(await self._log.settle([item]))
        except StoreUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - it is sent again when its lease is found astray
            log.get().exception("settle.dropped", delivery_id=item.id)
            return 1

    async def _release(self) -> None:
        if not self._returned:
            return
        returned = list(self._returned)
        self._crash("before_release")
        await self._log.release(returned)
        self._crash("after_release")
        del self._returned[: len(returned)]
        self._wake()
