"""The socket under nats-py: made by us, encrypted where the URL says so, dropped when we say so."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ssl import SSLContext
from urllib.parse import ParseResult

from nats.aio.transport import Transport
from nats.errors import Error

from sinks.dial import Streams


class NatsTransport(Transport):
    """`encrypt`: nats-py would speak in clear, password and all, to a server that asks for no TLS,
    whatever the URL says.
    """

    def __init__(self, streams: Streams, *, encrypt: bool) -> None:
        self._reader, self._writer = streams
        self._first = streams[1]  # kept: it closes the socket when it is collected
        self._refusing = encrypt
        self._dropped = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """There is a connection."""

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        # A new reader: what came in clear after the server's greeting is not to be believed.
        reader = asyncio.StreamReader(limit=buffer_size)
        protocol = asyncio.StreamReaderProtocol(reader)
        name = uri if isinstance(uri, str) else uri.hostname
        async with asyncio.timeout(connect_timeout):
            encrypted = await loop.start_tls(
                self._writer.transport, protocol, ssl_context, server_hostname=name
            )
        if encrypted is None:
            raise Error("nats: the connection was closed")
        self._reader = reader
        self._writer = asyncio.StreamWriter(encrypted, protocol, reader, loop)
        self._refusing = False

    def write(self, payload: bytes) -> None:
        if self._refusing:
            raise Error("nats: the server offers no TLS, which tls:// asks for")
        self._writer.write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self._writer.write(b"".join(payload))

    async def read(self, buffer_size: int) -> bytes:
        return await self._reader.read(buffer_size)

    async def readline(self) -> bytes:
        return await self._reader.readline()

    async def drain(self) -> None:
        # An error here would leave nats-py half closed, without a word; reading finds out, too.
        if not self._dropped:
            with suppress(OSError):
                await self._writer.drain()

    async def wait_closed(self) -> None:
        """Not worth waiting for: nothing is left to say."""

    def close(self) -> None:
        self._writer.close()

    def at_eof(self) -> bool:
        return self._reader.at_eof()

    def __bool__(self) -> bool:
        return True

    def drop(self) -> None:
        """Wait for this socket no more."""
        self._dropped = True
        self._first.transport.abort()
