"""HTTP/1.1 on the wire: what is asked, what counts as an answer, what becomes of a connection."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest

from gateway.deadlines import Deadlines
from gateway.egress import Egress
from gateway.http1 import MOST_INTERIM, SLICE, Connection, Head
from gateway.http_pool import Place
from sinks.base import HttpError
from tests.gateway.talk import CHUNKED, LAST, LOOPBACK, OK, get, saying
from tests.sinks.receiver import receiving, talking, until


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress(allow=LOOPBACK, per_host=2) as egress:
        yield egress


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


async def test_what_came_before_an_answer_is_no_part_of_it(egress: Egress) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\nX-A: early\r\n\r\n"
    real = OK.replace(b"\r\n\r\n", b"\r\nX-A: real\r\n\r\n")
    async with talking(saying(early + real, OK)) as port:
        answer = await get(egress, port)
        assert (answer.status, answer.headers) == (200, {"content-length": "2", "x-a": "real"})
        assert (await get(egress, port)).body == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"5\r\nab",
        CHUNKED + b"2\r\nab\r\n",
        OK[:-1],
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n",
    ],
    ids=["in a chunk", "between chunks", "in the body", "in the head"],
)
async def test_an_answer_that_breaks_off_is_none(egress: Egress, answer: bytes) -> None:
    """Nor is it asked for again: the far side had the request."""
    asked = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for says in (OK, answer):
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            writer.write(says)

    async with talking(talk) as port:
        await get(egress, port)
        with pytest.raises(HttpError, match="in the middle of its answer"):
            await get(egress, port, **{"webhook-id": "1"})
    assert asked == 2


@pytest.mark.parametrize("answer", [LAST, OK.replace(b"HTTP/1.1", b"HTTP/1.0")])
async def test_who_wants_no_more_requests_gets_none(egress: Egress, answer: bytes) -> None:
    served, let_go = 0, 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served, let_go
        await reader.readuntil(b"\r\n\r\n")
        served += 1
        writer.write(answer)
        assert await reader.read() == b""  # it is we who hang up
        let_go += 1

    async with talking(talk) as port:
        for _ in range(2):
            assert (await get(egress, port)).body == b"ok"
        await until(lambda: let_go == 2)
    assert served == 2


async def test_an_answer_that_nobody_asked_for_is_given_to_nobody(egress: Egress) -> None:
    forged = OK.replace(b"ok", b"no")
    async with talking(saying(OK + forged, OK)) as port:
        assert [(await get(egress, port)).body for _ in range(3)] == [b"ok"] * 3


async def test_who_speaks_unasked_is_hung_up_on(egress: Egress) -> None:
    speak, let_go = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await speak.wait()
        writer.write(OK[:20])
        try:
            await reader.read()
        finally:
            let_go.set()

    async with talking(talk) as port:
        await get(egress, port)
        speak.set()
        async with asyncio.timeout(2):  # less than an idle connection is kept
            await let_go.wait()


async def test_the_deadline_of_a_request_ends_with_it(egress: Egress) -> None:
    """Else it would end the connection while it idles, or is somebody else's."""
    async with talking(saying(OK)) as port:
        await get(egress, port)
        [(idle, _)] = egress._pool._sites[Place("127.0.0.1", port, tls=False)].idle
        assert idle.alarm._deadlines is None


async def test_a_connection_that_is_lost_leaves_no_timer() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    async with talking(saying(LAST)) as port:
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        connection.alarm.set(deadlines, loop.time() + 60)
        await connection.exchange(b"POST / HTTP/1.1\r\n\r\n", b"", 10)
        await until(lambda: connection._transport is None)
        timer = connection.alarm._timer
        assert timer is None or timer.cancelled()


async def test_a_large_body_arrives_whole(egress: Egress) -> None:
    body = b"".join(number.to_bytes(4) for number in range(3 * SLICE))
    async with receiving() as receiver:
        for _ in range(2):
            answer = await egress.request("POST", receiver.url, headers={}, body=body)
            assert answer.status == 200
        assert [sha256(got.body).digest() for got in receiver.got] == [sha256(body).digest()] * 2
        assert len({got.peer for got in receiver.got}) == 1


async def test_who_reads_slowly_costs_no_memory() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with talking(deaf) as port:
        transport, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        sending = asyncio.create_task(connection.exchange(b"", bytes(64 * SLICE), 10))
        await until(lambda: transport.get_write_buffer_size() > 0)
        assert transport.get_write_buffer_size() <= 2 * SLICE
        sending.cancel()
        connection.close()
        await asyncio.gather(sending, return_exceptions=True)


async def test_an_answer_before_the_whole_request_ends_the_connection(egress: Egress) -> None:
    heads = []

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        while await reader.read(SLICE):
            pass

    async with talking(early) as port:
        for _ in range(3):
            url = f"http://127.0.0.1:{port}/"
            answer = await egress.request("POST", url, headers={}, body=bytes(64 * SLICE))
            assert answer.body == b"ok"
    assert [head.split(b" ")[0] for head in heads] == [b"POST"] * 3


class Wire(asyncio.Transport):
    """One that takes a slice and then asks for patience, as a slow network does."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.aborted = False

    def write(self, data: object) -> None:
        self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return 0  # the last of it has just left

    def abort(self) -> None:
        self.aborted = True


async def test_what_is_left_of_a_request_is_never_read_as_the_next() -> None:
    """An answer may come when everything handed over is out, but not everything is handed over."""
    connection = Connection()
    wire = Wire(connection)
    connection.connection_made(wire)
    asking = asyncio.create_task(connection.exchange(b"POST", bytes(4 * SLICE), 10))
    await asyncio.sleep(0)
    connection.data_received(OK)
    connection.resume_writing()
    assert (await asking).body == b"ok"
    assert wire.aborted
    assert not connection.is_open


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://8.8.8.8/a", "8.8.8.8"),
        ("http://8.8.8.8:8080/a", "8.8.8.8:8080"),
        ("http://[2606:4700::1111]/a", "[2606:4700::1111]"),
        ("http://[2606:4700::1111]:8080/a", "[2606:4700::1111]:8080"),
        ("https://hooks.example:443/a", "hooks.example"),
        ("http://hooks.example:443/a", "hooks.example:443"),
    ],
)
async def test_the_host_is_named_as_in_the_url(url: str, host: str) -> None:
    async with Egress(require_https=False) as egress:
        assert egress._way(url).defaults["Host"] == host


def request_head(
    method: str, target: str, headers: dict[str, str], defaults: dict[str, str], size: int
) -> bytes:
    return Head.of(method, target, headers, defaults).filled(headers.values(), size)


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


def test_the_length_of_a_body_is_told_once_and_truly() -> None:
    head = request_head("PUT", "/", {"content-length": "99", "X-A": "1"}, {}, 3)
    assert head == b"PUT / HTTP/1.1\r\nX-A: 1\r\nContent-Length: 3\r\n\r\n"


def test_a_percent_sign_is_one() -> None:
    head = request_head("PUT", "/a%20b?%s", {"X-%d": "%s%"}, {"A%": "100%%"}, 3)
    assert head.split(b"\r\n")[:3] == [b"PUT /a%20b?%s HTTP/1.1", b"A%: 100%%", b"X-%d: %s%"]
