"""When ingress refuses, and what readiness says."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway import pressure as module
from gateway.pressure import Pressure
from gateway.store.base import Store
from schemas.errors import UnavailableError
from tests.gateway.pipeline import Pipeline, pipeline
from tests.sinks.receiver import until


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


def a_pressure(line: Pipeline, most: int = 5, disk: Path | None = None) -> Pressure:
    return Pressure(line.store, line.dispatcher, max_backlog=most, disk=disk)


async def test_a_backlog_beyond_the_limit_is_refused_until_it_is_gone(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        await line.sink(url="http://127.0.0.1:9/", ordered=True)
        pressure = a_pressure(line)
        await line.emit(5)
        assert await pressure.find_trouble() is None

        await line.emit(1)

        assert await pressure.find_trouble() == "the backlog is full"
        assert pressure.backlog == 6


async def test_what_waits_for_a_reason_does_not_count(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        await line.sink(url="http://127.0.0.1:9/", enabled=False)
        await line.emit(20)
        pressure = a_pressure(line)

        assert await pressure.find_trouble() is None
        assert pressure.backlog == 0


async def test_the_view_is_kept_fresh_and_asked_for_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.02)
    async with pipeline(tmp_path, start=False) as line:
        await line.sink(url="http://127.0.0.1:9/", ordered=True)
        pressure = a_pressure(line, most=1)
        pressure.check(lambda: 0.0)
        watch = asyncio.create_task(pressure.watch())
        await line.emit(2)

        await until(lambda: pressure.backlog == 2)
        watch.cancel()

        with pytest.raises(UnavailableError, match="the backlog is full") as caught:
            pressure.check(lambda: 0.5)
        assert caught.value.retry_after == 10


@pytest.mark.parametrize(
    ("total", "free", "trouble"),
    [
        (10**12, 300 * 1024**2, None),
        (10**12, 200 * 1024**2, "the disk is almost full"),
        (1000**3, 30 * 1000**2, None),  # a small disk may be fuller
        (1000**3, 10 * 1000**2, "the disk is almost full"),
    ],
)
async def test_a_disk_that_is_almost_full_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, trouble: str | None
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(total, total - free, free))
    async with pipeline(tmp_path, start=False) as line:
        pressure = a_pressure(line, disk=tmp_path)

        assert await pressure.find_trouble() == trouble
        assert await pressure.find_unready() == trouble


async def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        pressure = a_pressure(line, disk=tmp_path / "nowhere")

        assert "does not answer" in str(await pressure.find_trouble())


async def test_a_store_that_is_closed_is_told(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        await line.store.close()
        pressure = a_pressure(line)

        assert await pressure.find_unready() is not None
        assert await pressure.find_trouble() == "the store does not answer"


async def test_a_full_backlog_is_no_reason_to_be_taken_out(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        await line.sink(url="http://127.0.0.1:9/", ordered=True)
        await line.emit(3)

        assert await a_pressure(line, most=1).find_unready() is None


async def test_draining_refuses_at_once(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        pressure = a_pressure(line)
        pressure.draining = True

        assert await pressure.find_unready() == "shutting down"
        with pytest.raises(UnavailableError, match="shutting down"):
            pressure.check(lambda: 0.0)


async def test_however_many_ask_the_store_is_looked_at_once(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        looks = Counting(line.store)
        pressure = Pressure(looks, line.dispatcher, max_backlog=5, disk=None)  # type: ignore[arg-type]  # all it asks

        answers = await asyncio.gather(*(pressure.find_unready() for _ in range(50)))
        await pressure.find_unready()

        assert set(answers) == {None}
        assert looks.count == 1


async def test_who_gives_up_waiting_does_not_stop_the_look_for_others(tmp_path: Path) -> None:
    async with pipeline(tmp_path, start=False) as line:
        looks = Counting(line.store)
        pressure = Pressure(looks, line.dispatcher, max_backlog=5, disk=None)  # type: ignore[arg-type]  # all it asks
        impatient = asyncio.create_task(pressure.find_unready())
        patient = asyncio.create_task(pressure.find_unready())
        await asyncio.sleep(0)

        impatient.cancel()

        assert await patient is None


class Counting:
    """A store that counts how often it is checked."""

    def __init__(self, store: Store) -> None:
        self._store, self.log, self.count = store, store.log, 0

    async def check(self) -> None:
        self.count += 1
        await self._store.check()
