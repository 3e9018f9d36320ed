"""Loops that must not die in silence, and errands."""

import asyncio

import pytest
from structlog.testing import capture_logs

from gateway import background
from gateway.background import Errands, forever
from tests.sinks.receiver import until


async def test_a_loop_that_fails_is_told_and_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.01)
    runs = 0

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("a bug")

    with capture_logs() as logs:
        await asyncio.wait_for(forever("polls", loop), 5)

    assert runs == 3
    assert [(line["event"], line["name"]) for line in logs] == [("background.failed", "polls")] * 2


async def test_a_loop_ends_when_it_is_cancelled() -> None:
    task = asyncio.create_task(forever("polls", lambda: asyncio.sleep(60)))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_errand_that_fails_is_told() -> None:
    errands = Errands()

    async def fail() -> None:
        raise RuntimeError("a bug")

    with capture_logs() as logs:
        errands.run("sink.disable", fail())
        await until(lambda: bool(logs))

    assert (logs[0]["event"], logs[0]["name"]) == ("errand.failed", "sink.disable")
    await errands.close()


async def test_closing_waits_as_long_as_it_is_told_and_then_cancels() -> None:
    errands, ended = Errands(), list[str]()

    async def run(name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            ended.append(name)
        except asyncio.CancelledError:
            ended.append(f"{name} cancelled")
            raise

    errands.run("short", run("short", 0.05))
    errands.run("long", run("long", 60))

    await asyncio.wait_for(errands.close(0.5), 5)

    assert ended == ["short", "long cancelled"]
    await errands.close()
