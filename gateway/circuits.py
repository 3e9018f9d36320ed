"""The circuits of all sinks, shared by all processes: one that finds a sink down tells the others,
and only that one probes it.

What is open is a record of the store, told about like any change of the configuration. Its times
are relative to the store's clock, so that machines need not agree on the hour. A process that dies
while it holds a circuit open leaves the probing to whoever is first after a period of grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway import log
from gateway.alerts import Notice, Notices
from gateway.background import Errands
from gateway.directory import Directory
from gateway.holds import SharedHolds
from gateway.lane import Clocks, Lane
from gateway.sink_life import SinkLife
from gateway.store.base import Record, Store
from gateway.store.registry import Registry
from schemas.errors import ConflictError, StoreUnavailableError
from schemas.sink_config import SinkConfig

KIND = "circuit"
GRACE = 30.0  # seconds past its pause after which another process may probe
PAUSE = 1.0  # seconds, while the store does not answer
NODES = "SELECT id FROM nodes"


@dataclass(frozen=True, slots=True)
class Circuit:
    """One that is open. `until`, `failing_since`: monotonic seconds of this process. `of`: when the
    configuration was written that this is about.
    """

    node: str
    until: float
    failing_since: float
    reopens: int
    reason: str
    of: int


@dataclass(frozen=True, slots=True)
class _Told:
    """What this process found out and still has to write; `doc` None: it works again. `config`
    None: it is about a configuration that is gone, and nobody wants to hear it.
    """

    sink_id: str
    config: SinkConfig | None
    doc: dict[str, Any] | None


class SharedCircuits:
    """See the module, and `dispatch.Circuits`. `disable_after`: seconds of nothing but failures
    after which a sink is switched off.
    """

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        directory: Directory,
        life: SinkLife,
        notices: Notices,
        clocks: Clocks,
        disable_after: float,
    ) -> None:
        self._store, self._registry, self._directory = store, registry, directory
        self._life, self._notices, self._clocks = life, notices, clocks
        self._disable_after = disable_after
        self._known: dict[str, Circuit] = {}
        self._untold: dict[str, _Told] = {}
        self._wake = asyncio.Event()
        self._errands = Errands()
        self._holds = SharedHolds(store, registry)
        self._lane_of: Callable[[str], Lane | None] = lambda _: None
        store.listen(self._heard)
        directory.on_change(self._configured)

    def attach(self, lane_of: Callable[[str], Lane | None]) -> None:
        """Where this process's lanes are found."""
        self._lane_of = lane_of
        self._holds.attach(lane_of)

    def find(self, sink_id: str) -> Circuit | None:
        """The circuit of a sink while it is open anywhere."""
        return self._known.get(sink_id)

    @property
    def open_ids(self) -> frozenset[str]:
        """The sinks whose circuit is open anywhere."""
        return frozenset(self._known)

    def begun(self, lane: Lane) -> None:
        self._holds.begun(lane)
        circuit = self._known.get(lane.config.id)
        if circuit is not None and circuit.of == lane.config.updated_at:
            self._apply(lane, circuit)

    def opened(self, lane: Lane) -> None:
        now, config = self._clocks.monotonic(), lane.config
        breaker, reason = lane.breaker, lane.last_error or "failing"
        failing_for = lane.failing_for() or 0.0
        node = self._store.log.node
        doc = {
            "node": node,
            "pause": max(0.0, breaker.opened_until - now),
            "reopens": breaker.reopens,
            "failing_for": failing_for,
            "reason": reason,
            "of": config.updated_at,
        }
        self._known[config.id] = Circuit(
            node,
            breaker.opened_until,
            now - failing_for,
            breaker.reopens,
            reason,
            config.updated_at,
        )
        self._tell(_Told(config.id, config, doc))

    def closed(self, lane: Lane) -> None:
        self._known.pop(lane.config.id, None)
        self._tell(_Told(lane.config.id, lane.config, None))

    def held(self, lane: Lane, seconds: float) -> None:
        self._holds.held(lane, seconds)

    async def run(self) -> None:
        """Learn what the others found out, then write what this process finds out, for ever."""
        await self.load()
        await self._holds.load()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._untold:
                sink_id, told = next(iter(self._untold.items()))
                try:
                    await self._write(told)
                except StoreUnavailableError as error:
                    log.get().error("circuit.untold", sink_id=sink_id, error=error.message)
                    await asyncio.sleep(PAUSE)
                    continue
                if self._untold.get(sink_id) is told:
                    del self._untold[sink_id]

    async def close(self) -> None:
        """Read nothing more."""
        await self._errands.close()
        await self._holds.close()

    async def load(self) -> None:
        """Read all of them, and forget what is closed."""
        records = {record.id: record for record in await self._registry.list(KIND)}
        alive = {row[0] for row in await self._store.database.fetch(NODES)}
        now = await self._store.database.now()
        for ident in self._known.keys() - records.keys():
            self._take(ident, None)
        for ident, record in records.items():
            self._take(ident, self._circuit(record, now, alive))
            self._configured("sink", ident)

    def _tell(self, told: _Told) -> None:
        self._untold.pop(told.sink_id, None)
        self._untold[told.sink_id] = told
        self._wake.set()

    async def _write(self, told: _Told) -> None:
        config, doc = told.config, told.doc
        if doc is None or config is None:
            if await self._registry.delete(KIND, told.sink_id) and config is not None:
                self._notices.tell(await self._notice(config, "sink.circuit_closed", "it works"))
            return
        record = Record(kind=KIND, id=config.id, tenant=config.tenant, name=config.id, doc=doc)
        try:
            await self._registry.put(record, expect_version=0)
        except ConflictError:  # open already, here or elsewhere: nobody needs to hear it again
            await self._registry.put(record)
        else:
            self._notices.tell(await self._notice(config, "sink.circuit_opened", doc["reason"]))
        if doc["failing_for"] >= self._disable_after:
            hours = doc["failing_for"] / 3600
            await self._life.disable(
                config.id, f"nothing but failures for {hours:.1f} hours: {doc['reason']}"
            )

    async def _notice(self, config: SinkConfig, kind: Any, reason: str) -> Notice:
        return Notice(
            kind=kind,
            tenant=config.tenant,
            instance=config.instance,
            sink_id=config.id,
            sink=f"{config.kind}/{config.name}",
            reason=reason,
            at=await self._store.database.now(),
        )

    def _heard(self, topic: str, payload: str) -> None:
        kind, _, ident = payload.partition("/")
        if topic == "config" and kind == KIND:
            self._errands.run("circuit.read", self._again(ident))
        elif topic == "config" and not kind:
            self._errands.run("circuit.load", self._again(""))

    async def _again(self, ident: str) -> None:
        """Read one of them, or all, once the store lets us."""
        while True:
            try:
                await (self._read(ident) if ident else self.load())
            except StoreUnavailableError:
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _read(self, ident: str) -> None:
        record = await self._registry.get(KIND, ident)
        if record is None:
            self._take(ident, None)
            return
        now = await self._store.database.now()
        self._take(ident, self._circuit(record, now, {record.doc["node"]}))

    def _circuit(self, record: Record, now: int, alive: set[str]) -> Circuit:
        """A record as this process sees it: another's circuit may be probed later than its own."""
        doc, here = record.doc, self._clocks.monotonic()
        age = max(0, now - record.updated_at) / 1e6
        node = doc["node"]
        grace = GRACE if node in alive and node != self._store.log.node else 0.0
        return Circuit(
            node,
            here + max(0.0, doc["pause"] - age) + grace,
            here - doc["failing_for"] - age,
            doc["reopens"],
            doc["reason"],
            doc["of"],
        )

    def _take(self, ident: str, circuit: Circuit | None) -> None:
        """Take in what the store says, unless this process knows something newer."""
        if ident in self._untold:
            return
        lane = self._lane_of(ident)
        if circuit is None:
            self._known.pop(ident, None)
            if lane is not None:
                lane.circuit_closed()
            return
        self._known[ident] = circuit
        if lane is not None and circuit.node != self._store.log.node:
            self.begun(lane)

    def _apply(self, lane: Lane, circuit: Circuit) -> None:
        now = self._clocks.monotonic()
        seconds = max(0.0, circuit.until - now)
        lane.adopt(seconds, circuit.reopens, now - circuit.failing_since)

    def _configured(self, kind: str, ident: str) -> None:
        """What an earlier configuration was found to be says nothing of the present one."""
        circuit = self._known.get(ident) if kind == "sink" else None
        if circuit is None:
            return
        config = self._directory.sink(ident)
        if config is None or config.updated_at > circuit.of:
            del self._known[ident]
            self._tell(_Told(ident, None, None))
