"""`python -m tests.bench.backlog [--count 1000000] [--engine sqlite|postgres]`: how the program
starts with so many deliveries that wait, and what memory it takes while it sends them.

Half of the sinks answer at once, half never do. Every delivery has an event of its own.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from gateway.ids import Ulids
from gateway.store import open_store
from gateway.store.base import Store
from gateway.store.sqlite import SqliteStore
from tests.bench.scene import Cost
from tests.e2e.program import Program, program
from tests.services import Postgres, fresh_database
from tests.sinks.given import wall_clock
from tests.sinks.receiver import Got, receiving

SINKS = 10
SLICE = 20_000
DATA = b'{"order":{"id":"1","items":[%s]}}' % b",".join([b'{"sku":"A-1","quantity":"1"}'] * 15)
EVENTS = """
WITH RECURSIVE n (i) AS (
    SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($2 AS BIGINT))
INSERT INTO events (seq, id, tenant, instance, driver, name, key, dedupe_key, occurred_at,
    received_at, provider_event, version, test, superseded, data)
SELECT i, CAST($3 AS TEXT) || CAST(i AS TEXT), 'default', 'loja-' || CAST(i % {sinks} AS TEXT),
    'kiwify', 'order.paid', 'o' || CAST(i AS TEXT), 'o' || CAST(i AS TEXT), CAST($4 AS BIGINT),
    CAST($5 AS BIGINT), 'paid', 1, 0, 0, CAST($6 AS {bytes})
FROM n RETURNING 0"""
DELIVERIES = """
WITH RECURSIVE n (i) AS (
    SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($2 AS BIGINT))
INSERT INTO deliveries (id, seq, sink_id, tenant, instance, state, next_at, created_at, updated_at)
SELECT CAST($3 AS TEXT) || CAST(i AS TEXT), i, CAST($4 AS TEXT), 'default', CAST($5 AS TEXT),
    'pending', CAST($6 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS BIGINT)
FROM n WHERE i % {sinks} = CAST($9 AS BIGINT) RETURNING 0"""


async def fill(store: Store, sinks: list[str], count: int) -> None:
    """So many events, each with one delivery that is due, spread over the sinks."""
    database, start = store.database, Ulids(wall_clock, bytes)()[:16]
    kind = "BLOB" if isinstance(store, SqliteStore) else "BYTEA"
    events = EVENTS.replace("{sinks}", str(len(sinks))).replace("{bytes}", kind)
    deliveries = DELIVERIES.replace("{sinks}", str(len(sinks)))
    for first in range(1, count + 1, SLICE):
        last, now = min(first + SLICE - 1, count), wall_clock() - 60_000_000
        await database.write(events, first, last, start, now, now, DATA)
        for number, sink in enumerate(sinks):
            place = (sink, f"loja-{number}", now, now, now, number)
            await database.write(deliveries, first, last, start, *place)


async def measure(
    folder: Path, count: int, seconds: float, store_url: str = ""
) -> dict[str, float]:
    """Start-up (seconds), memory (MB) and what was sent within `seconds` of it."""
    environ = {"STORE": store_url} if store_url else {}
    hung: list[asyncio.Event] = []

    async def hang(_: Got) -> web.StreamResponse:
        hung.append(asyncio.Event())
        await hung[-1].wait()
        return web.Response()

    async with (
        program(folder, **environ) as gateway,
        receiving() as well,
        receiving() as hanging,
    ):
        hanging.answer = hang
        await gateway.start()
        sinks = [
            await gateway.webhook(f"loja-{n}", (well if n % 2 else hanging).url)
            for n in range(SINKS)
        ]
        empty = Cost(gateway).rss_mb()
        await gateway.end()
        store = await open_store(_url(gateway, store_url), node="fill", lease_seconds=30)
        ids = [await _sink_id(store, n) for n in range(len(sinks))]
        await fill(store, ids, count)
        await store.close()
        began = time.perf_counter()
        await gateway.start()
        started = time.perf_counter() - began
        memory = await _watch(gateway, seconds)
        sent = len(well.got)
        for event in hung:
            event.set()
    return {
        "deliveries": count,
        "start_seconds": round(started, 2),
        "rss_empty_mb": round(empty, 1),
        "rss_most_mb": round(memory, 1),
        "sent": sent,
        "sent_per_second": round(sent / seconds),
    }


async def _watch(gateway: Program, seconds: float) -> float:
    """The most memory it had."""
    most, end, cost = 0.0, time.perf_counter() + seconds, Cost(gateway)
    while time.perf_counter() < end:
        most = max(most, cost.rss_mb())
        await asyncio.sleep(0.1)
    return most


async def _sink_id(store: Store, number: int) -> str:
    sql = "SELECT id FROM records WHERE kind = 'sink' AND name = $1"
    found = await store.database.fetch(sql, f"webhook/loja-{number}/default")
    return str(found[0][0])


def _url(gateway: Program, store_url: str) -> str:
    return store_url or f"sqlite:///{gateway.folder}/data/comporta.db"


@asynccontextmanager
async def a_store(engine: str) -> AsyncIterator[str]:
    """The URL of an empty store; empty for the embedded one."""
    if engine == "sqlite":
        yield ""
        return
    server = Postgres()
    server.start()
    try:
        async with fresh_database(server.url) as url:
            yield url
    finally:
        server.close()


async def run(engine: str, count: int, seconds: float) -> dict[str, float]:
    async with a_store(engine) as url:
        with tempfile.TemporaryDirectory() as folder:
            return await measure(Path(folder), count, seconds, url)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--engine", choices=["sqlite", "postgres"])
    wish = parser.parse_args()
    for engine in [wish.engine] if wish.engine else ["sqlite", "postgres"]:
        found = asyncio.run(run(engine, wish.count, wish.seconds))
        print(json.dumps({"engine": engine} | found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
