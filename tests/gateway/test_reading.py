"""Reading bodies off a real server's sockets: bounded in bytes, before and after inflation, and in
time.
"""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateway.answers import error_response
from gateway.reading import MOST_MEMBERS, inflate, read_body
from schemas.errors import BadRequestError, RequestError, TooLargeError

LIMIT = 10_000
WITHIN = 0.5
PATIENCE = 10.0


@dataclass
class Server:
    """A server that answers with the length of what it read, or with the error."""

    port: int = 0
    unforeseen: list[BaseException] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await read_body(request, LIMIT, WITHIN)
        except RequestError as error:
            return error_response(error)
        except Exception as error:
            self.unforeseen.append(error)
            raise
        return web.Response(text=str(len(body)))

    async def say(self, *pieces: bytes, pause: float = 0.0) -> tuple[int, bytes]:
        """Send raw bytes on a connection of their own; gives status and body of the answer, and
        (0, b"") when the connection was closed without one.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(PATIENCE):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)
                return await _answer(reader)
        finally:
            writer.close()

    async def post(self, body: bytes, *headers: str) -> tuple[int, bytes]:
        return await self.say(request(f"Content-Length: {len(body)}", *headers) + body)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, b""
    lengths = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
    body = await reader.readexactly(int(lengths[0].split(b":")[1]))
    return int(head.split(b" ")[1]), body


def request(*headers: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: gate", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode()


def chunked(body: bytes, size: int = 1000) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server, app = Server(), web.Application()
    app.router.add_route("*", "/", server.handle)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()
        assert server.unforeseen == []


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as made:
        yield made


@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
async def test_a_body_within_the_limit_is_read_whole(server: Server, size: int) -> None:
    body = b"x" * size

    assert await server.post(body) == (200, str(size).encode())
    assert await server.say(request("Transfer-Encoding: chunked"), chunked(body)) == (
        200,
        str(size).encode(),
    )


async def test_an_announced_length_over_the_limit_is_refused_at_once(server: Server) -> None:
    began = time.monotonic()

    status, _ = await server.say(request(f"Content-Length: {10 * 1024**3}"))

    assert status == 413
    assert time.monotonic() - began < WITHIN + 2


async def test_who_still_sends_reads_the_answer(server: Server) -> None:
    status, body = await server.post(b"x" * (4 * 1024 * 1024))

    assert status == 413
    assert b"payload_too_large" in body


@pytest.mark.parametrize("size", [LIMIT + 1, 4 * LIMIT, 3 * 1024 * 1024])
async def test_chunks_over_the_limit_are_refused_there(server: Server, size: int) -> None:
    status, _ = await server.say(request("Transfer-Encoding: chunked"), chunked(b"x" * size))

    assert status == 413


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip "])
async def test_gzip_is_undone(server: Server, encoding: str) -> None:
    body = gzip.compress(b"x" * LIMIT, mtime=0)

    answer = await server.post(body, f"Content-Encoding: {encoding}")

    assert answer == (200, str(LIMIT).encode())


@pytest.mark.parametrize("wbits", [15, -15])
async def test_deflate_is_undone_with_and_without_its_header(server: Server, wbits: int) -> None:
    machine = zlib.compressobj(wbits=wbits)
    body = machine.compress(b"y" * 5000) + machine.flush()

    assert await server.post(body, "Content-Encoding: deflate") == (200, b"5000")


@pytest.mark.parametrize("encoding", ["", "identity"])
async def test_no_encoding_is_none(server: Server, encoding: str) -> None:
    assert await server.post(b"{}", f"Content-Encoding: {encoding}") == (200, b"2")


BOMB = gzip.compress(b"\0" * 50 * 1024 * 1024, mtime=0)[:LIMIT]
WHOLE = gzip.compress(b"a small body", mtime=0)


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (BOMB, "gzip", 413),
        (gzip.compress(b"x" * (LIMIT + 1), mtime=0), "gzip", 413),
        (gzip.compress(b"x" * LIMIT, mtime=0) + gzip.compress(b"x", mtime=0), "gzip", 413),
        (zlib.compress(b"\0" * 1_000_000), "deflate", 413),
        (WHOLE[:-1], "gzip", 400),
        (WHOLE[:12], "gzip", 400),
        (WHOLE[:-8] + b"\0" * 8, "gzip", 400),
        (WHOLE + b"garbage", "gzip", 400),
        (WHOLE + WHOLE[:9], "gzip", 400),
        (b"", "gzip", 400),
        (b"", "deflate", 400),
        (b"{}", "gzip", 400),
        (b"not deflated", "deflate", 400),
        (zlib.compress(b"abc")[:-2], "deflate", 400),
        (gzip.compress(b"", mtime=0) * 5000, "gzip", 413),
        (gzip.compress(b"", mtime=0) * (MOST_MEMBERS + 1), "gzip", 400),
        (b"{}", "br", 415),
        (b"{}", "x", 415),
        (WHOLE, "gzip, gzip", 415),
        (WHOLE, "gzip;q=1", 415),
    ],
)
async def test_what_cannot_be_undone_is_told(
    server: Server, body: bytes, encoding: str, status: int
) -> None:
    answer = await server.post(body, f"Content-Encoding: {encoding}")

    assert answer[0] == status
    assert b'"error"' in answer[1]


async def test_two_encodings_are_refused(server: Server) -> None:
    status, _ = await server.post(WHOLE, "Content-Encoding: gzip", "Content-Encoding: gzip")

    assert status == 415


@pytest.mark.parametrize(
    "headers",
    [
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: deflate, chunked"],
        ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked", "Content-Length: 2"],
        ["Content-Length: 2", "Content-Length: 3"],
        ["Content-Length: +2"],
        ["Content-Length: two"],
    ],
)
async def test_a_body_of_doubtful_length_is_refused(server: Server, headers: list[str]) -> None:
    status, _ = await server.say(request(*headers), chunked(b"{}"))

    assert status == 400


@pytest.mark.parametrize(
    "chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}XX0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n"]
)
async def test_a_bad_chunk_is_refused(server: Server, chunks: bytes) -> None:
    head = request("Transfer-Encoding: chunked")

    assert (await server.say(head + chunks))[0] == 400
    # aiohttp tells nobody of a bad chunk that comes later: it is as if nothing came any more.
    assert (await server.say(head, chunks, pause=0.05))[0] == 408


@pytest.mark.parametrize("head", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_trickled_body_is_cut_off(server: Server, head: str) -> None:
    began = time.monotonic()

    status, body = await server.say(request(head))

    assert status == 408
    assert b"did not arrive within" in body
    assert time.monotonic() - began < WITHIN + 5


async def test_a_client_that_goes_away_harms_nobody(server: Server) -> None:
    for head in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request(head) + b"2\r\n{")
        await writer.drain()
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.abort()

    assert await server.post(b"{}") == (200, b"2")


def squeezed(name: str) -> Callable[[bytes], bytes]:
    return gzip.compress if name == "gzip" else zlib.compress


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_come_back(body: bytes, encoding: str) -> None:
    assert inflate(squeezed(encoding)(body), encoding, 3000) == body


@given(st.binary(max_size=300), st.sampled_from(["gzip", "x-gzip", "deflate"]))
def test_any_garbage_is_one_of_our_errors(body: bytes, encoding: str) -> None:
    with suppress(BadRequestError, TooLargeError):
        assert len(inflate(body, encoding, 1000)) <= 1000


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=MOST_MEMBERS))
def test_the_members_of_a_gzip_file_are_one_body(parts: list[bytes]) -> None:
    raw = b"".join(map(gzip.compress, parts))

    assert inflate(raw, "gzip", 10_000) == b"".join(parts)


def test_inflating_stops_at_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 200 * 1024 * 1024, mtime=0)
    began = time.process_time()

    with pytest.raises(TooLargeError):
        inflate(bomb, "gzip", 1_000_000)

    assert time.process_time() - began < 0.5
