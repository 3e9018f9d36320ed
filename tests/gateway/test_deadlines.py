"""Deadlines: none comes early, many come one after the other, an answer that is there counts."""

import asyncio
import socket
import threading

import pytest

from gateway.deadlines import APART, Deadlines
from gateway.egress import Egress
from schemas.target import AllowList

MANY = 50


async def test_many_that_end_at_once_end_one_after_the_other() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    ended: list[float] = []

    async def hang() -> None:
        try:
            async with asyncio.timeout(None) as scope:
                deadlines.begin(scope, 0.05)
                await loop.create_future()
        except TimeoutError:
            ended.append(loop.time())

    began = loop.time()
    await asyncio.gather(*(hang() for _ in range(MANY)))

    assert len(ended) == MANY
    assert ended[0] - began >= 0.05
    assert ended[-1] - ended[0] >= (MANY - 2) * APART


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
