"""What a bad input is: a row of the table, what is asked of a running program, and what it says.

`Stage` is that program: one process for every case of the table, which share nothing but it, with
two tenants, a private network that is allowed, and names that resolve to what a case says.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drivers import BY_SLUG
from gateway import samples
from gateway.models import ApiKey, Tenant
from gateway.security import digest
from tests.api.rig import Answer, Api, serving
from tests.sinks.receiver import Receiver, receiving

SECRET = "a-signing-secret-of-these-tests"
STRANGER = "cmp_the_key_of_another_tenant"
PRIVATE = ("127.0.0.0/8", "10.0.0.0/8", "169.254.0.0/16", "fd00::/8")


@dataclass
class Stage:
    """A program that allows private addresses, and one on the same machine that allows none."""

    api: Api
    shut: Api
    stranger: Api
    receiver: Receiver
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    @property
    def port(self) -> int:
        return int(urlsplit(self.api.url).port or 0)

    def lookup(self, host: str) -> list[str]:
        """What a case says of a name, one answer after the other."""
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def hook(self, driver: str = "shopify", secret: str = SECRET, **more: Any) -> Any:
        """A fresh installation on an instance of its own; `path`: its ingest URL's."""
        instance = f"loja-{next(self.numbers)}"
        made = await self.api.install(
            driver, instance=instance, credentials={"secret": secret}, **more
        )
        path = urlsplit(made["ingest_url"]).path.removeprefix("/gw")
        return made | {"path": path, "instance": instance}

    async def deliver(self, path: str, body: bytes, headers: Any = None, query: str = "") -> Answer:
        """A provider's request."""
        named = headers if headers is not None else {"Content-Type": "application/json"}
        url = self.api.url + path + query
        async with self.api.session.post(url, data=body, headers=named) as got:
            is_json = got.content_type == "application/json"
            return Answer(got.status, await got.json() if is_json else None, got.headers)

    async def raw(self, request: bytes, patience: float = 40.0) -> Answer:
        """What answers these bytes before the connection is closed; status 0 without a word."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            async with asyncio.timeout(patience):
                text = await reader.read()
        finally:
            writer.close()
        head, _, body = text.partition(b"\r\n\r\n")
        if not head:
            return Answer(0, None, {})
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        is_json = headers.get("Content-Type", "").startswith("application/json")
        return Answer(int(first.split()[1]), json.loads(body) if is_json else None, headers)

    async def trickle(self, head: bytes) -> bytes:
        """What comes back of a head that goes on, a byte at a time, until the connection is cut."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head + b"X-Slow: ")
        listening = asyncio.create_task(reader.read())
        try:
            async with asyncio.timeout(40):
                while not (await asyncio.wait({listening}, timeout=0.2))[0]:
                    writer.write(b"a")
                return await listening
        except ConnectionError:
            return b""
        finally:
            listening.cancel()
            writer.close()


Ask = Callable[[Stage], Awaitable[Answer]]


@dataclass(frozen=True)
class Case:
    """One bad input. `said`: the answer's `code`, when it has one; `also`: what else must hold."""

    row: int
    name: str
    ask: Ask
    status: int
    said: str | None = None
    also: Callable[[Answer], bool] | None = None

    @property
    def ident(self) -> str:
        return f"row {self.row}: {self.name}"


def shopify(body: bytes | None = None, secret: str = SECRET) -> tuple[bytes, Any]:
    """A paid order, or another body, signed as Shopify signs it."""
    draft = samples.load("shopify/orders_paid").signed(secret, 0)
    if body is not None:
        draft.body = body
        BY_SLUG["shopify"].scheme.sign(draft)
    return draft.body, draft.headers


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """The stage, until the block ends."""
    (folder / "open").mkdir()
    (folder / "shut").mkdir()
    async with (
        receiving() as receiver,
        serving(folder / "open", allow_targets=PRIVATE, max_body=100_000) as api,
        serving(folder / "shut", allow_targets=(), require_https=False) as shut,
    ):
        directory = api.services.directory
        await directory.save("tenant", Tenant(id="rival", tenant="rival", name="rival"))
        key = ApiKey(
            id=api.services.ids(),
            tenant="rival",
            name="theirs",
            digest=digest(STRANGER),
            permissions=("*",),
        )
        await directory.save("api_key", key)
        stage = Stage(api, shut, api.with_key(STRANGER), receiver)
        shut.services.egress._resolver._lookup = stage.lookup
        yield stage
