"""What the dispatcher makes of sinks that change, break, go and come back."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway import dispatch
from gateway.lane import Lane
from sinks import open_sink
from tests.gateway.far_side import FarSide
from tests.gateway.pipeline import Pipeline, answering, ids, pipeline, reaches
from tests.sinks.receiver import Receiver, until


async def test_a_disabled_sink_holds_its_deliveries_until_it_is_enabled(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, enabled=False)
        told = await line.emit(5)
        assert await line.states() == {"pending": 5}
        assert line.dispatcher.held() == {"sink-1"}

        await line.sink(enabled=True)

        await reaches(line, succeeded=5)
        assert sorted(ids(receiver)) == sorted(told)


async def test_disabling_takes_back_what_waits_in_memory(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = answering(200, 0.3)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, concurrency=2)
        await line.emit(10)
        await until(lambda: len(receiver.got) == 2)

        await line.sink(enabled=False)

        await reaches(line, succeeded=2, pending=8)
        assert len(receiver.got) == 2


async def test_a_removed_sink_leaves_nothing_waiting(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LOOK_AGAIN", 0.2)
    receiver.answer = answering(500, 0.3)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, concurrency=2)
        await line.emit(6)
        await until(lambda: len(receiver.got) == 2)

        await line.directory.remove("sink", "sink-1")

        # Those in flight fail, and come back to a sink that is no more.
        await reaches(line, canceled=6)


async def test_a_sink_this_process_has_not_heard_of_loses_nothing(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, enabled=False)
        await line.emit(3)
        await line.sink(enabled=True)
        line.directory._forget("sink", "sink-1")  # as if the hint had been lost
        line.dispatcher.wake()

        await reaches(line, succeeded=3)


async def test_gone_switches_a_sink_off_once_and_holds_the_rest(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = answering(410)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, concurrency=1)
        await line.emit(10)

        await until(lambda: not _enabled(line))
        await reaches(line, pending=10)
        assert len(receiver.got) == 1

        receiver.answer = answering(200)
        await line.sink(enabled=True)
        await reaches(line, succeeded=10)


def _enabled(line: Pipeline) -> bool:
    config = line.directory.sink("sink-1")
    return config is not None and config.enabled


async def test_what_the_old_address_said_does_not_switch_off_the_new_one(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    receiver.answer = answering(410, 0.3)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url)
        told = await line.emit()
        await until(lambda: len(receiver.got) == 1)

        await line.sink(url=other.url)

        await reaches(line, succeeded=1)
        assert _enabled(line)
        assert ids(other) == told


async def test_a_sink_that_cannot_be_opened_stops_nobody_else(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def try_to_open(config: Any, context: Any) -> Any:
        tries.append(config.id)
        if config.name == "broken":
            raise RuntimeError("no such library")
        return open_sink(config, context)

    monkeypatch.setattr(dispatch, "open_sink", try_to_open)
    async with pipeline(tmp_path) as line:
        await line.sink(1, url=receiver.url, name="broken")
        await line.sink(2, url=receiver.url)
        await line.emit(20)
        await reaches(line, succeeded=20, pending=20)
        assert tries.count("sink-1") == 1  # and is not tried again with every event
        assert line.dispatcher.held() == {"sink-1"}

        await line.sink(1, name="mended")

        await reaches(line, succeeded=40)


async def test_a_slow_sink_is_bounded_in_memory_and_costs_the_others_nothing(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = FarSide(parallel=2)
    far.gate.clear()
    monkeypatch.setattr(
        dispatch, "open_sink", lambda c, x: far if c.id == "sink-1" else open_sink(c, x)
    )
    async with pipeline(tmp_path) as line:
        await line.sink(1, url=receiver.url)
        await line.sink(2, url=receiver.url)
        await line.emit(300)
        await until(lambda: len(receiver.got) == 300)
        slow = line.dispatcher.lane("sink-1")
        assert isinstance(slow, Lane)
        assert slow.load == slow.bound < 300

        far.gate.set()

        await reaches(line, succeeded=600)
        assert sorted(far.got) == sorted(set(far.got))


async def test_when_a_sink_is_back_what_was_put_off_does_not_wait(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = answering(500)
    async with pipeline(tmp_path, schedule=(3600.0,) * 3) as line:
        await line.sink(url=receiver.url)
        await line.emit(30)
        lane = line.dispatcher.lane("sink-1")
        assert lane is not None
        await until(lambda: lane.breaker.state == "open")

        receiver.answer = answering(200)

        await reaches(line, succeeded=30)


async def test_what_follows_one_that_was_given_up_says_so_to_its_receiver(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = lambda _: web.Response(status=500 if len(receiver.got) == 1 else 200)
    async with pipeline(tmp_path) as line:
        await line.sink(url=receiver.url, ordered=True, retry=())
        await line.emit(key="order-1")
        await reaches(line, dead=1)
        await line.emit(key="order-1")
        await line.emit(key="order-2")

        await reaches(line, dead=1, succeeded=2)

        told = [json.loads(got.body).get("gap", False) for got in receiver.got]
        assert told == [False, True, False]


async def test_processes_share_the_rate_of_a_sink(tmp_path: Path, receiver: Receiver) -> None:
    async with pipeline(tmp_path, lease_seconds=0.3) as line:
        await line.sink(1, url=receiver.url, rate_limit=30.0)
        await line.emit()
        await reaches(line, succeeded=1)
        await line.store.database.write(
            "INSERT INTO nodes (id, seen_at, lease_seconds) VALUES ('another', $1, 60.0)",
            1 << 60,
        )

        await until(lambda: _rate(line, 1) == 15.0)
        await line.sink(2, url=receiver.url, rate_limit=10.0)
        await line.emit()

        await until(lambda: _rate(line, 2) == 5.0)


def _rate(line: Pipeline, number: int) -> float | None:
    lane = line.dispatcher.lane(f"sink-{number}")
    return lane._pace.rate if lane is not None and lane._pace is not None else None
