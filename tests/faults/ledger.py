"""The ledger: what was acknowledged, against what arrived and what is still known to wait.

It reads both from outside: the acknowledgements from the provider's side, the arrivals from the
receiver's own record, the rest from the gateway's API.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from tests.e2e.program import Program

IN_FLIGHT = 10.0  # seconds after an arrival in which its result may not be written yet
ON_ITS_WAY = 1.0  # seconds after a fault in which a copy may arrive that was cut off behind
UNFINISHED = ("pending", "retrying", "delivering")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One copy of an event that a receiver took. `at`: monotonic seconds. `key`: of several orders
    that are one to the gateway, and have an order among themselves.
    """

    order: str
    event_id: str
    at: float
    seq: int = 0
    key: str = ""


@dataclass(slots=True)
class Window:
    """When a fault was: copies sent shortly before or in it may come twice."""

    began: float
    ended: float

    def excuses(self, first: Arrival, second: Arrival) -> bool:
        """Whether `first` was in flight at this fault, and `second` came after it began."""
        began, ended = self.began - IN_FLIGHT, self.ended + ON_ITS_WAY
        return began <= first.at <= ended and self.began <= second.at


@dataclass(slots=True)
class Audit:
    """What the ledger says. `pending`: what waits and has never arrived. `hold` fails the test
    unless it is clean.
    """

    acknowledged: int
    delivered: int
    pending: int
    dead: int
    lost: Collection[str]
    duplicates: int
    unexcused: Collection[str]
    two_ids: Collection[str]

    def hold(self) -> "Audit":
        """Nothing lost, nothing told under two ids, nothing sent twice without a fault."""
        assert not self.lost, f"{len(self.lost)} acknowledged events are lost: {self}"
        assert not self.two_ids, f"orders under two ids: {self}"
        assert not self.unexcused, f"sent twice, and no fault was near: {self}"
        return self


@dataclass
class Ledger:
    """Filled by the provider's side and by whoever makes the faults."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    contradictions: set[str] = field(default_factory=set)

    def acknowledge(self, order: str, event_id: str) -> None:
        """The gateway answered 200 to this order, and named its event."""
        if self.acknowledged.setdefault(order, event_id) != event_id:
            self.contradictions.add(order)

    @contextmanager
    def fault(self) -> Iterator[Window]:
        """While something is broken."""
        window = Window(time.monotonic(), float("inf"))
        self.windows.append(window)
        try:
            yield window
        finally:
            window.ended = time.monotonic()

    def audit(
        self,
        arrivals: Sequence[Arrival],
        pending: Collection[str] = (),
        dead: Collection[str] = (),
    ) -> Audit:
        """Acknowledged ids against those that arrived and those that wait; `pending` and `dead` are
        event ids.
        """
        copies: dict[str, list[Arrival]] = defaultdict(list)
        names: dict[str, set[str]] = defaultdict(set)
        for arrival in arrivals:
            copies[arrival.event_id].append(arrival)
            if arrival.order:
                names[arrival.order].add(arrival.event_id)
        for order, event_id in self.acknowledged.items():
            names[order].add(event_id)
        known = {*copies, *pending, *dead}
        return Audit(
            acknowledged=len(self.acknowledged),
            delivered=len(copies),
            pending=len(set(pending) - copies.keys()),
            dead=len(set(dead)),
            lost=set(self.acknowledged.values()) - known,
            duplicates=len(arrivals) - len(copies),
            unexcused={i for i, c in copies.items() if not self._is_excused(c)},
            two_ids=self.contradictions | {o for o, ids in names.items() if len(ids) > 1},
        )

    def _is_excused(self, copies: Sequence[Arrival]) -> bool:
        return all(
            any(window.excuses(first, second) for window in self.windows)
            for first, second in pairwise(copies)
        )


def out_of_order(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Those whose first copy came after a later event of the same key."""
    latest: dict[str, int] = {}
    seen: set[str] = set()
    late = []
    for arrival in arrivals:
        if arrival.event_id in seen:
            continue
        seen.add(arrival.event_id)
        if arrival.seq < latest.get(arrival.key, 0):
            late.append(arrival)
        latest[arrival.key] = max(arrival.seq, latest.get(arrival.key, 0))
    return late


async def listed(program: Program, *statuses: str) -> set[str]:
    """The events of deliveries in any of these states, as the API lists them."""
    found: set[str] = set()
    for status in statuses:
        cursor = ""
        while True:
            query = f"filter[status]={status}&limit=100" + (f"&cursor={cursor}" if cursor else "")
            answer = await program.call("GET", f"/processing/dispatches?{query}")
            assert answer.status == 200, answer.body
            found |= {item["event_id"] for item in answer.json["data"]}
            cursor = answer.json["meta"]["next_cursor"]
            if not cursor:
                break
    return found


async def audit(program: Program, ledger: Ledger, arrivals: Sequence[Arrival]) -> Audit:
    """The audit of what one instance's sink got, with what the gateway says still waits."""
    # What waits is asked for first: a delivery may arrive between the questions, never vanish.
    pending = await listed(program, *UNFINISHED)
    dead = await listed(program, "dead")
    return ledger.audit(list(arrivals), pending, dead)
