"""A circuit is one thing, whatever number of processes sends to the sink."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway import circuits as module
from gateway.alerts import Notice, Notices
from gateway.circuits import KIND, SharedCircuits
from gateway.directory import Directory
from gateway.lane import Clocks, Lane
from gateway.security import Vault
from gateway.sink_life import SinkLife
from gateway.store import open_store
from gateway.store.base import Record, Store
from gateway.store.registry import Registry
from schemas.delivery import Retry
from schemas.errors import StoreUnavailableError
from schemas.sink_config import SinkConfig
from tests.gateway.far_side import FarSide, Listener, Time, a_config, delivered, leased
from tests.gateway.pipeline import FERNET, answering, eventually, ids, pipeline, reaches
from tests.sinks.given import wall_clock
from tests.sinks.receiver import Receiver, until


@dataclass
class Process:
    """One process's view of a sink. `time` moves its monotonic clock only."""

    store: Store
    directory: Directory
    circuits: SharedCircuits
    time: Time
    noticed: list[Notice]
    far: FarSide = field(default_factory=FarSide)
    lane: Lane | None = None

    def begin(self, config: SinkConfig) -> Lane:
        self.lane = lane = Lane(config, self.far, Sending(self.circuits), self.clocks)
        self.circuits.begun(lane)
        return lane

    @property
    def clocks(self) -> Clocks:
        return Clocks(wall_clock, lambda: self.time.now)

    async def fail(self, count: int = 10) -> None:
        """Send as many, which all fail."""
        assert self.lane is not None
        self.far.reply = lambda _: Retry(reason="HTTP 503")
        await self._send(count)

    async def succeed(self) -> None:
        self.far.reply = delivered
        await self._send(1)

    async def _send(self, count: int) -> None:
        lane, before = self.lane, len(self.far.got)
        assert lane is not None
        for number in range(count):
            if lane.breaker.state == "open":
                self.time.now += lane.wait()
                assert lane.room() == 1
            lane.offer(leased(before + number))
            await until(lambda: lane.load == 0)

    @property
    def state(self) -> str:
        assert self.lane is not None
        return self.lane.breaker.state


class Sending(Listener):
    """Who takes the outcomes of a lane, and passes on what they say of its circuit."""

    def __init__(self, circuits: SharedCircuits) -> None:
        super().__init__()
        self.circuits = circuits

    def opened(self, lane: Lane) -> None:
        self.circuits.opened(lane)

    def told_to_wait(self, lane: Lane, seconds: float) -> None:
        self.circuits.held(lane, seconds)

    def recovered(self, lane: Lane) -> None:
        self.circuits.closed(lane)


Start = Callable[[str], Awaitable[Process]]


@asynccontextmanager
async def processes(url: str, disable_after: float = 1e9) -> AsyncIterator[Start]:
    """Starts processes on one store."""
    running: list[tuple[Process, asyncio.Task[None]]] = []

    async def start(node: str) -> Process:
        store = await open_store(url, node=node, lease_seconds=30)
        registry = Registry(store.database, store.notify)
        directory = Directory(registry, Vault([FERNET]))

        def configured(topic: str, payload: str) -> None:
            kind, _, ident = payload.partition("/")
            if topic == "config" and kind == "sink":
                reading.add(asyncio.ensure_future(directory.refresh(kind, ident)))

        reading: set[asyncio.Future[None]] = set()
        store.listen(configured)
        await directory.load()
        notices, noticed, time = Notices(), list[Notice](), Time()
        notices.listen(noticed.append)
        life = SinkLife(store, directory, notices, wall_clock)
        clocks = Clocks(wall_clock, lambda: time.now)
        circuits = SharedCircuits(
            store=store,
            registry=registry,
            directory=directory,
            life=life,
            notices=notices,
            clocks=clocks,
            disable_after=disable_after,
        )
        process = Process(store, directory, circuits, time, noticed)
        circuits.attach(lambda _: process.lane)
        await circuits.load()
        running.append((process, asyncio.create_task(circuits.run())))
        return process

    try:
        yield start
    finally:
        for process, task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await process.circuits.close()
            await process.store.close()


async def a_pair(start: Start) -> tuple[Process, Process, SinkConfig]:
    """Two processes with a lane to the same sink."""
    one, two = await start("one"), await start("two")
    config = await one.directory.save_sink(a_config())
    one.begin(config)
    two.begin(config)
    return one, two, config


async def test_what_one_finds_down_no_other_tries(postgres_db: str) -> None:
    async with processes(postgres_db) as start:
        one, two, config = await a_pair(start)

        await one.fail()
        await until(lambda: two.state == "open")

        # Its pause is over: the one that found out probes, the other leaves it to it.
        one.time.now += 2
        two.time.now += 2
        assert one.lane is not None
        assert two.lane is not None
        assert (one.lane.room(), two.lane.room()) == (1, 0)
        assert two.circuits.find(config.id) is not None

        await one.succeed()
        await one.succeed()
        await until(lambda: two.state == "closed")
        assert two.circuits.find(config.id) is None
        await until(lambda: len(one.noticed) == 2)
        assert [n.kind for n in one.noticed] == ["sink.circuit_opened", "sink.circuit_closed"]
        assert one.noticed[0].reason == "HTTP 503"
        assert two.noticed == []


async def test_both_may_find_out_and_it_is_told_once(postgres_db: str) -> None:
    async with processes(postgres_db) as start:
        one, two, _ = await a_pair(start)

        await asyncio.gather(one.fail(), two.fail())
        await until(lambda: bool(one.noticed or two.noticed))
        found = await one.store.database.fetch("SELECT doc FROM records WHERE kind = $1", KIND)

        assert len(found) == 1
        assert len(one.noticed + two.noticed) == 1


async def test_who_dies_leaves_the_probe_to_another(postgres_db: str) -> None:
    async with processes(postgres_db) as start:
        one, two, config = await a_pair(start)
        await one.fail()
        await until(lambda: two.state == "open")

        two.time.now += module.GRACE + 1

        assert two.lane is not None
        assert two.lane.room() == 1
        await two.fail(1)

        async def handed_over() -> bool:
            found = one.circuits.find(config.id)
            return found is not None and found.node == "two"

        await eventually(handed_over)
        assert one.state == "open"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/comporta.db"
    made: str = request.getfixturevalue("postgres_db")
    return made


async def test_who_starts_later_knows_and_waits_for_nobody_who_is_gone(url: str) -> None:
    async with processes(url) as start:
        one = await start("one")
        config = await one.directory.save_sink(a_config())
        one.begin(config)
        await one.fail()
        await until(lambda: bool(one.noticed))
        await one.store.close()

        two = await start("two")
        lane = two.begin(config)

        assert two.state == "open"
        assert lane.wait() <= 1.0
        assert lane.failing_for() is not None


async def test_a_new_configuration_begins_anew(postgres_db: str) -> None:
    async with processes(postgres_db) as start:
        one, two = await start("one"), await start("two")
        config = await one.directory.save_sink(a_config())
        one.begin(config)
        await one.fail()
        await until(lambda: two.circuits.find(config.id) is not None)

        changed = config.model_copy(update={"url": "https://other.example/in"})
        changed = await one.directory.save_sink(changed)
        one.begin(changed)

        assert one.state == "closed"
        await until(lambda: two.circuits.find(config.id) is None)
        assert {n.kind for n in one.noticed + two.noticed} == {"sink.circuit_opened"}


async def test_nothing_but_failures_for_long_switches_a_sink_off(tmp_path: Path) -> None:
    async with processes(f"sqlite:///{tmp_path}/comporta.db", disable_after=3600) as start:
        one = await start("one")
        config = await one.directory.save_sink(a_config())
        one.begin(config)
        await one.fail()
        one.time.now += 3000
        await one.succeed()  # one success in between, and it counts from there
        await one.fail(1)
        one.time.now += 3000
        await one.fail(1)
        await until(lambda: bool(one.noticed))
        assert one.directory.sinks()[0].enabled

        one.time.now += 3000
        await one.fail(1)
        await until(lambda: not one.directory.sinks()[0].enabled)

        reason = one.directory.sinks()[0].disabled_reason
        assert reason == "nothing but failures for 1.7 hours: HTTP 503"
        assert [n.kind for n in one.noticed] == ["sink.circuit_opened", "sink.disabled"]


async def test_retry_after_holds_the_destination_in_every_process(url: str) -> None:
    async with processes(url) as start:
        one = await start("one")
        config = await one.directory.save_sink(a_config())
        lane = one.begin(config)
        one.far.reply = lambda _: Retry(reason="HTTP 429", after=600.0)
        lane.offer(leased(1))
        await until(lambda: lane.held_until > 0)
        if url.startswith("sqlite"):  # which serves one process at a time
            await eventually(lambda: _is_written(one))
            await one.store.close()

        two = await start("two")
        other = two.begin(config)

        await until(lambda: other.wait() > 500)
        changed = config.model_copy(update={"url": "https://other.example/in"})
        assert two.begin(await two.directory.save_sink(changed)).wait() == 0


async def _is_written(process: Process) -> bool:
    sql = "SELECT id FROM records WHERE kind = 'hold'"
    return bool(await process.store.database.fetch(sql))


async def test_a_hold_that_is_over_is_forgotten(tmp_path: Path) -> None:
    async with processes(f"sqlite:///{tmp_path}/comporta.db") as start:
        one = await start("one")
        config = await one.directory.save_sink(a_config())
        doc = {"node": "two", "seconds": 0.0, "of": config.updated_at}
        record = Record(kind="hold", id=config.id, tenant="default", name=config.id, doc=doc)
        await Registry(one.store.database, one.store.notify).put(record)
        lane = one.begin(config)

        await one.circuits._holds.load()

        assert not await _is_written(one)
        assert lane.wait() == 0


async def test_a_store_that_is_busy_hears_of_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    async with processes(f"sqlite:///{tmp_path}/comporta.db") as start:
        one = await start("one")
        config = await one.directory.save_sink(a_config())
        one.begin(config)
        put, tries = one.circuits._registry.put, list[int]()

        async def busy(record: Record, **more: Any) -> Record:
            tries.append(1)
            if len(tries) < 3:
                raise StoreUnavailableError("busy")
            return await put(record, **more)

        monkeypatch.setattr(one.circuits._registry, "put", busy)
        await one.fail()

        await until(lambda: bool(one.noticed))
        assert len(tries) == 3


async def test_a_dead_sink_is_told_to_its_neighbours_and_not_to_itself(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    receiver.answer = answering(410)
    async with pipeline(tmp_path) as line:
        await line.sink(1, url=receiver.url)
        await line.sink(2, url=other.url, events=("SINK_DISABLED",))
        await line.emit()

        await until(lambda: len(other.got) == 1)

        told = json.loads(other.got[0].body)
        assert told["event"] == "sink.disabled"
        assert told["data"]["sink"] == {"id": "sink-1", "name": "webhook/name-1"}
        assert len(ids(receiver)) == 1
        await reaches(line, pending=1, succeeded=1)
