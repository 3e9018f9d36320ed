"""Deliveries done again, or never, by hand."""

import pytest

from gateway.store import redo
from gateway.store.base import Store
from gateway.store.history import History
from tests.store.rows import Maker, claim_all, delivered, failed

TENANT = "default"


@pytest.fixture
def history(store: Store) -> History:
    return History(store.database)


async def test_a_retry_starts_anew_and_fences(store: Store, history: History, make: Maker) -> None:
    await store.log.append(make.sent("a"))
    [leased] = await claim_all(store.log, "a")
    assert not await redo.retry(store.database, TENANT, leased.id)  # it is being sent
    await store.log.settle([failed(leased, "dead")])
    assert not await redo.retry(store.database, "other", leased.id)
    assert await redo.retry(store.database, TENANT, leased.id)

    [again] = await claim_all(store.log, "a")
    assert (again.id, again.replay, again.attempts) == (leased.id, 1, 0)
    assert again.token > leased.token + 1
    assert await store.log.settle([delivered(leased)]) == {leased.id}
    got = await history.delivery(TENANT, leased.id)
    assert got
    assert got[0].progress == "delivering"


async def test_a_canceled_delivery_lets_the_next_go(store: Store, make: Maker) -> None:
    for _ in range(2):
        await store.log.append(make.sent("a", ordered=True, key="k"))
    [head] = await claim_all(store.log, "a", ordered=True)
    await store.log.settle([failed(head)])
    assert await claim_all(store.log, "a", ordered=True) == []
    assert await redo.cancel(store.database, TENANT, head.id)
    assert not await redo.cancel(store.database, TENANT, head.id)
    [follower] = await claim_all(store.log, "a", ordered=True)
    assert follower.id != head.id


async def test_a_replay_is_a_delivery_of_its_own(
    store: Store, history: History, make: Maker
) -> None:
    item = make.sent("a")
    await store.log.append(item)
    await store.log.settle([delivered(one) for one in await claim_all(store.log, "a")])
    row = await history.event(TENANT, item.events[0].id)
    assert row
    made = await redo.replay(store.database, row.event, [("a", False), ("b", True)], make.ids)

    again = await claim_all(store.log, "a", "b")
    assert {one.id for one in again} == set(made)
    assert all(one.replay == 1 and one.event == row.event for one in again)
