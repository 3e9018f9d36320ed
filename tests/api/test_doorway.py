"""Deliveries as bytes on a connection: however they come, and whoever reads them, one answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from gateway import doorway
from gateway.ingress import Ingress
from tests.api.rig import Api, eventually
from tests.e2e.deliveries import Delivery, kiwify

SECRET = "s3cret-of-loja"
CHANGING = {"date"}


@dataclass
class Said:
    """One answer as it was on the wire."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Wire:
    """A connection of a provider to one ingest URL."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    path: str
    taken: list[str] = field(default_factory=list)

    def bytes_of(self, delivery: Delivery, *lines: str) -> bytes:
        headers = {"Host": "x", "Content-Length": str(len(delivery.body)), **delivery.headers}
        head = [f"POST {self.path}{delivery.query} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*head, *lines, "", "")).encode() + delivery.body

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def hears(self) -> Said:
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            pairs = (line.split(": ", 1) for line in head[1:])
            headers = {name.lower(): value for name, value in pairs}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Said(int(head[0].split()[1]), headers, json.loads(body))

    async def ends(self) -> None:
        async with asyncio.timeout(20):
            assert await self.reader.read() == b""


@pytest.fixture
async def wire(api: Api) -> AsyncIterator[Wire]:
    url = (await api.install("kiwify"))["ingest_url"]
    port = int(api.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Wire(reader, writer, url[url.index("/hooks/") :])
    writer.close()


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was given away to aiohttp, as it is given."""
    found: list[bytes] = []
    give = doorway.Line._give_away

    def given(line: doorway.Line) -> None:
        found.append(line._raw)
        give(line)

    monkeypatch.setattr(doorway.Line, "_give_away", given)
    return found


def ids(said: Said) -> list[str]:
    assert said.status == 200, said
    return [event["id"] for event in said.body["events"]]


async def test_a_plain_delivery_is_read_here_and_answered_as_aiohttp_would(
    wire: Wire, others: list[bytes]
) -> None:
    wire.send(wire.bytes_of(kiwify(1, SECRET)))
    plain = await wire.hears()
    assert others == []
    wire.send(wire.bytes_of(kiwify(1, SECRET), "Origin: https://example.com"))
    other = await wire.hears()
    assert len(others) == 1
    assert plain.headers.keys() == other.headers.keys()
    same = plain.headers.keys() - CHANGING - {"content-length"}
    assert {n: plain.headers[n] for n in same} == {n: other.headers[n] for n in same}
    assert ids(plain) == ids(other)
    assert plain.body["events"][0]["duplicate"] is False
    assert other.body["events"][0]["duplicate"] is True


async def test_a_refusal_is_the_same_from_both(wire: Wire, others: list[bytes]) -> None:
    forged = kiwify(1, "another secret")
    wire.send(wire.bytes_of(forged))
    plain = await wire.hears()
    wire.send(wire.bytes_of(forged, "Expect: 100-continue"))
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    other = await wire.hears()
    assert len(others) == 1
    assert plain.status == other.status == 401
    assert plain.body == other.body
    assert {**plain.headers, "date": ""} == {**other.headers, "date": ""}


async def test_a_delivery_may_come_in_any_pieces(wire: Wire, others: list[bytes]) -> None:
    found = set()
    for number, cut in enumerate(range(1, 400, 7)):
        data = wire.bytes_of(kiwify(number, SECRET))
        wire.send(data[:cut])
        await asyncio.sleep(0)
        wire.send(data[cut : cut + 300])
        await asyncio.sleep(0)
        wire.send(data[cut + 300 :])
        found.update(ids(await wire.hears()))
    assert len(found) == number + 1
    assert others == []


@pytest.mark.parametrize("first", [2, 1])
async def test_those_behind_one_another_are_answered_in_turn(wire: Wire, first: int) -> None:
    """`first`: how many of the three come at once; the rest follows before any answer."""
    sent = [wire.bytes_of(kiwify(n, SECRET)) for n in range(3)]
    wire.send(*sent[:first])
    await asyncio.sleep(0)
    wire.send(*sent[first:])
    told = [ids(await wire.hears()) for _ in sent]
    wire.send(*sent)
    assert [ids(await wire.hears()) for _ in sent] == told
    assert len({i for one in told for i in one}) == 3


async def test_a_large_delivery_is_not_lost_behind_another(wire: Wire) -> None:
    large = Delivery(b" " * 300_000 + kiwify(2, SECRET).body, kiwify(2, SECRET).headers)
    wire.send(wire.bytes_of(kiwify(1, SECRET)), wire.bytes_of(large))
    assert (await wire.hears()).status == 200
    assert (await wire.hears()).status == 401  # what it signed had no spaces before it


async def test_who_wants_no_more_is_let_go(wire: Wire, others: list[bytes]) -> None:
    wire.send(wire.bytes_of(kiwify(1, SECRET), "Connection: close"))
    said = await wire.hears()
    assert said.headers["connection"] == "close"
    await wire.ends()
    assert others == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("POST {path}/more HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}", 404),
        ("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        ("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", 400),
        ("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{{}}", 413),
        ("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\n\r\n", 415),
        ("POST {path} HTTP/1.1\r\nHost: x\r\nX: " + "x" * 9000 + "\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_what_is_not_plain_is_aiohttps(
    wire: Wire, others: list[bytes], head: str, status: int
) -> None:
    wire.send(head.format(path=wire.path).encode())
    async with asyncio.timeout(20):
        answer = await wire.reader.readline()
    assert int(answer.split()[1]) == status
    assert len(others) == 1


async def test_a_chunked_body_is_read(wire: Wire, others: list[bytes]) -> None:
    delivery = kiwify(1, SECRET)
    half = len(delivery.body) // 2
    chunks = (delivery.body[:half], delivery.body[half:], b"")
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = wire.bytes_of(
        Delivery(b"", delivery.headers, delivery.query), "Transfer-Encoding: chunked"
    )
    wire.send(head.replace(b"Content-Length: 0\r\n", b""), body)
    assert ids(await wire.hears())
    assert len(others) == 1


async def test_the_rest_of_the_api_is_on_the_same_connection(wire: Wire) -> None:
    wire.send(wire.bytes_of(kiwify(1, SECRET)), b"")
    assert ids(await wire.hears())
    wire.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await wire.hears()).status == 200
    wire.send(wire.bytes_of(kiwify(2, SECRET)))
    assert ids(await wire.hears())


async def test_a_request_that_stops_is_left_to_aiohttp(
    wire: Wire, others: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorway, "PATIENCE", 0.0)
    data = wire.bytes_of(kiwify(1, SECRET))
    wire.send(data[:-10])

    async def is_given() -> list[bytes]:
        return others

    assert await eventually(is_given) == [data[:-10]]
    wire.send(data[-10:])
    assert ids(await wire.hears())


async def test_who_hangs_up_is_served_all_the_same(wire: Wire, api: Api) -> None:
    wire.send(wire.bytes_of(kiwify(1, SECRET)))
    await wire.writer.drain()
    wire.writer.close()

    async def is_kept() -> bool:
        return bool((await api.get("/processing/events?filter[instance]=loja")).data)

    assert await eventually(is_kept)


async def test_a_bug_of_ours_is_an_answer_with_a_number(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> web.Response:
        raise ZeroDivisionError

    monkeypatch.setattr(Ingress, "_serve", broken)
    wire.send(wire.bytes_of(kiwify(1, SECRET)))
    said = await wire.hears()
    assert (said.status, said.body["code"]) == (500, "internal_error")
    assert said.body["id"] in said.body["message"]
    monkeypatch.undo()
    wire.send(wire.bytes_of(kiwify(1, SECRET)))
    assert ids(await wire.hears())
