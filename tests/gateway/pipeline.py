"""Everything behind the front door on a real SQLite store: directory, intake, dispatcher, and the
real webhook sink through the real way out.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import Counter

from gateway.alerts import Announcer, Notice, Notices
from gateway.background import Errands
from gateway.circuits import SharedCircuits
from gateway.directory import Directory
from gateway.dispatch import Dispatcher, Options
from gateway.drift import Drift
from gateway.egress import Egress
from gateway.ids import Ulids
from gateway.intake import Intake, Origin
from gateway.lane import Clocks
from gateway.security import Vault
from gateway.sink_life import SinkLife
from gateway.store.base import Store
from gateway.store.registry import Registry
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite.connection import Tuning
from schemas.events import Event
from schemas.sink_config import SinkConfig
from schemas.target import AllowList
from tests.gateway.far_side import a_config
from tests.sinks.given import a_context, wall_clock
from tests.sinks.receiver import Got, Receiver

PATIENCE = 20.0
FERNET = "EcC1cGnMHTdXfVqWF7pGfb-8eRCTbYeCvWVEqmmhBlo="
ORIGIN = Origin(
    tenant="default", instance="loja-1", installation_id="i1", driver="shopify", received_at=1
)


@dataclass
class Pipeline:
    """`observed`: (kind, outcome) of every try."""

    path: Path
    store: Store
    directory: Directory
    dispatcher: Dispatcher
    intake: Intake
    ids: Ulids
    observed: list[tuple[str, str]] = field(default_factory=list)
    noticed: list[Notice] = field(default_factory=list)
    events: int = 0

    async def sink(self, number: int = 1, **fields: Any) -> SinkConfig:
        """Configure a webhook, new or changed."""
        known = self.directory.sink(f"sink-{number}")
        changed = known.model_copy(update=fields) if known else a_config(number, **fields)
        return await self.directory.save_sink(changed)

    async def emit(self, count: int = 1, key: str | None = None) -> list[str]:
        """Store events of an order each (or all of one); gives their ids."""
        told: list[str] = []
        for _ in range(count):
            self.events += 1
            event = Event(
                name="order.paid",
                key=key or f"order-{self.events}",
                dedupe_key=str(self.events),
                provider_event="orders/paid",
                data={"order": {"id": self.events}},
            )
            appended = await self.intake.emit(ORIGIN, [event])
            told.append(appended.events[0].id)
        return told

    async def states(self, sink: str | None = None) -> dict[str, int]:
        """How many deliveries are in which state."""
        rows = await self.store.database.fetch(
            "SELECT state, count(*) FROM deliveries WHERE sink_id = $1 OR $2 = '' GROUP BY state",
            sink or "",
            sink or "",
        )
        return dict(rows)

    async def attempts(self) -> list[tuple[Any, ...]]:
        return await self.store.database.fetch(
            "SELECT delivery_id, number, outcome, status FROM attempts ORDER BY at"
        )


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until asking gives yes."""
    async with asyncio.timeout(PATIENCE):
        while not await look():
            await asyncio.sleep(0.01)


async def reaches(line: Pipeline, **states: int) -> None:
    """Wait until the deliveries are in these states."""

    async def look() -> bool:
        return await line.states() == states

    await eventually(look)


def ids(receiver: Receiver) -> list[str]:
    """The events a receiver got."""
    return [got.headers["webhook-id"] for got in receiver.got]


def answering(status: int, after: float = 0.0) -> Callable[[Got], Awaitable[web.StreamResponse]]:
    """An answer of a receiver, given after so many seconds."""

    async def answer(_: Got) -> web.StreamResponse:
        await asyncio.sleep(after)
        return web.Response(status=status)

    return answer


def _options(
    life: SinkLife, circuits: SharedCircuits, observed: list[tuple[str, str]]
) -> dict[str, Any]:
    """What the dispatcher is told where a test says nothing else."""
    return {
        "schedule": (0.05,) * 5,
        "lease_seconds": 30.0,
        "random": lambda: 0.0,
        "disable": life.disable,
        "recovered": life.recovered,
        "gone": life.gone,
        "leased_for": life.leased_for,
        "processes": life.processes,
        "circuits": circuits,
        "observe": lambda kind, outcome, _seconds, _lag: observed.append((kind, outcome)),
        "crash": lambda _: None,
    }


@asynccontextmanager
async def pipeline(
    folder: Path, *, start: bool = True, tuning: Tuning | None = None, **options: Any
) -> AsyncIterator[Pipeline]:
    """Running. `options`: of the dispatcher."""
    ids = Ulids(wall_clock, random.Random(7).randbytes)
    path = folder / "comporta.db"
    store = await open_sqlite(
        path, node=ids(), lease_seconds=options.get("lease_seconds", 30), tuning=tuning
    )
    egress = Egress(allow=AllowList.parse(["127.0.0.0/8"]), require_https=False)
    registry = Registry(store.database, store.notify)
    directory = Directory(registry, Vault([FERNET]))
    notices, clocks = Notices(), Clocks(wall_clock, time.monotonic)
    noticed: list[Notice] = []
    notices.listen(noticed.append)
    life = SinkLife(store, directory, notices, wall_clock)
    circuits = SharedCircuits(
        store=store,
        registry=registry,
        directory=directory,
        life=life,
        notices=notices,
        clocks=clocks,
        disable_after=options.pop("disable_after", 86_400.0),
    )
    observed: list[tuple[str, str]] = []
    dispatched = _options(life, circuits, observed) | options
    dispatcher = Dispatcher(
        store.log,
        directory,
        a_context(egress, timeout=30.0),
        clocks,
        Options(**dispatched),
    )
    circuits.attach(dispatcher.lane)
    sharing = asyncio.create_task(circuits.run())
    drift = Drift(registry, Counter("drift", "", ["a", "b"], registry=None), ids, wall_clock)
    intake, errands = Intake(store.log, directory, dispatcher, drift, ids), Errands()
    notices.listen(Announcer(intake, errands))
    if start:
        dispatcher.start()
    try:
        yield Pipeline(path, store, directory, dispatcher, intake, ids, observed, noticed)
    finally:
        sharing.cancel()
        await dispatcher.stop(0.5)
        await errands.close()
        await circuits.close()
        await egress.close()
        await store.close()
