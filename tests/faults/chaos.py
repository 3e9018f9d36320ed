"""Faults in any order: each breaks something for a moment and puts it right again."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.crash import POINTS
from tests.e2e.program import Program
from tests.faults.launcher import set_clock
from tests.faults.ledger import Arrival, Ledger
from tests.faults.proxy import Proxy
from tests.faults.witness import Witness, take
from tests.services import Postgres

LONGEST = 3.0  # seconds; longer than the lease of the programs, which is two
STARTS = 5
CRASH_SECONDS = 4.0  # to come to a point of the path

Fault = Callable[[], Awaitable[None]]


@dataclass
class Chaos:
    """What there is to break. `made`: how often each was. One fault at a time, but a node that
    starts again does so beside the next one; the last that runs is left alone.
    """

    nodes: list[Program]
    ledger: Ledger
    witness: Witness
    sink: Proxy
    chance: random.Random
    stores: list[Proxy] = field(default_factory=list)
    postgres: Postgres | None = None
    clock: Path | None = None
    made: Counter[str] = field(default_factory=Counter)
    _starting: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    def kinds(self) -> dict[str, tuple[int, Fault]]:
        """Every fault, with how likely it is."""
        found: dict[str, tuple[int, Fault]] = {
            "kill": (12, self.kill),
            "crash": (10, self.crash),
            "term": (6, self.term),
            "freeze": (8, self.freeze),
            "sink cut": (12, self.cut_sink),
            "sink silent": (6, self.silence_sink),
            "sink gone": (6, self.stop_sink),
            "sink failing": (10, self.fail_sink),
            "sink slow": (6, self.slow_sink),
        }
        if self.stores:
            found["database cut"] = (14, self.cut_store)
            found["commit cut"] = (8, self.cut_commits)
            found["database silent"] = (4, self.silence_store)
        if self.postgres:
            found["database restart"] = (2, self.restart_postgres)
        if self.clock:
            found["clock set"] = (10, self.step_clock)
        return found

    async def one(self) -> None:
        """Any fault, and its end."""
        kinds = self.kinds()
        name = self.chance.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        self.made[name] += 1
        with self.ledger.fault():
            await kinds[name][1]()

    async def heal(self) -> None:
        """Everything runs, nothing is in the way."""
        await asyncio.gather(*self._starting.values())
        for line in (*self.stores, self.sink):
            line.heal()
        self.witness.behave = take
        if self.clock:
            set_clock(self.clock, 0)

    async def _victim(self) -> Program:
        """A node that runs. Where it is the only one, those that start are waited for."""
        while True:
            running = [n for i, n in enumerate(self.nodes) if i not in self._starting]
            if len(running) > 1 or len(running) == len(self.nodes):
                return self.chance.choice(running)
            await asyncio.wait(self._starting.values(), return_when=asyncio.FIRST_COMPLETED)

    def _start(self, node: Program) -> None:
        """Beside what comes next; the fault lasts until it is done."""
        number = self.nodes.index(node)

        async def start() -> None:
            with self.ledger.fault():
                # As whoever supervises it would: one that finds no database when it starts, ends.
                for _ in range(STARTS):
                    await node.launch()
                    with suppress(AssertionError):
                        await node.ready()
                        return
            raise AssertionError(f"it does not start: {node.log[-2000:]}")

        def done(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is None:
                del self._starting[number]

        self._starting[number] = task = asyncio.create_task(start())
        task.add_done_callback(done)

    async def _while(self, most: float = 1.0) -> None:
        await asyncio.sleep(self.chance.uniform(0.05, most))

    async def kill(self) -> None:
        node = await self._victim()
        await node.kill()
        self._start(node)

    async def term(self) -> None:
        node = await self._victim()
        assert await node.end(signal.SIGTERM) == 0
        self._start(node)

    async def crash(self) -> None:
        node = await self._victim()
        await node.kill()
        point = self.chance.choice(POINTS)
        await node.launch(CRASH_AT=f"{point}:{self.chance.randrange(30)}")
        assert node.process
        with suppress(TimeoutError):
            await asyncio.wait_for(node.process.wait(), CRASH_SECONDS)
        await node.kill()
        self._start(node)

    async def freeze(self) -> None:
        node = await self._victim()
        assert node.process
        node.process.send_signal(signal.SIGSTOP)
        await self._while(LONGEST)
        node.process.send_signal(signal.SIGCONT)

    async def cut_sink(self) -> None:
        self.sink.cut_all()
        await self._while(0.2)
        self.sink.cut_all()

    async def silence_sink(self) -> None:
        self.sink.silence()
        await self._while()
        self.sink.cut_all()
        self.sink.heal()

    async def stop_sink(self) -> None:
        await self.witness.stop()
        await self._while()
        await self.witness.start()

    async def fail_sink(self) -> None:
        async def sometimes(_: Arrival) -> int:
            return self.chance.choice((200, 500, 503, 429))

        self.witness.behave = sometimes
        await self._while()
        self.witness.behave = take

    async def slow_sink(self) -> None:
        self.sink.latency = 0.1
        await self._while()
        self.sink.latency = 0.0

    async def cut_store(self) -> None:
        self.chance.choice(self.stores).cut_all()
        await self._while(0.2)

    async def cut_commits(self) -> None:
        line = self.chance.choice(self.stores)
        line.cut_after = b"COMMIT\0"
        await self._while(0.3)
        line.cut_after = None

    async def silence_store(self) -> None:
        line = self.chance.choice(self.stores)
        line.silence()
        await self._while(LONGEST)
        line.cut_all()
        line.heal()

    async def restart_postgres(self) -> None:
        assert self.postgres
        end = self.postgres.kill if self.chance.random() < 0.5 else self.postgres.stop
        await asyncio.to_thread(end)
        await self._while()
        await asyncio.to_thread(self.postgres.start)

    async def step_clock(self) -> None:
        assert self.clock
        set_clock(self.clock, self.chance.randint(-900, 900))
        await self._while(0.3)
