"""What the providers' APIs have in common: routes, credentials, limits, and a memory of what was
asked.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from multidict import CIMultiDictProxy, MultiMapping


@dataclass(frozen=True)
class Asked:
    """One request. `at`: monotonic seconds; `status`: what it was answered."""

    method: str
    path: str
    query: MultiMapping[str]
    headers: CIMultiDictProxy[str]
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer; a body that is None is empty."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


NOT_FOUND = Reply({"error": "not found"}, 404)
Handler = Callable[..., Reply]


def too_many(after: float | str = 1) -> Reply:
    return Reply({"error": "too many requests"}, 429, {"Retry-After": str(after)})


@dataclass
class ProviderApi:
    """`first`: answers that come before any other, whoever asks for what. `on_ask` is called before
    an answer is made; while `gate` is closed, nobody is answered. `routes`: method, pattern of the
    path, and who answers.
    """

    first: list[Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    on_ask: Callable[[Asked], None] = lambda _: None
    url: str = ""
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def routes(self) -> list[tuple[str, str, Handler]]:
        raise NotImplementedError

    def is_authorised(self, asked: Asked) -> bool:
        raise NotImplementedError

    def refusal(self) -> Reply:
        return Reply({"error": "unauthorized"}, 401)

    def is_public(self, asked: Asked) -> bool:
        """A request without the credentials of the others, such as a login."""
        return False

    def paths(self, method: str = "GET") -> list[str]:
        return [asked.path for asked in self.asked if asked.method == method]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(
            request.method, request.path, request.query, request.headers, body, time.monotonic()
        )
        self.asked.append(asked)
        self.on_ask(asked)
        await self.gate.wait()
        reply = self._reply(asked)
        self.statuses.append(reply.status)
        text = b"" if reply.body is None else json.dumps(reply.body).encode()
        headers = {"Content-Type": "application/json", **reply.headers}
        return web.Response(body=text, status=reply.status, headers=headers)

    def _reply(self, asked: Asked) -> Reply:
        if self.first:
            return self.first.pop(0)
        if not self.is_public(asked) and not self.is_authorised(asked):
            return self.refusal()
        for method, pattern, handler in self.routes():
            match = re.fullmatch(pattern, asked.path)
            if method == asked.method and match:
                return handler(asked, *match.groups())
        return NOT_FOUND


P = TypeVar("P", bound=ProviderApi)


@asynccontextmanager
async def serving_api(api: P) -> AsyncIterator[P]:
    """The API on a free port; `url` is where."""
    runner = web.ServerRunner(web.Server(api.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        api.gate.set()
        await runner.cleanup()
