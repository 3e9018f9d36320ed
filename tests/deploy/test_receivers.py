"""The receivers people copy: each takes what the real program sends, and nothing that is forged."""

import asyncio
import base64
import contextlib
import gzip
import hmac
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import Program, program
from tests.services import free_port
from tests.test_architecture import ROOT

FOLDER = ROOT / "deploy" / "receivers"
KEY = b"a signing key of 32 bytes, given"
SIGNING = "whsec_" + base64.b64encode(KEY).decode()
COMMANDS = {
    "receiver.py": [sys.executable, "-W", "error", "receiver.py", "{port}"],
    "receiver.mjs": ["node", "receiver.mjs", "{port}"],
    "receiver.php": [
        "php",
        "-d",
        "display_errors=stderr",
        "-S",
        "127.0.0.1:{port}",
        "receiver.php",
    ],
}


@dataclass
class Shop:
    """A receiver as a process. `told`: the lines it wrote."""

    url: str
    session: aiohttp.ClientSession
    told: list[str] = field(default_factory=list)

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        async with self.session.post(self.url, data=body, headers=headers) as answer:
            return answer.status

    async def saw(self, line: str) -> None:
        async with asyncio.timeout(20):
            while line not in self.told:
                await asyncio.sleep(0.01)

    async def read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.told.append(line.decode().rstrip())


def test_each_has_a_command() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(COMMANDS)


@pytest.fixture(params=COMMANDS)
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    words = COMMANDS[request.param]
    if shutil.which(words[0]) is None:
        pytest.fail(f"this test needs {words[0]}: make services")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(word.format(port=port) for word in words),
        cwd=FOLDER,
        env=os.environ | {"WEBHOOK_SECRET": SIGNING},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    async with aiohttp.ClientSession() as session:
        shop = Shop(f"http://127.0.0.1:{port}/", session)
        reading = asyncio.create_task(shop.read(process.stdout))
        try:
            await listening(shop)
            yield shop
        finally:
            process.kill()
            await process.wait()
            await reading


async def listening(shop: Shop) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                await shop.post(b"", {})
                return
            await asyncio.sleep(0.02)


def signed(body: bytes, age: int = 0, key: bytes = KEY, scheme: str = "v1") -> dict[str, str]:
    when = str(int(time.time()) - age)
    digest = hmac.digest(key, f"msg_1.{when}.".encode() + body, "sha256")
    signature = f"{scheme},{base64.b64encode(digest).decode()}"
    return {"webhook-id": "msg_1", "webhook-timestamp": when, "webhook-signature": signature}


BODY = json.dumps({"id": "01h", "event": "order.paid", "data": {"nome": "Conceição"}}).encode()


async def test_only_what_is_signed_is_taken(shop: Shop) -> None:
    good = signed(BODY)
    assert await shop.post(BODY, good) == 204
    await shop.saw("01h order.paid")

    rotated = good | {"webhook-signature": f"v1,AAAA {good['webhook-signature']} v2,x"}
    assert await shop.post(BODY, rotated) == 204
    assert await shop.post(gzip.compress(BODY), good | {"Content-Encoding": "gzip"}) == 204

    forged: list[tuple[bytes, dict[str, str]]] = [
        (BODY + b" ", good),
        (BODY, good | {"webhook-id": "msg_2"}),
        (BODY, good | {"webhook-timestamp": str(int(good["webhook-timestamp"]) - 1)}),
        (BODY, good | {"webhook-timestamp": "now"}),
        (BODY, good | {"webhook-signature": ""}),
        (BODY, good | {"webhook-signature": "v1,"}),
        (BODY, good | {"webhook-signature": "v1"}),
        (BODY, signed(BODY, age=3600)),
        (BODY, signed(BODY, age=-3600)),
        (BODY, signed(BODY, key=b"")),
        (BODY, signed(BODY, key=b"another key, of 32 bytes, given.")),
        (BODY, signed(BODY, scheme="v2")),
        (BODY, {name: value for name, value in good.items() if name != "webhook-id"}),
        (BODY, {}),
    ]
    for body, headers in forged:
        assert await shop.post(body, headers) == 401, headers
    assert await shop.post(b"not gzip", good | {"Content-Encoding": "gzip"}) == 400
    assert shop.told.count("01h order.paid") == 3


async def test_the_programs_deliveries_are_taken(shop: Shop, tmp_path: Path) -> None:
    async with program(tmp_path) as gateway:
        await gateway.start()
        for name, packed in (("default", False), ("packed", True)):
            more = {"secret": SIGNING, "gzip": packed, "events": ["order.*"]}
            await gateway.webhook("loja", shop.url, name, **more)
        installed = await gateway.install("kiwify", "loja", SECRET)
        answer = await kiwify(1).post(gateway, installed["ingest_url"])
        event = answer.json["events"][0]["id"]
        await all_succeeded(gateway)
        await shop.saw(f"{event} order.paid")
        assert shop.told.count(f"{event} order.paid") == 2


async def all_succeeded(gateway: Program) -> None:
    """Wait until both sinks were answered 2xx."""
    async with asyncio.timeout(30):
        while (told := await statuses(gateway)) != ["succeeded", "succeeded"]:
            assert set(told) <= {"pending", "delivering", "succeeded"}, told
            await asyncio.sleep(0.02)


async def statuses(gateway: Program) -> list[str]:
    return [one["status"] for one in await gateway.data("GET", "/processing/dispatches")]


@pytest.mark.parametrize("name", ["receiver.py", "receiver.mjs"])
async def test_without_a_secret_there_is_no_start(name: str) -> None:
    words = [word.format(port=free_port()) for word in COMMANDS[name]]
    process = await asyncio.create_subprocess_exec(
        *words, cwd=FOLDER, env=os.environ | {"WEBHOOK_SECRET": ""}, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, told = await asyncio.wait_for(process.communicate(), 20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode
    assert b"WEBHOOK_SECRET" in told
