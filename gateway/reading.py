"""Reading a request's body: bounded in bytes before and after inflation, and in time.

aiohttp's own decompression is off: it lets truncated gzip through as an empty body.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping, Sequence

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError

from schemas.errors import (
    BadRequestError,
    RequestError,
    TooLargeError,
    UnsupportedMediaTypeError,
)

READ_SECONDS = 10.0
DRAIN_SECONDS, DRAIN_BYTES = 1.0, 8 * 1024 * 1024
MOST_MEMBERS = 32
# What aiohttp says of a body that breaks HTTP: bad chunks, fewer bytes than announced.
UNREADABLE = (web.RequestPayloadError, PayloadEncodingError)
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
KEPT_BODY: web.RequestKey[bytes] = web.RequestKey("kept_body", bytes)  # of who reads it twice
# What proves, names, dates or describes a delivery: of two, each reader might take another.
_ONCE = re.compile(
    r"signature|hmac|token|hottok|digest|authorization|apikey|timestamp|(webhook|event|delivery)-id"
    r"|^content-|^comporta-"
)


class RequestTimeoutError(RequestError):
    """The body did not arrive in time."""

    status, error, code = 408, "Request timeout", "request_timeout"


def refuse_repeated(headers: Mapping[str, Sequence[str]]) -> None:
    """Refuse a request that says twice what must be said once. Raises BadRequestError.

    `headers`: names in lower case to every value.
    """
    for name, values in headers.items():
        if len(values) > 1 and _ONCE.search(name):
            raise BadRequestError(f"the header {name[:64]} came twice", code="repeated_header")


async def read_body(request: web.Request, limit: int, within: float = READ_SECONDS) -> bytes:
    """The whole body with its Content-Encoding undone, at most `limit` bytes of either, read
    `within` seconds.

    Raises TooLargeError, UnsupportedMediaTypeError, BadRequestError or RequestTimeoutError.
    """
    if KEPT_BODY in request:
        return request[KEPT_BODY]
    codings = ",".join(request.headers.getall("Transfer-Encoding", ["chunked"]))
    if codings.strip().lower() != "chunked":
        raise BadRequestError("only `Transfer-Encoding: chunked` is understood")
    encoding = _encoding(request)
    if (request.content_length or 0) > limit:
        await _drain(request)
        raise TooLargeError(f"the body is larger than {limit} bytes")
    try:
        if (
            request.content.is_eof()
        ):  # all of it came with the head, as most do: nothing to wait for
            raw = _read_now(request, limit)
        else:
            async with asyncio.timeout(within):
                raw = await _read(request, limit)
    except TimeoutError:
        raise RequestTimeoutError(f"the body did not arrive within {within:g} s") from None
    except ConnectionError:
        raise BadRequestError("the client went away", code="client_gone") from None
    except UNREADABLE as error:
        raise BadRequestError(f"the body cannot be read: {error}", code="invalid_body") from None
    if raw is None:
        await _drain(request)
        raise TooLargeError(f"the body is larger than {limit} bytes")
    return raw if encoding is None else inflate(raw, encoding, limit)


def _encoding(request: web.Request) -> str | None:
    value = request.headers.get("Content-Encoding", "").strip().lower()
    if value in {"", "identity"}:
        return None
    if value not in _WINDOW or len(request.headers.getall("Content-Encoding")) > 1:
        raise UnsupportedMediaTypeError(f"Content-Encoding {value[:40]!r} is not understood")
    return value


async def _read(request: web.Request, limit: int) -> bytes | None:
    """The bytes sent, or None when they are more than `limit`."""
    chunks, size = [], 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _read_now(request: web.Request, limit: int) -> bytes | None:
    """The same of a body that is here already."""
    raw = request.content.read_nowait()
    return raw if len(raw) <= limit else None


async def _drain(request: web.Request) -> None:
    """Take what the client still sends for a moment, so that it reads the answer."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            left = DRAIN_BYTES
            while left > 0 and (chunk := await request.content.readany()):
                left -= len(chunk)
    except (TimeoutError, ConnectionError):
        return


def inflate(raw: bytes, encoding: str, limit: int) -> bytes:
    """`raw` decompressed, whole and at most `limit` bytes.

    Raises BadRequestError or TooLargeError.
    """
    windows = (_WINDOW[encoding], -15) if encoding == "deflate" else (_WINDOW[encoding],)
    for window in windows:
        try:
            return _inflate(raw, window, limit)
        except zlib.error:
            continue
    raise BadRequestError(f"the body is not valid {encoding}", code="invalid_encoding")


def _inflate(raw: bytes, window: int, limit: int) -> bytes:
    """Every member of a gzip file; each costs a copy of the rest, so not any number of them."""
    parts: list[bytes] = []
    size, left = 0, raw
    while left:
        machine = zlib.decompressobj(window)
        part = machine.decompress(left, limit + 1 - size)
        size += len(part)
        if size > limit:
            raise TooLargeError(f"the body is larger than {limit} bytes when decompressed")
        if not machine.eof or len(parts) == MOST_MEMBERS:
            raise zlib.error("truncated, or in too many pieces")
        parts.append(part)
        left = machine.unused_data
    if not parts:
        raise zlib.error("empty")
    return b"".join(parts)
