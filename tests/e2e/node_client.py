"""socket.io-client from npm, as a process; installed once below `.cache`, by the lock's hashes."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.sinks.receiver import until

HERE = Path(__file__).parent / "node"
COMMAND = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "node"


async def installed(here: Path = HERE) -> Path:
    """The folder with the packages of this folder's package-lock.json."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail("this test needs Node.js and npm: apt-get install nodejs npm")
    lock = (here / "package-lock.json").read_bytes()
    folder = CACHE / hashlib.sha256(lock).hexdigest()[:16]
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        await _install(here, folder)
    return folder / "node_modules"


async def _install(here: Path, folder: Path) -> None:
    """Elsewhere first, then all at once: other workers may want the same now."""
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        made = Path(name) / "made"
        made.mkdir()
        for part in ("package.json", "package-lock.json"):
            shutil.copy(here / part, made)
        process = await asyncio.create_subprocess_exec(
            *COMMAND, cwd=made, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        told, _ = await process.communicate()
        if process.returncode:
            pytest.fail(f"`{' '.join(COMMAND)}` failed:\n{told.decode(errors='replace')}")
        with contextlib.suppress(OSError):  # somebody was faster
            made.rename(folder)


class NodeClient:
    """One socket. `told`: what it told so far; see `node/listen.cjs`."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def of(self, what: str) -> list[Any]:
        return [line for line in self.told if line["what"] == what]

    @property
    def events(self) -> list[tuple[str, Any]]:
        return [(line["name"], line["payloads"][0]) for line in self.of("event")]

    async def heard(self, what: str, count: int = 1) -> list[Any]:
        await until(lambda: len(self.of(what)) >= count)
        return self.of(what)

    async def read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.told.append(json.loads(line))


@contextlib.asynccontextmanager
async def node_client(url: str, **options: Any) -> AsyncIterator[NodeClient]:
    """A client of `url` (with the namespace) until the block ends."""
    environ = os.environ | {"NODE_PATH": str(await installed())}
    process = await asyncio.create_subprocess_exec(
        "node",
        HERE / "listen.cjs",
        url,
        json.dumps(options),
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    assert process.stdin
    assert process.stdout
    client = NodeClient()
    reading = asyncio.create_task(client.read(process.stdout))
    try:
        yield client
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)
        await reading
