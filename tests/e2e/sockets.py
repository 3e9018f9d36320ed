"""Clients of the websocket endpoint, who remember what they were sent."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import WSMsgType

from tests.e2e.program import KEY, Program
from tests.sinks.receiver import until


class Listener:
    """One connection. `frames`: every frame so far, parsed. `code`, `reason`: how it was closed."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[Any] = []
        self.code: int | None = None
        self.reason: str | None = None

    @property
    def ids(self) -> list[str]:
        return [frame["id"] for frame in self.frames]

    async def listen(self) -> None:
        while True:
            message = await self.socket.receive()
            if message.type is WSMsgType.TEXT:
                self.frames.append(json.loads(message.data))
            else:
                self.code, self.reason = self.socket.close_code, message.extra
                return

    async def heard(self, count: int) -> list[Any]:
        """The frames, once there are so many."""
        await until(lambda: len(self.frames) >= count or self.code is not None)
        assert len(self.frames) >= count, (len(self.frames), self.code, self.reason)
        return self.frames

    async def closed(self, patience: float = 20.0) -> int:
        await until(lambda: self.code is not None, patience)
        assert self.code is not None
        return self.code


def address(program: Program, instance: str, **query: str) -> str:
    return f"{program.url}/ws/{instance}" + (f"?{urlencode(query)}" if query else "")


@contextlib.asynccontextmanager
async def listening(
    program: Program, instance: str = "loja-1", key: str | None = KEY, **query: str
) -> AsyncIterator[Listener]:
    """A client that reads all the time; the key goes into the query, as browsers must send it."""
    asked = ({"apikey": key} if key else {}) | query
    async with program.session.ws_connect(address(program, instance, **asked)) as socket:
        listener = Listener(socket)
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def refusal(
    program: Program, instance: str, query: dict[str, str], headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Status and body of a handshake that must be refused."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    target = address(program, instance, **query)
    async with program.session.get(target, headers=upgrade | (headers or {})) as answer:
        assert answer.status != 101
        return answer.status, await answer.json()
