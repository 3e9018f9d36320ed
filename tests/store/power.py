"""A power cut while a store is written to: what is gone, and whether the rest is sound."""

import asyncio
import random
from pathlib import Path
from typing import Any

import apsw

from gateway.store.base import Append, Store
from gateway.store.sqlite import SqliteStore, Tuning, open_sqlite
from tests.store.disks import Disk
from tests.store.rows import Maker, attempt, count, delivered

CALLERS = 20
LONG = 1_000_000  # pages; a log that is never copied back


async def opened(path: Path, **tuning: Any) -> SqliteStore:
    return await open_sqlite(path, node="a", lease_seconds=10, tuning=Tuning(**tuning))


async def acknowledged(store: Store, make: Maker, enough: int) -> list[Append]:
    """Append from many callers, settle what was sent; stop when enough were acknowledged."""
    acked: list[Append] = []

    async def caller() -> None:
        while len(acked) < enough:
            item = make.sent("sink-a", data=random.Random(len(acked)).randbytes(3000))
            await store.log.append(item)
            acked.append(item)
            await store.log.settle(
                [delivered(one, attempt=attempt()) for one in await store.log.claim({"sink-a": 2})]
            )

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)
    for task in callers:
        task.cancel()
    return list(acked)


async def lost_at_a_power_cut(
    disk: Disk, folder: Path, make: Maker, appends: int, chance: random.Random | None, **tuning: Any
) -> int:
    """How many acknowledged appends are gone afterwards. What is left must be sound."""
    store = await opened(folder / "before.db", vfs=disk.name, **tuning)
    acked = await acknowledged(store, make, appends)
    disk.cut(folder / "after", chance)
    await store.close()

    left = folder / "after" / "before.db"
    connection = apsw.Connection(str(left))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    survivor = await opened(left)
    here = {ident for (ident,) in await survivor.database.fetch("SELECT id FROM inbounds")}
    events = {ident for (ident,) in await survivor.database.fetch("SELECT id FROM events")}
    # Whole or not at all: no inbound without its event and delivery.
    assert len(here) == len(events) == await count(survivor, "deliveries")
    await survivor.close()
    assert len(acked) >= appends
    return len({item.inbound.id for item in acked if item.inbound} - here)
