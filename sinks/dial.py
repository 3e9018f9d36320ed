"""Sockets to brokers: made to a checked address, while TLS asks for the name that was meant."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable

from sinks.base import HttpError
from sinks.link import LinkError

Guard = Callable[[str, int], Awaitable[tuple[str, ...]]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CONNECT_SECONDS = 5.0
# Ours, not theirs: we ran out of descriptors, memory or local ports.
_OUR_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENETDOWN}
)


class GatheringWriter(asyncio.StreamWriter):
    """What is written in one turn of the loop goes out as one: a system call for each message would
    cost more than the message.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._call_soon = loop.call_soon
        self._gathered: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._gathered:
            self._call_soon(self._send)
        self._gathered.append(data)

    async def drain(self) -> None:
        self._send()
        await super().drain()

    def write_eof(self) -> None:
        self._send()
        super().write_eof()

    def close(self) -> None:
        self._send()
        super().close()

    def _send(self) -> None:
        if self._gathered:
            data, self._gathered = b"".join(self._gathered), []
            super().write(data)


async def dial(
    host: str, port: int, *, guard: Guard | None, tls: ssl.SSLContext | None = None
) -> Streams:
    """Connect to the first address of this host that answers.

    `guard`: says which addresses a host that a tenant named may have; None trusts the operator.
    Raises LinkError.
    """
    try:
        addresses = await guard(host, port) if guard else (host,)
    except HttpError as error:
        raise LinkError(
            f"{'ssrf_blocked' if error.kind == 'blocked' else error.kind}: {error.message}",
            ours=error.ours,
        ) from None
    name = host if tls else None
    failure = LinkError(f"{host} has no address")
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await _connect(address, port, tls, name)
        except (OSError, UnicodeError) as error:  # UnicodeError: IDNA cannot encode it
            failure = told(error)
    raise failure


async def _connect(
    address: str, port: int, tls: ssl.SSLContext | None, name: str | None
) -> Streams:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.create_connection(
        lambda: protocol, address, port, ssl=tls, server_hostname=name
    )
    return reader, GatheringWriter(transport, protocol, reader, loop)


def told(error: Exception) -> LinkError:
    """What went wrong with a socket, in words without addresses or secrets."""
    if isinstance(error, ssl.SSLError):
        return LinkError(f"tls: {_tls_trouble(error)}")
    if isinstance(error, socket.gaierror):
        return LinkError(f"dns: {error.strerror}", ours=error.errno == socket.EAI_AGAIN)
    if isinstance(error, OSError) and error.errno:
        return LinkError(os.strerror(error.errno), ours=error.errno in _OUR_ERRNOS)
    if isinstance(error, TimeoutError):
        return LinkError(f"no connection within {CONNECT_SECONDS:g} s")
    if isinstance(error, UnicodeError):
        return LinkError("this is not a host name")
    return LinkError("the connection was lost")


def _tls_trouble(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    return error.reason or "the handshake failed"


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """TLS as a client speaks it, trusting the system's authorities and those of `ca_file`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
