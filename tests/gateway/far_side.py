"""A far side that a test steers, for what no server can be made to do on command; and somebody
who listens to a lane.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.lane import Clocks, Lane
from gateway.store.base import Leased
from schemas.delivery import Delivered, Health, Message, Outcome, Retry
from schemas.sink_config import SinkConfig, WebhookConfig
from tests.sinks.given import an_event

REAL = Clocks(lambda: time.time_ns() // 1000, time.monotonic)
Reply = Callable[[Message], Outcome]


def delivered(_: Message) -> Outcome:
    return Delivered()


def refused(_: Message) -> Outcome:
    return Retry(reason="HTTP 500")


@dataclass
class FarSide:
    """A sink. `reply` gives the outcome of a message, or raises. While `gate` is closed nothing is
    answered.
    """

    batch_size: int = 1
    parallel: int = 4
    reply: Reply = delivered
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[str]] = field(default_factory=list)
    sending: int = 0
    most_at_once: int = 0
    closed: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def got(self) -> list[str]:
        return [ident for batch in self.batches for ident in batch]

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        self.batches.append([message.delivery_id for message in batch])
        self.sending += 1
        self.most_at_once = max(self.most_at_once, self.sending)
        try:
            await asyncio.sleep(0)  # as any network does
            await self.gate.wait()
            return [self.reply(message) for message in batch]
        finally:
            self.sending -= 1

    def health(self) -> Health:
        return Health(state="steered")

    async def close(self) -> None:
        self.closed += 1


@dataclass
class Listener:
    """Who takes a lane's outcomes."""

    settled: dict[str, Outcome] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)
    room: int = 0
    well_again: int = 0
    times_opened: int = 0
    waits: list[float] = field(default_factory=list)
    on_settle: Callable[[str], None] = lambda _: None

    def settle(self, lane: Lane, leased: Leased, outcome: Outcome, at: int, seconds: float) -> None:
        assert leased.id not in self.settled, f"{leased.id} was settled twice"
        self.settled[leased.id] = outcome
        self.on_settle(leased.id)

    def give_back(self, lane: Lane, leased: Iterable[Leased]) -> None:
        self.returned += [item.id for item in leased]

    def has_room(self, lane: Lane) -> None:
        self.room += 1

    def recovered(self, lane: Lane) -> None:
        self.well_again += 1

    def opened(self, lane: Lane) -> None:
        self.times_opened += 1

    def told_to_wait(self, lane: Lane, seconds: float) -> None:
        self.waits.append(seconds)


@dataclass
class Time:
    """A clock that only the test moves, in seconds."""

    now: float = 1000.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: int(self.now * 1e6), lambda: self.now)


def a_config(number: int = 1, **fields: Any) -> SinkConfig:
    known: dict[str, Any] = {
        "id": f"sink-{number}",
        "tenant": "default",
        "instance": "loja-1",
        "name": f"name-{number}",
        "url": "https://crm.example/in",
    }
    return WebhookConfig.model_validate(known | fields)


def a_lane(far: FarSide, clocks: Clocks | None = None, **config: Any) -> tuple[Lane, Listener]:
    """A lane to this far side; by the real clocks when none are given."""
    listener = Listener()
    return Lane(a_config(**config), far, listener, clocks or REAL), listener


def leased(*numbers: int, sink: str = "sink-1", attempts: int = 0) -> list[Leased]:
    return [
        Leased(
            id=f"d{number}",
            token=1,
            sink_id=sink,
            attempts=attempts,
            replay=0,
            event=an_event(number),
        )
        for number in numbers
    ]


def names(*numbers: int) -> list[str]:
    return [f"d{number}" for number in numbers]
