"""A provider that tells of paid orders, each again and again until it is acknowledged."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count, cycle
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.e2e.deliveries import SECRET, Delivery, kiwify
from tests.e2e.program import Program
from tests.faults.ledger import Ledger

PATIENCE = 60.0
WAITS = 8.0  # seconds for an answer; then it tells again
AGAIN = 0.05  # seconds until it tells an order again; real ones take longer
LOST = (OSError, aiohttp.ClientError, TimeoutError)
INSTANCE = "loja-1"
JSON = {"Content-Type": "application/json"}


class Provider:
    """Tells any of some gateways that share a store. Whatever they answer is counted.

    `wrong`: answers that a fault must not cause, for the test to find empty. `known`: the orders
    that were answered as known already; `first`: as new.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        ingest_url: str,
        ledger: Ledger,
        make: Callable[[int], Delivery] = kiwify,
    ) -> None:
        self._make = make
        self._next = cycle(programs)
        self.path = urlsplit(ingest_url).path
        self._ledger = ledger
        self._numbers = count()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._stopping = False
        self.patience, self.waits = PATIENCE, WAITS
        self.answers: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.known: set[int] = set()
        self.first: set[int] = set()

    async def close(self) -> None:
        await self._session.close()

    async def tell(self, number: int, program: Program | None = None) -> int:
        """Tell one order once; gives the status, 0 when no answer came."""
        program = program or next(self._next)
        made = self._make(number)
        url = program.url + self.path + made.query
        try:
            within = aiohttp.ClientTimeout(total=self.waits)
            async with self._session.post(
                url, data=made.body, headers=made.headers, timeout=within
            ) as answer:
                if answer.status == 200:
                    [event] = (await answer.json())["events"]
                    self._ledger.acknowledge(f"order-{number:06d}", event["id"])
                    (self.known if event["duplicate"] else self.first).add(number)
                elif answer.status != 503 or not answer.headers.get("Retry-After"):
                    self.wrong.append(f"{answer.status}: {(await answer.text())[:200]}")
                self.answers[answer.status] += 1
                return answer.status
        except LOST:
            self.answers[0] += 1
            return 0

    async def insist(self, number: int | None = None) -> int:
        """Tell an order, a new one unless named, until it is acknowledged; gives its number."""
        number = self.fresh() if number is None else number
        async with asyncio.timeout(self.patience):
            while await self.tell(number) != 200:
                await asyncio.sleep(AGAIN)
        return number

    async def tells(self, program: Program) -> bool:
        """Whether a new order is acknowledged by this one."""
        return await self.tell(self.fresh(), program) == 200

    def fresh(self) -> int:
        """The number of an order that was not told yet."""
        return next(self._numbers)

    async def tell_all(self, numbers: Iterable[int], *, at_once: int = 20) -> None:
        """Tell these orders until each is acknowledged."""
        waiting = iter(numbers)

        async def work() -> None:
            for number in waiting:
                await self.insist(number)

        await asyncio.gather(*(work() for _ in range(at_once)))

    @asynccontextmanager
    async def busy(self, posters: int = 8, pause: float = 0.0) -> AsyncIterator[None]:
        """Tell one order after the other meanwhile; at the end finish those that were begun."""
        self._stopping = False

        async def work() -> None:
            while not self._stopping:
                await self.insist()
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(posters):
                group.create_task(work())
            try:
                yield
            finally:
                self._stopping = True

    async def acknowledges(self, more: int) -> None:
        """Wait until so many more orders are acknowledged."""
        goal = len(self._ledger.acknowledged) + more
        async with asyncio.timeout(self.patience):
            while len(self._ledger.acknowledged) < goal:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def providing(
    programs: Sequence[Program],
    sink_url: str,
    ledger: Ledger,
    instance: str = INSTANCE,
    make: Callable[[int], Delivery] = kiwify,
    **sink: Any,
) -> AsyncIterator[Provider]:
    """A provider of a shop whose events go to `sink_url`; the programs run, over one store. `make`:
    what it tells of each number.
    """
    await programs[0].webhook(instance, sink_url, **sink)
    shop = await programs[0].install("kiwify", instance, SECRET)
    provider = Provider(programs, shop["ingest_url"], ledger, make)
    try:
        for program in programs:
            await _knows(program, shop["ingest_url"])
        yield provider
    finally:
        await provider.close()


async def _knows(program: Program, ingest_url: str) -> None:
    """Wait until a program has heard of a shop that another was told of."""
    url = program.url + urlsplit(ingest_url).path
    async with asyncio.timeout(PATIENCE):
        while (await program.post(url, b"{}", JSON)).status == 404:
            await asyncio.sleep(AGAIN)
