"""What waits for PostgreSQL is bounded: in number, in bytes, and in time."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.store.postgres.group_commit import GroupCommit, Limits
from schemas.errors import StoreUnavailableError


class Database:
    """Commits nothing until it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()

    async def write(self, items: Sequence[int]) -> Sequence[int]:
        await self.let.wait()
        return items


def a_group(database: Database, **limits: Any) -> GroupCommit[int, int]:
    return GroupCommit(database.write, Limits(**limits), lambda *_: None)


async def test_a_database_that_stands_still_refuses_the_next() -> None:
    database = Database()
    group = a_group(database, batch=1, waiting_seconds=0.05)
    waiting = [group.submit(number, 1) for number in range(3)]

    refused = False
    async with asyncio.timeout(5):
        while not refused:
            await asyncio.sleep(0.01)
            try:
                waiting.append(group.submit(9, 1))
            except StoreUnavailableError as error:
                refused = "too long" in error.message
    database.let.set()

    assert (await asyncio.gather(*waiting))[:3] == [0, 1, 2]
    assert await group.submit(4, 1) == 4


async def test_results_are_never_refused() -> None:
    database = Database()
    group: GroupCommit[int, int] = GroupCommit(
        database.write, Limits(batch=1, waiting=None, waiting_seconds=0.0), lambda *_: None
    )
    waiting = [group.submit(number, 1) for number in range(3)]
    await asyncio.sleep(0.01)

    waiting.append(group.submit(3, 1))
    database.let.set()

    assert await asyncio.gather(*waiting) == [0, 1, 2, 3]


@pytest.mark.parametrize("limits", [{"waiting": 2}, {"waiting_bytes": 20}])
async def test_what_waits_is_bounded(limits: dict[str, int]) -> None:
    database = Database()
    group = a_group(database, batch=1, **limits)
    waiting = [group.submit(0, 1)]
    await asyncio.sleep(0)  # that one is being committed
    waiting += [group.submit(number, 10) for number in (1, 2)]

    with pytest.raises(StoreUnavailableError, match="2 writes"):
        group.submit(3, 10)
    database.let.set()

    assert await asyncio.gather(*waiting) == [0, 1, 2]


async def test_what_comes_just_after_a_commit_goes_together() -> None:
    database, sizes = Database(), list[float]()
    group: GroupCommit[int, int] = GroupCommit(
        database.write,
        Limits(linger=0.2),
        lambda name, value: sizes.append(value) if name == "batch_size" else None,
    )
    first = group.submit(0, 1)
    await asyncio.sleep(0)  # that one is being committed
    second = group.submit(1, 1)
    database.let.set()
    await first
    third = group.submit(2, 1)

    assert [await second, await third] == [1, 2]
    assert sizes == [1, 2]
