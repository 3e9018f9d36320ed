"""Deadlines: none comes early, many come one after the other, an answer that is there counts."""

import asyncio
import socket
import threading
from contextlib import suppress
from itertools import pairwise

import pytest

from gateway.deadlines import APART, MOST_LATE, Alarm, Deadlines
from gateway.egress import Egress
from schemas.target import AllowList
from sinks.base import HttpError
from tests.gateway.talk import LOOPBACK, OK, saying
from tests.sinks.receiver import talking, until

MANY = 50


async def test_many_that_end_at_once_end_one_after_the_other() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    ended: list[float] = []

    async def hang() -> None:
        scope = asyncio.timeout(None)
        with suppress(TimeoutError):
            async with scope:
                deadlines.begin(scope, 0.05)
                await loop.create_future()
        ended.append(scope.when() or 0.0)

    began = loop.time()
    await asyncio.gather(*(hang() for _ in range(MANY)))

    assert len(ended) == MANY
    assert ended[0] - began >= 0.05
    assert all(later - earlier >= APART * 0.99 for earlier, later in pairwise(ended))


async def test_an_answer_that_came_while_the_process_stood_still_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after SIGSTOP, or a machine that slept: its deadline has passed, its answer is there."""
    loop = asyncio.get_running_loop()
    asked, slept, answered = asyncio.Event(), threading.Event(), threading.Event()

    def serve(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(65_536)
            loop.call_soon_threadsafe(asked.set)
            slept.wait(20)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            answered.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        async with Egress(allow=AllowList.parse(["127.0.0.0/8"])) as egress:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            asking = asyncio.create_task(egress.request("POST", url, headers={}, timeout=30))
            await asked.wait()
            now = loop.time
            monkeypatch.setattr(loop, "time", lambda: now() + 60)
            slept.set()
            thread.join(20)  # while the loop stands still
            assert answered.is_set()

            answer = await asking

    assert answer.body == b"ok"


async def test_each_request_on_a_connection_has_its_own_deadline() -> None:
    loop = asyncio.get_running_loop()
    async with (
        talking(saying(OK)) as port,
        Egress(allow=LOOPBACK) as egress,
    ):
        url = f"http://127.0.0.1:{port}/"
        await egress.request("POST", url, headers={}, timeout=30)
        began = loop.time()
        async with asyncio.timeout(20):
            with pytest.raises(HttpError, match="no complete answer") as caught:
                await egress.request("POST", url, headers={}, timeout=0.2)
    assert caught.value.kind == "timeout"
    assert loop.time() - began >= 0.19  # a loop's clock counts whole milliseconds


async def test_an_alarm_that_was_moved_or_cleared_does_not_ring() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    rung: list[float] = []
    alarm = Alarm(lambda: rung.append(loop.time()))
    alarm.set(deadlines, loop.time() + 0.01)
    alarm.clear()
    cleared = Alarm(lambda: rung.append(0.0))
    cleared.set(deadlines, loop.time() + 0.02)
    cleared.cancel()
    due = loop.time() + 0.1
    alarm.set(deadlines, due)
    await until(lambda: bool(rung))
    assert len(rung) == 1
    assert rung[0] >= due


async def test_a_request_begun_while_the_last_ones_end_is_due_is_left_alone() -> None:
    """Between a deadline and its end an answer may come, and the next request go out."""
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    rung: list[float] = []
    alarm = Alarm(lambda: rung.append(loop.time()))
    alarm.set(deadlines, loop.time())
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it has rung, and waits for its turn
    alarm.clear()
    due = loop.time() + 0.1
    alarm.set(deadlines, due)
    await until(lambda: bool(rung))
    assert rung[0] >= due


async def test_however_many_end_at_once_none_is_held_up_for_long() -> None:
    deadlines = Deadlines()
    latest = max(deadlines.turn() for _ in range(10_000))
    assert latest <= asyncio.get_running_loop().time() + MOST_LATE
