"""HTTP/1.1 as a client speaks it: the bytes of a request, and a connection that reads the answer.

aiohttp's client costs a lane three times what the rest of a delivery does; this does one request at
a time, without redirects, cookies, proxies or decompression, which deliveries must not have anyway.
Parsing is llhttp's, through httptools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self, cast

import httptools

from gateway.deadlines import Alarm
from sinks.base import HttpAnswer

LENGTH = "content-length"
MOST_HEAD = 64 * 1024  # bytes of an answer before its body
MOST_INTERIM = 16  # answers like 100 and 103 before the real one
SLICE = 256 * 1024  # of a large body: others get their turn between two


class AnswerError(Exception):
    """What came is no answer. `unanswered`: the connection ended before the first byte of one."""

    def __init__(self, message: str, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.message, self.unanswered = message, unanswered


class Head(NamedTuple):
    """The bytes before a body, but for the headers' values and the body's size. `ends`: its lines,
    the empty one at the end among them.
    """

    text: str
    ends: int

    @classmethod
    def of(
        cls, method: str, target: str, names: Iterable[str], defaults: Mapping[str, str]
    ) -> Self:
        """`names`: the headers that are given. `defaults` give way to them."""
        names = [*names]
        given = {name.lower() for name in names}
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {text}" for name, text in defaults.items() if name.lower() not in given]
        text = "".join(line.replace("%", "%%") + "\r\n" for line in lines)
        # Ours to say, and said once.
        kept = [name for name in names if name.lower() != LENGTH]
        for name in names:
            text += name.replace("%", "%%") + ": %s\r\n" if name in kept else "%.0s"
        return cls(text + "Content-Length: %d\r\n\r\n", len(lines) + len(kept) + 2)

    def filled(self, values: Iterable[str], size: int) -> bytes:
        """For a body of `size` bytes. `values`: of the headers, in the order of their names.

        Raises ValueError for what would smuggle a header, or a request.
        """
        head = self.text % (*values, size)
        if head.count("\n") != self.ends or head.count("\r") != self.ends or "\0" in head:
            raise ValueError("a header holds a control character")
        return head.encode("utf-8", "surrogateescape")


class Connection(asyncio.Protocol):
    """One connection: `exchange` once at a time; afterwards `reusable` tells whether again.

    `alarm`: ends an exchange that takes too long, with a TimeoutError.
    """

    def __init__(self) -> None:
        self.reusable = False
        self.used = False
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._room: asyncio.Future[None] | None = None
        self._limit = 0
        self.alarm = Alarm(lambda: self._fail(TimeoutError()))
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = self._head_size = self._interim = 0
        self._in_body = self._to_the_end = self._spoiled = self._sent = False

    async def exchange(self, head: bytes, body: bytes, limit: int) -> HttpAnswer:
        """Send a request and read its answer, at most `limit` bytes of its body.

        Raises AnswerError, OSError. Whoever is cancelled here closes the connection.
        """
        self._reset()
        self._limit, self.reusable = limit, False
        answer: asyncio.Future[HttpAnswer] = self._loop.create_future()
        self._answer = answer
        try:
            if self._transport is None:
                raise AnswerError("the connection was closed", unanswered=True)
            if len(body) <= SLICE:
                self._transport.write(head + body)
                self._sent = True
            else:
                await self._send(self._transport, head, body)
            return await answer
        finally:
            self._answer = None
            self.alarm.clear()
            if answer.done() and not answer.cancelled():
                answer.exception()  # seen, though whoever waited may have been cancelled

    async def _send(self, transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        """Slice by slice."""
        transport.write(head)
        for start in range(0, len(body), SLICE):
            if self._answer is None or self._answer.done():
                return  # it has its answer, or none will come: nobody reads the rest
            transport.write(body[start : start + SLICE])
            if self._room is not None:
                await self._room
        self._sent = True

    def close(self) -> None:
        """Hang up at once. May be called twice."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether it may be used again."""
        return self.reusable and self._transport is not None and not self._transport.is_closing()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport, self.reusable = None, False
        self.alarm.cancel()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if exc is None and self._to_the_end:
            self._finish()
        elif isinstance(exc, OSError):
            self._fail(exc)
        else:
            unanswered = not self._head_size
            what = "without an answer" if unanswered else "in the middle of its answer"
            self._fail(AnswerError(f"the connection was closed {what}", unanswered=unanswered))

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.close()  # nobody asked
            return
        if not self._in_body:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(AnswerError("it wants another protocol"))
        except httptools.HttpParserError as error:
            told = error.__context__ or error
            self._fail(told if isinstance(told, AnswerError) else AnswerError(str(error)))
        if self._spoiled:
            self.close()
        elif not self._in_body and self._head_size > MOST_HEAD:
            self._fail(AnswerError(f"its headers are longer than {MOST_HEAD} bytes"))

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        # An answer that nobody asked for would be taken for the next one's.
        self._spoiled = self._answer is None or self._answer.done()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # trailers are of no use to us
            key = name.decode("latin-1").lower()
            text = value.decode("utf-8", "surrogateescape")
            before = self._headers.get(key)
            self._headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._in_body = True
        headers = self._headers
        self._to_the_end = "content-length" not in headers and "chunked" not in headers.get(
            "transfer-encoding", ""
        )

    def on_body(self, body: bytes) -> None:
        if self._size > self._limit:
            return
        self._body.append(body)
        self._size += len(body)
        if self._size > self._limit:
            self._finish()
            self.close()  # with more to come: not drained

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._interim += 1
            self._headers.clear()
            if self._interim > MOST_INTERIM:
                self._fail(AnswerError("it never gets to its answer"))
            return
        self._finish()
        self.reusable = self._parser.should_keep_alive() and self._is_sent()
        if not self.reusable:
            self.close()

    def _is_sent(self) -> bool:
        """Whether the whole request is out. What is left of one would be read as the next."""
        transport = self._transport
        return self._sent and transport is not None and not transport.get_write_buffer_size()

    def _finish(self) -> None:
        if self._answer is not None and not self._answer.done():
            text = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._answer.set_result(HttpAnswer(self._status, self._headers, text[: self._limit]))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()
