"""A receiver that keeps a record of its own, and misbehaves as it is told."""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.faults.ledger import Arrival
from tests.sinks.receiver import Receiver

ORDER = re.compile(rb"order-\d+")
KEY = re.compile(rb"key-\d+")
SEQ = re.compile(rb'"seq":(\d+)')

Behaviour = Callable[[Arrival], Awaitable[int]]


async def take(_: Arrival) -> int:
    """What a receiver does that is well."""
    return 200


class Witness(Receiver):
    """Records every copy that it answers with 2xx (and only those) in the order of their coming.

    `behave` decides the status; what it refuses is counted in `refused`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[Arrival] = []
        self.ids: set[str] = set()
        self.refused = 0
        self.behave: Behaviour = take

    def _take(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        self.ids.add(arrival.event_id)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        order, key, seq = ORDER.search(body), KEY.search(body), SEQ.search(body)
        arrival = Arrival(
            order=order.group().decode() if order else "",
            event_id=request.headers["webhook-id"],
            at=time.monotonic(),
            seq=int(seq.group(1)) if seq else 0,
            key=key.group().decode() if key else "",
        )
        status = await self.behave(arrival)
        if status < 300:
            self._take(arrival)
        else:
            self.refused += 1
        return web.Response(status=status)


@asynccontextmanager
async def witnessing() -> AsyncIterator[Witness]:
    witness = Witness()
    await witness.start()
    try:
        yield witness
    finally:
        await witness.stop()
