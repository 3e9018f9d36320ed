"""The whole program on a port of its own, and a client that speaks JSON to it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from cryptography.fernet import Fernet
from pydantic import SecretStr, TypeAdapter

from gateway.app import build
from gateway.bootstrap import Keys
from gateway.security import Vault
from gateway.serve import served
from gateway.services import SERVICES, Services
from gateway.settings import Settings
from schemas import codec
from tests.api.documented import faults, route_of

T = TypeVar("T")
ADMIN = "cmp_the_admin_of_these_tests"
PUBLIC = "https://hooks.example.com/gw"
NOBODY = "http://127.0.0.1:1024"  # where no provider answers


@dataclass(frozen=True)
class Answer:
    """What came back; `body` is JSON read exactly, None when there was none."""

    status: int
    body: Any
    headers: Any

    @property
    def data(self) -> Any:
        assert self.status < 400, self.body
        return self.body["data"]

    @property
    def faults(self) -> dict[str, str]:
        """Of a refused body: path -> message."""
        assert self.status == 422, (self.status, self.body)
        assert self.body["error"] == "Validation failed"
        return {d["path"]: d["message"] for d in self.body["details"]}


@dataclass(frozen=True)
class Api:
    """A client with one API key (None: none)."""

    session: aiohttp.ClientSession
    url: str
    services: Services
    key: str | None = ADMIN

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        headers = {"apikey": self.key} if self.key else {}
        headers |= more.pop("headers", {})
        if body is not None:
            more["data"] = codec.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, headers=headers, **more) as got:
            text = await got.read()
            known = "json" in got.headers.get("Content-Type", "")
            answer = Answer(got.status, codec.loads(text) if known and text else None, got.headers)
            _as_documented(method, path, answer, text)
            return answer

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.call("POST", path, body, **more)

    async def put(self, path: str, body: Any) -> Answer:
        return await self.call("PUT", path, body)

    async def patch(self, path: str, body: Any) -> Answer:
        return await self.call("PATCH", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.call("DELETE", path)

    def with_key(self, key: str | None) -> "Api":
        return Api(self.session, self.url, self.services, key)

    async def limited(self, *permissions: str, instance: str | None = None) -> "Api":
        """The same with a fresh key that may do only this."""
        wish = {"name": "limited", "permissions": list(permissions), "instance": instance}
        return self.with_key((await self.post("/api-keys", wish)).data["key"])

    async def install(self, driver: str = "kiwify", **more: Any) -> Any:
        """A new installation, on instance `loja` unless told otherwise."""
        wish = {"driver": driver, "instance": "loja", "credentials": {"secret": "s3cret-of-loja"}}
        return (await self.post("/installations", wish | more)).data


def _as_documented(method: str, path: str, answer: Answer, text: bytes) -> None:
    """Every answer is what its route, and the OpenAPI document, say it is."""
    route = route_of(method, path)
    if route is None or answer.status == 405:
        return
    if answer.status < 400 and route.answer is not None:
        TypeAdapter(route.answer).validate_python(answer.body)
    media = answer.headers.get("Content-Type", "")
    plain = json.loads(text) if answer.body is not None else None
    assert faults(route, answer.status, media, plain) == []


@asynccontextmanager
async def serving(folder: Path, keys: Any = None, **settings: Any) -> AsyncIterator[Api]:
    """The program on a free port, until the block ends."""
    given: dict[str, Any] = {
        "data_dir": folder,
        "public_url": PUBLIC,
        "allow_targets": ("127.0.0.0/8",),
        "secret_keys": SecretStr("kept-by-the-vault"),
    }
    sealed: Keys = keys or Keys(Vault([Fernet.generate_key().decode()]), ADMIN, is_new=True)
    configured = Settings(**(given | settings | {"host": "127.0.0.1", "port": 0}))
    app = build(configured, sealed)
    async with served(app, configured, within=1.0) as server:
        port = server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession() as session:
            yield Api(session, f"http://127.0.0.1:{port}", app[SERVICES])


async def eventually(ask: Callable[[], Awaitable[T]], patience: float = 15.0) -> T:
    """What `ask` gives once it gives something; the test fails when it does not in time."""
    async with asyncio.timeout(patience):
        while not (found := await ask()):
            await asyncio.sleep(0.02)
        return found
