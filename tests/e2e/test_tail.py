"""`comporta tail` beside a running gateway."""

import asyncio
import json
import re
import sys
from functools import partial
from typing import Any

import pytest

from gateway import tailing
from gateway.admin_client import AdminClient
from gateway.tailing import Tail
from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import KEY, Program
from tests.e2e.test_listen import environ
from tests.gateway.command import comporta, is_one_line, of


@pytest.fixture
async def shop(embedded: Program) -> str:
    """The ingest URL of an instance `loja`."""
    await embedded.start()
    return str((await embedded.install("kiwify", "loja", SECRET))["ingest_url"])


async def order(program: Program, url: str, number: int) -> str:
    answer = await kiwify(number).post(program, url)
    return str(answer.json["events"][0]["id"])


async def test_the_newest_come_last(embedded: Program, shop: str) -> None:
    ids = [await order(embedded, shop, number) for number in range(3)]

    told = await comporta("tail", "--json", "-n", "2", **of(embedded))
    assert [json.loads(line)["id"] for line in told.out.splitlines()] == ids[1:]
    shown = await comporta("tail", "--instance", "loja", **of(embedded))
    assert len(shown.out.splitlines()) == 3
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:]+Z +order\.paid +loja +kiwify ", shown.out)
    other = await comporta("tail", "--name", "order.refunded", **of(embedded))
    assert (other.status, other.out) == (0, "")
    stranger = await comporta("tail", **of(embedded, API_KEY="wrong"))
    assert is_one_line(stranger, "Unauthorized")


async def test_what_follows_is_followed(embedded: Program, shop: str) -> None:
    first = await order(embedded, shop, 1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "tail", "--follow", "--json",
        env=environ(embedded), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip  # one call
    try:
        assert process.stdout
        told = [json.loads(await asyncio.wait_for(process.stdout.readline(), 30))["id"]]
        second = await order(embedded, shop, 2)
        told.append(json.loads(await asyncio.wait_for(process.stdout.readline(), 30))["id"])
    finally:
        process.terminate()
        await process.wait()
    assert told == [first, second]


async def test_more_than_a_page_is_read_page_by_page(
    embedded: Program, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailing, "PAGE", 2)
    ask: Any = partial(AdminClient(embedded.url, KEY).call, "GET")
    nothing, tail = Tail(ask, {}), Tail(ask, {"instance": "loja"})
    assert await asyncio.to_thread(nothing.newest, 5) == []
    ids = [await order(embedded, shop, number) for number in range(5)]
    assert [e["id"] for e in await asyncio.to_thread(tail.newest, 3)] == ids[2:]
    more = [await order(embedded, shop, number) for number in range(5, 10)]
    assert [e["id"] for e in await asyncio.to_thread(tail.following)] == more
    assert await asyncio.to_thread(tail.following) == []
    assert [e["id"] for e in await asyncio.to_thread(nothing.following)] == ids + more
    assert await asyncio.to_thread(Tail(ask, {}).newest, 0) == []
