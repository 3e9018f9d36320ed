"""The server's connections. Most of what comes is one whole, plain POST of a provider: that is read
and answered here. Whatever is otherwise in any way is given to aiohttp with its connection, which
costs five times as much.

Both read with llhttp, so no two readings of one request are possible.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import cast

import httptools

from gateway.answers import Answer
from gateway.arrival import Arrival, keep

START = b"POST /hooks/"
TARGET = re.compile(rb"/hooks/([a-z0-9_]+)/([A-Za-z0-9_-]+)(?:\?([A-Za-z0-9._~=&%+/:@,-]*))?")
MOST_HEAD = 8190  # bytes; aiohttp's bound for one line
MOST_LINES = 64
MOST_BODY = 512 * 1024
PATIENCE = 1.0  # seconds in which the rest of a request is waited for here
SWEEP = 0.5
# Who sends one of these wants more of HTTP than is understood here.
UNUSUAL = frozenset({"transfer-encoding", "content-encoding", "expect", "upgrade", "origin"})
PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Plain:
    """A request that was read here: an `Arrival`."""

    __slots__ = ("_body", "driver", "headers", "method", "query", "remote", "token")

    def __init__(self, remote: str) -> None:
        self.method, self.remote = "POST", remote
        self.driver = self.token = self.query = ""
        self.headers: dict[str, tuple[str, ...]] = {}
        self._body: list[bytes] = []

    def add(self, part: bytes) -> None:
        """More of the body."""
        self._body.append(part)

    async def body(self, limit: int) -> bytes:
        """See Arrival. Whatever is larger never comes here."""
        del limit
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)


class Doorway:
    """What the connections of one server share. `serve`: answers a delivery, and never raises.
    `other`: makes aiohttp's end of a connection. `headers`: of every answer. `most`: bytes of a
    body. `idle`: seconds a connection is kept that says nothing.
    """

    def __init__(
        self,
        serve: Callable[[Arrival], Awaitable[Answer]],
        other: Callable[[], asyncio.Protocol],
        headers: Mapping[str, str],
        *,
        most: int,
        idle: float,
        now: Callable[[], float],
    ) -> None:
        self.serve, self.other = serve, other
        self.most = min(most, MOST_BODY)
        self._idle, self._now = idle, now
        self._always = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._second, self._date = 0, ""
        self._open: set[Line] = set()
        self._quiet = asyncio.Event()
        self._sweep = asyncio.get_running_loop().create_task(self._sweep_forever())
        self.closing = False

    def __call__(self) -> Line:
        """The protocol of a new connection."""
        return Line(self)

    def opened(self, line: Line) -> None:
        """A connection begins."""
        self._open.add(line)

    def ended(self, line: Line) -> None:
        """It ended, is aiohttp's now, or (while closing) has its last answer."""
        self._open.discard(line)
        if self.closing and not any(line.busy for line in self._open):
            self._quiet.set()

    def head(self, answer: Answer, *, last: bool) -> bytes:
        """The bytes before an answer's body. `last`: the connection ends with it."""
        second = int(self._now())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        if last:
            more += "Connection: close\r\n"
        return (
            f"HTTP/1.1 {answer.status} {PHRASES.get(answer.status, '')}\r\n"
            f"Content-Type: {answer.media}\r\n{more}{self._always}"
            f"Content-Length: {len(answer.body)}\r\nDate: {self._date}\r\n\r\n"
        ).encode("latin-1")

    async def close(self, within: float) -> None:
        """End every connection: one that is being served after its answer, if that takes no longer
        than `within` seconds.
        """
        self.closing = True
        self._sweep.cancel()
        for line in list(self._open):
            line.finish()
        if any(line.busy for line in self._open):
            try:
                await asyncio.wait_for(self._quiet.wait(), within)
            except TimeoutError:
                for line in list(self._open):
                    line.abort()

    async def _sweep_forever(self) -> None:
        """One timer for all connections."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP)
            now = loop.time()
            for line in list(self._open):
                line.age(now, self._idle)


class Line(asyncio.Protocol):
    """One connection. `busy`: a request is being served."""

    def __init__(self, doorway: Doorway) -> None:
        self._doorway, self._loop = doorway, asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._remote = ""
        self._task: asyncio.Task[None] | None = None
        self._raw = b""  # of the request that is being read, or of those behind the one served
        self._since = self._loop.time()
        self._reset()

    def _reset(self) -> None:
        self._plain, self._url = Plain(self._remote), b""
        self._begun = self._headed = self._whole = self._odd = self._last = False

    @property
    def busy(self) -> bool:
        return self._task is not None

    def age(self, now: float, idle: float) -> None:
        """Give up on who says nothing; leave who says little to aiohttp, which has a clock for
        it.
        """
        waited = now - self._since
        if self.busy or waited < PATIENCE:
            return
        if self._raw:
            self._give_away()
        elif waited > idle:
            self.abort()

    def finish(self) -> None:
        """End after the answer to what is being served, or now."""
        if not self.busy and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End now."""
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        peer = transport.get_extra_info("peername")
        self._plain.remote = self._remote = str(peer[0]) if isinstance(peer, tuple) else ""
        self._doorway.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self.busy:
            self._doorway.ended(self)

    def pause_writing(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()  # who does not read its answers gets no more of them

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if not self._raw:
            self._since = self._loop.time()
        self._raw = self._raw + data if self._raw else data
        if self.busy:
            if len(self._raw) > MOST_HEAD and self._transport is not None:
                self._transport.pause_reading()  # its turn comes
            return
        if not self._raw.startswith(START) and not START.startswith(self._raw):
            self._give_away()
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._odd = True
        if self._odd or (not self._headed and len(self._raw) > MOST_HEAD):
            self._give_away()
        elif self._whole:
            self._raw = b""
            self._task = self._loop.create_task(self._serve(self._plain, last=self._last))

    async def _serve(self, plain: Plain, *, last: bool) -> None:
        """One request, and those that came behind it meanwhile."""
        answer = await self._doorway.serve(plain)
        self._task = None
        transport, last = self._transport, last or self._doorway.closing
        if transport is None or transport.is_closing():
            self._doorway.ended(self)
            return
        transport.write(self._doorway.head(answer, last=last) + answer.body)
        if last:
            transport.close()
            self._doorway.ended(self)
            return
        self._reset()
        self._since = self._loop.time()
        if self._raw:
            waiting, self._raw = self._raw, b""
            transport.resume_reading()
            self.data_received(waiting)

    def _give_away(self) -> None:
        """The rest of this connection is aiohttp's, from the request on that was being read."""
        transport, raw = self._transport, self._raw
        self._transport, self._raw = None, b""
        self._doorway.ended(self)
        if transport is None or transport.is_closing():
            return
        other = self._doorway.other()
        transport.set_protocol(other)
        other.connection_made(transport)
        other.data_received(raw)

    # What the parser calls.

    def on_message_begin(self) -> None:
        # A second one behind the first, before that has its answer: aiohttp takes them in turn.
        self._odd |= self._begun
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        keep(self._plain.headers, name, value)

    def on_headers_complete(self) -> None:
        self._headed, plain = True, self._plain
        target = TARGET.fullmatch(self._url)
        size = plain.headers.get("content-length", ("",))[0]
        end = self._raw.find(b"\r\n\r\n", 0, MOST_HEAD)
        if (
            target is None
            or end < 0
            or self._raw.count(b"\n", 0, end) > MOST_LINES
            or self._parser.get_http_version() != "1.1"
            or len(plain.headers.get("host", ())) != 1
            or not size.isascii()
            or not size.isdigit()
            or not 0 < int(size) <= self._doorway.most
            or not UNUSUAL.isdisjoint(plain.headers)
        ):
            self._odd = True
            return
        driver, token, query = target.groups(b"")
        plain.driver, plain.token, plain.query = driver.decode(), token.decode(), query.decode()

    def on_body(self, body: bytes) -> None:
        self._plain.add(body)

    def on_message_complete(self) -> None:
        self._whole, self._last = True, not self._parser.should_keep_alive()
