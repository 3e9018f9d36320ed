"""The real program under test: started, called, killed and started again on the same data."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.services import free_port

KEY = "e2e-admin-key"
SECRET_KEYS = "EcC1cGnMHTdXfVqWF7pGfb-8eRCTbYeCvWVEqmmhBlo="
PATIENCE = 30.0


@dataclass
class Answer:
    """An HTTP answer: `json` is None where the body is none."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any = None


@dataclass
class Program:
    """`comporta serve` with an environment of its own (`environ` are our settings, `variables` are
    not); `url` stays the same over restarts.
    """

    folder: Path
    session: aiohttp.ClientSession
    environ: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    command: tuple[str, ...] = (sys.executable, "-m", "gateway")
    variables: dict[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        path = self.folder / "program.log"
        return path.read_text() if path.exists() else ""

    async def start(self, **more: str) -> None:
        """Start it, with further variables (`CRASH_AT="…"` for COMPORTA_CRASH_AT)."""
        await self.launch(**more)
        await self.ready()

    async def launch(self, **more: str) -> None:
        """Start it without waiting for it to serve."""
        ours = {
            "DATA_DIR": str(self.folder / "data"),
            "PORT": str(self.port),
            "API_KEY": KEY,
            "SECRET_KEYS": SECRET_KEYS,
            "ALLOW_TARGETS": "127.0.0.0/8",
            "RETRY_SCHEDULE": "0.2,0.5,1,1,1,1,1,1,1,1,1,1",
            "LEASE_SECONDS": "2",
        }
        environ = {k: v for k, v in os.environ.items() if not k.startswith("COMPORTA_")}
        environ |= {f"COMPORTA_{k}": v for k, v in (ours | self.environ | more).items()}
        environ |= self.variables
        with (self.folder / "program.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, "serve", env=environ, stdout=log, stderr=log
            )

    async def ready(self) -> None:
        assert self.process
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self.process.returncode is None, self.log[-4000:]
                with contextlib.suppress(aiohttp.ClientError):
                    if (await self.call("GET", "/readyz")).status == 200:
                        return
                await asyncio.sleep(0.02)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; gives its exit status (negative: the signal that killed it)."""
        assert self.process
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ended()

    async def kill(self) -> None:
        await self.end(signal.SIGKILL)

    async def ended(self) -> int:
        """Wait until it has ended by itself; gives its exit status."""
        assert self.process
        return await asyncio.wait_for(self.process.wait(), PATIENCE)

    async def call(self, method: str, path: str, body: Any = None, key: str | None = KEY) -> Answer:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        kind = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.session.request(
            method, self.url + path, headers=headers, **(kind if body is not None else {})
        ) as answer:
            return await _read(answer)

    async def data(self, method: str, path: str, body: Any = None) -> Any:
        """The `data` of an answer that must have worked."""
        answer = await self.call(method, path, body)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json["data"]

    async def install(self, driver: str, instance: str, secret: str = "", **more: Any) -> Any:
        credentials = {"secret": secret} if secret else {}
        body = {"driver": driver, "instance": instance, "credentials": credentials} | more
        return await self.data("POST", "/installations", body)

    async def webhook(self, instance: str, url: str, name: str = "default", **more: Any) -> Any:
        path = f"/webhook/set/{instance}" + ("" if name == "default" else f"/{name}")
        answer = await self.call("POST", path, {"url": url} | more)
        assert answer.status == 201, answer.body
        return answer.json

    async def metric(self, name: str) -> float:
        """The value of a metric, its name with its labels; 0 when it was never counted."""
        text = (await self.call("GET", "/metrics")).body.decode()
        lines = [line for line in text.splitlines() if line.startswith(name + " ")]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    async def reaches(self, name: str, value: float) -> None:
        """Wait until a metric has a value."""
        async with asyncio.timeout(PATIENCE):
            while await self.metric(name) != value:
                await asyncio.sleep(0.02)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """A provider's delivery."""
        async with self.session.post(url, data=body, headers=headers) as answer:
            return await _read(answer)


async def _read(answer: aiohttp.ClientResponse) -> Answer:
    body = await answer.read()
    is_json = answer.content_type == "application/json" and body
    value = await answer.json() if is_json else None
    return Answer(answer.status, dict(answer.headers), body, value)


@contextlib.asynccontextmanager
async def program(folder: Path, **environ: str) -> AsyncIterator[Program]:
    """A program that is not started yet, and is ended whatever happens."""
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector) as session:
        running = Program(folder, session, environ)
        try:
            yield running
        finally:
            if running.process and running.process.returncode is None:
                await running.end(signal.SIGKILL)
