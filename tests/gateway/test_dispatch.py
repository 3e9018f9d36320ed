"""From the committed delivery to the receiver and back, on a real store over real HTTP."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest
from aiohttp import web

from gateway import dispatch
from gateway.store.base import Lease, Leased, Settlement
from gateway.store.sqlite.connection import Tuning
from tests.gateway.pipeline import answering, ids, pipeline, reaches
from tests.sinks.receiver import Receiver, receiving, until

LEASES = "SELECT id, token FROM deliveries WHERE state = 'leased'"


@contextmanager
def busy(database: Path) -> Iterator[Callable[[], object]]:
    """Another writer holds the database, until what this gives is called."""
    with closing(apsw.Connection(str(database))) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        yield partial(intruder.execute, "ROLLBACK")


async def test_what_is_stored_is_sent_at_once_and_settled(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url)

        told = await line.emit(20)
        await reaches(line, succeeded=20)

        assert sorted(ids(receiver)) == sorted(told)
        assert set(line.observed) == {("webhook", "succeeded")}


async def test_a_failure_is_tried_again_until_the_schedule_ends(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = answering(500)
    async with pipeline(tmp_path, schedule=(0.01, 0.02)) as line:
        await line.sink(url=receiver.url)

        (told,) = await line.emit()
        await reaches(line, dead=1)

        assert ids(receiver) == [told] * 3
        assert [(number, status) for _, number, _, status in await line.attempts()] == [
            (1, 500),
            (2, 500),
            (3, 500),
        ]


async def test_a_sinks_own_schedule_wins(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = answering(500)
    async with pipeline(tmp_path, schedule=(3600.0,)) as line:
        await line.sink(url=receiver.url, retry=(0.01,))

        await line.emit()
        await reaches(line, dead=1)

        assert len(receiver.got) == 2


async def test_stopping_settles_everything_that_was_in_flight(tmp_path: Path) -> None:
    async with pipeline(tmp_path) as line, receiving() as quick, receiving() as slow:
        quick.answer, slow.answer = answering(200, 0.05), answering(200, 0.6)
        await line.sink(1, url=quick.url)
        await line.sink(2, url=slow.url)
        await line.emit(8)
        await until(lambda: len(quick.got) == len(slow.got) == 8)

        await line.dispatcher.stop(10)

        assert await line.states() == {"succeeded": 16}


async def test_stopping_gives_back_what_takes_too_long(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = answering(200, 30)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url)
        await line.emit(50)
        await until(lambda: len(receiver.got) > 0)
        began = time.monotonic()

        await line.dispatcher.stop(0.2)

        assert time.monotonic() - began < 5
        assert await line.states() == {"pending": 50}
        assert await line.attempts() == []  # no try was counted


async def test_stopping_does_not_wait_for_a_lane_that_was_replaced(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = answering(200, 60)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url)
        await line.emit()
        await until(lambda: len(receiver.got) == 1)
        await line.sink(url=receiver.url, enabled=False)
        began = time.monotonic()

        await line.dispatcher.stop(0.2)

        assert time.monotonic() - began < 5
        assert await line.states() == {"pending": 1}


async def test_what_comes_after_the_stop_is_left_to_others(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url)
        await line.dispatcher.stop(1)

        await line.emit(3)

        assert await line.states() == {"pending": 3}


async def test_what_was_stored_with_a_lease_before_the_stop_is_not_begun_after_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, enabled=False)
        await line.emit(3)
        claimed = await line.store.log.claim({"sink-1": 3})
        await line.sink(enabled=True)
        await line.dispatcher.stop(1)

        line.dispatcher.offer(claimed)

        assert line.dispatcher.load == 0
    async with pipeline(tmp_path, start=False) as line:  # closing the store gave them back
        assert await line.states() == {"pending": 3}
    assert receiver.got == []


async def test_a_stop_while_the_store_is_busy_waits_for_the_last_results(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path, tuning=Tuning(busy_seconds=0.1)) as line:
        await line.sink(url=receiver.url)
        receiver.answer = answering(200, 0.1)
        await line.emit(8)
        with busy(line.path) as leave:
            asyncio.get_running_loop().call_later(1.0, leave)

            await line.dispatcher.stop(5)

            assert await line.states() == {"succeeded": 8}


async def test_a_store_that_is_busy_delays_results_and_loses_none(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path, tuning=Tuning(busy_seconds=0.1)) as line:
        await line.sink(url=receiver.url)
        receiver.answer = answering(200, 0.2)
        await line.emit(8)
        with busy(line.path) as leave:
            await until(lambda: len(line.observed) == 8)
            await asyncio.sleep(0.5)  # as long as the store is away; nothing is waited for
            assert await line.states() == {"leased": 8}
            leave()

        await reaches(line, succeeded=8)
        assert len(receiver.got) == 8


async def test_a_result_that_cannot_be_written_holds_up_no_other(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url)
        write, poison = line.store.log.settle, await line.emit()
        await reaches(line, succeeded=1)
        receiver.got.clear()

        async def choke(items: list[Settlement]) -> frozenset[str]:
            if any(item.attempt and item.attempt.status == 299 for item in items):
                raise ValueError("indigestible")
            return await write(items)

        monkeypatch.setattr(line.store.log, "settle", choke)
        receiver.answer = lambda got: web.Response(status=299 if len(receiver.got) == 3 else 200)
        await line.emit(10)

        await reaches(line, succeeded=11)
        assert poison[0] not in ids(receiver)
        statuses = [status for *_, status in await line.attempts()]
        assert (statuses.count(200), statuses.count(299)) == (10, 0)


@pytest.mark.parametrize("count", [12])
async def test_ordered_events_follow_each_other_without_waiting_for_the_poll(
    tmp_path: Path, receiver: Receiver, count: int
) -> None:
    receiver.answer = answering(200, 0.05)  # longer than the pause between two claims
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, ordered=True)
        began = time.monotonic()

        told = await line.emit(count, key="one-order")
        await reaches(line, succeeded=count)

        assert ids(receiver) == told
        assert time.monotonic() - began < count * dispatch.IDLE_POLL / 3


async def test_order_is_kept_across_retries_while_other_keys_go_on(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path, schedule=(0.3,) * 5) as line:
        await line.sink(url=receiver.url, ordered=True)
        first = await line.emit(1, key="a")
        receiver.answer = lambda got: web.Response(
            status=500
            if ids(receiver).count(first[0]) == 1 and ids(receiver)[-1] == first[0]
            else 200
        )
        rest, others = await line.emit(3, key="a"), await line.emit(3, key="b")
        await reaches(line, succeeded=7)

        delivered = ids(receiver)
        assert [i for i in delivered if i in {*first, *rest}][-4:] == [*first, *rest]
        assert delivered.index(others[2]) < delivered.index(rest[0])


async def test_a_lost_lease_is_found_and_used(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the connection broke between a claim's commit and its answer."""
    monkeypatch.setattr(dispatch, "STRAY_SECONDS", 0.2)
    async with pipeline(tmp_path, start=False, lease_seconds=0.3) as line:
        await line.sink(url=receiver.url, enabled=False)
        await line.emit(4)
        assert len(await line.store.log.claim({"sink-1": 4})) == 4
        await line.sink(enabled=True)

        line.dispatcher.start()

        await reaches(line, succeeded=4)
        assert len(receiver.got) == 4


async def test_a_claim_on_its_way_is_no_lost_lease_though_the_clock_is_set(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its commit and its answer, it looks old to whoever asks by the clock as it was."""
    committed, looked = asyncio.Event(), asyncio.Event()

    async def looks_old_once(_: float) -> list[Lease]:
        if not committed.is_set() or looked.is_set():
            return []
        rows = await line.store.database.fetch(LEASES)
        looked.set()
        return [(row[0], row[1]) for row in rows]

    async with pipeline(tmp_path, lease_seconds=0.3, leased_for=looks_old_once) as line:
        claim = line.store.log.claim

        async def answered_late(*args: Any, **more: Any) -> list[Leased]:
            claimed = await claim(*args, **more)
            if claimed:
                committed.set()
                await asyncio.wait_for(looked.wait(), 20)
            return claimed

        monkeypatch.setattr(line.store.log, "claim", answered_late)
        await line.sink(url=receiver.url, enabled=False)
        told = await line.emit(4)
        await line.sink(enabled=True)

        await reaches(line, succeeded=4)
        assert sorted(ids(receiver)) == sorted(told)


async def test_a_slow_delivery_is_no_lost_lease(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "STRAY_SECONDS", 0.1)
    receiver.answer = answering(200, 1.0)
    async with pipeline(tmp_path, lease_seconds=0.3) as line:
        await line.sink(url=receiver.url, concurrency=1)
        await line.emit(2)

        await reaches(line, succeeded=2)
        assert len(receiver.got) == 2


async def test_a_process_that_died_leaves_its_deliveries_to_the_next(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = answering(200, 60)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url)
        told = await line.emit(3)
        await until(lambda: len(receiver.got) == 3)
        receiver.answer = answering(200)
        receiver.got.clear()
        neighbour = line.store.as_node("another")  # type: ignore[attr-defined]  # of SQLite's alone
        await neighbour.heartbeat()
        await line.store.database.write("DELETE FROM nodes WHERE id <> $1 RETURNING id", "another")

        assert await neighbour.heartbeat() == 3
        claimed = await neighbour.claim({"sink-1": 10})

        assert sorted(item.event.id for item in claimed) == sorted(told)
