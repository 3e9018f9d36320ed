"""Our HTTP client: what it keeps, shares, repeats and refuses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.egress import Egress
from gateway.http1 import MOST_INTERIM, request_head
from gateway.http_pool import FAIR_SHARE
from schemas.target import AllowList
from sinks.base import HttpAnswer, HttpError
from tests.sinks.receiver import talking, until

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(allow=AllowList.parse(["127.0.0.0/8"]), per_host=2) as egress:
        yield egress


def saying(*answers: bytes, hang_up: bool = False) -> Talk:
    """A server that says these to the requests of a connection, one each."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        if not hang_up:
            await reader.read()

    return talk


async def get(egress: Egress, port: int, **headers: str) -> HttpAnswer:
    url = f"http://127.0.0.1:{port}/"
    return await egress.request("POST", url, headers=headers, timeout=5)


@pytest.mark.parametrize(
    ("answer", "hang_up", "body"),
    [
        (OK, False, b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", True, b"to the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", True, b"old"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK, False, b"ok"),
        (
            CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n0\r\nX-Late: 1\r\n\r\n",
            False,
            b"abcde",
        ),
    ],
    ids=["length", "to the end", "http/1.0", "nothing", "interim", "chunked"],
)
async def test_every_form_of_answer_is_read(
    egress: Egress, answer: bytes, hang_up: bool, body: bytes
) -> None:
    async with talking(saying(answer, hang_up=hang_up)) as port:
        got = await get(egress, port)
    assert got.body == body
    assert not got.headers.keys() & {"x-late", "link"}


async def test_a_header_sent_twice_is_joined(egress: Egress) -> None:
    answer = OK.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
    async with talking(saying(answer)) as port:
        assert (await get(egress, port)).headers["x-a"] == "1, 2"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM + 1),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 80_000,
    ],
    ids=["never", "upgrade", "two lengths", "long"],
)
async def test_what_is_no_answer_is_an_error(egress: Egress, answer: bytes) -> None:
    async with talking(saying(answer)) as port:
        with pytest.raises(HttpError) as failed:
            await get(egress, port)
    assert failed.value.kind == "protocol"


async def test_an_answer_that_nobody_asked_for_is_given_to_nobody(egress: Egress) -> None:
    forged = OK.replace(b"ok", b"no")
    async with talking(saying(OK + forged, OK)) as port:
        assert [(await get(egress, port)).body for _ in range(3)] == [b"ok"] * 3


async def test_a_kept_connection_that_was_hung_up_on_costs_a_delivery_nothing(
    egress: Egress,
) -> None:
    peers = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")  # and hangs up on the second request

    async with talking(once) as port:
        for _ in range(3):
            answer = await get(egress, port, **{"webhook-id": "1"})
            assert answer.body == b"ok"
        with pytest.raises(HttpError, match="closed without an answer"):
            await get(egress, port)  # nothing says that it may be repeated
    assert len(peers) == 3


async def test_connections_to_a_host_are_bounded_and_shared(egress: Egress) -> None:
    open_now, most, served = 0, 0, 0
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most, served
        open_now, most = open_now + 1, max(most, open_now + 1)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await go.wait()
                writer.write(OK)
                served += 1
        finally:
            open_now -= 1

    async with talking(slow) as port:
        waiting = [asyncio.create_task(get(egress, port)) for _ in range(20)]
        await until(lambda: open_now == 2)
        waiting[5].cancel()  # one in the queue gives up its turn
        go.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, HttpAnswer) for one in done) == 19
    assert (most, served) == (2, 19)


async def test_those_that_hang_keep_nobody_else_at_their_host_from_being_served(
    egress: Egress,
) -> None:
    """One host has room for two at once, and others take more than that."""
    hung = 0

    async def some_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hung
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"/hung" in head:
                hung += 1
                await reader.read()
                return
            writer.write(OK)

    async with talking(some_hang) as port:
        url = f"http://127.0.0.1:{port}"
        waiting = [
            asyncio.create_task(egress.request("POST", f"{url}/hung/{number}", headers={}))
            for number in (1, 2, 3)
            for _ in range(5)
        ]
        await until(lambda: hung == 3 * FAIR_SHARE)
        answers = await asyncio.gather(
            *(egress.request("POST", f"{url}/well", headers={}, timeout=10) for _ in range(20))
        )
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (await get(egress, port)).body == b"ok"  # what they held is free
    assert [answer.body for answer in answers] == [b"ok"] * 20
    assert hung == 3 * FAIR_SHARE


async def test_who_gives_up_leaves_no_half_read_answer_behind(egress: Egress) -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"x-slow" in head:
                await reader.read()
                return
            writer.write(OK)

    async with talking(late) as port:
        given_up = asyncio.create_task(get(egress, port, **{"x-slow": "1"}))
        await asyncio.sleep(0)
        given_up.cancel()
        assert (await get(egress, port)).body == b"ok"
        await asyncio.gather(given_up, return_exceptions=True)


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "a\r\nX: y"])
def test_no_request_holds_another(bad: str) -> None:
    for headers in ({"X-A": bad}, {bad: "1"}):
        with pytest.raises(ValueError, match="control character"):
            request_head("POST", "/", headers, {}, 0)
    with pytest.raises(ValueError, match="control character"):
        request_head("POST", f"/{bad}", {}, {}, 0)


def test_a_head_has_each_default_once() -> None:
    head = request_head("PUT", "/a?b", {"accept": "x"}, {"Host": "h", "Accept": "*/*"}, 3)
    assert head == b"PUT /a?b HTTP/1.1\r\nHost: h\r\naccept: x\r\nContent-Length: 3\r\n\r\n"
