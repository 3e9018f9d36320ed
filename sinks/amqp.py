"""Connections to RabbitMQ: the URI, the socket, the handshake, and when the broker blocks us.

Made by aiormq, aio-pika's own transport, because that lets us make the socket. A connection is not
revived: `sinks.link` makes another one. (aio-pika's robust connection revives itself, but forgets
what was being published and may bring back channels whose confirms no longer count alike.)
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from aiormq import Connection
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPError, ConnectionClosed, ProbableAuthenticationError
from yarl import URL

from sinks.dial import Guard, Streams, dial, tls_context, told
from sinks.link import LinkError

PORTS = {"amqp": 5672, "amqps": 5671}
HANDSHAKE_SECONDS, CLOSE_SECONDS = 10.0, 2.0
# A peer that says nothing for thrice as long is gone.
HEARTBEAT_SECONDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What an AMQP URI says, by https://www.rabbitmq.com/docs/uri-spec and its query parameters.

    `options`: the query. https://www.rabbitmq.com/docs/uri-query-parameters
    """

    host: str
    port: int
    tls: bool
    vhost: str = "/"
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Raises LinkError, which does not repeat the URI."""
        try:
            parts = urlsplit(uri)
            port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise LinkError("the URI is not amqp(s)://user:password@host:port/vhost") from None
        if not parts.hostname:
            raise LinkError("the URI names no host")
        return cls(
            host=parts.hostname,
            port=port,
            tls=parts.scheme == "amqps",
            vhost=unquote(parts.path[1:]) or "/",
            user=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            options=dict(parse_qsl(parts.query)),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"RabbitMQ at {host}:{self.port}"

    def tls_context(self, ca_file: str) -> ssl.SSLContext:
        """TLS with the files that an operator's URI names. Raises LinkError."""
        options = self.options
        try:
            context = tls_context(ca_file)
            if authorities := options.get("cacertfile") or options.get("cafile"):
                context.load_verify_locations(authorities)
            if certificate := options.get("certfile"):
                context.load_cert_chain(certificate, options.get("keyfile"))
        except OSError as error:
            raise LinkError(f"tls: {told(error).reason}", ours=True) from None
        if options.get("verify") == "verify_none" or options.get("no_verify_ssl", "0") != "0":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class AmqpPeer:
    """See `sinks.link.Peer`."""

    def __init__(self, connection: Connection, writer: asyncio.StreamWriter) -> None:
        self.connection, self._writer = connection, writer

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no messages now: it is short of memory or disk.

        https://www.rabbitmq.com/docs/connection-blocked
        """
        # The one public sign: `ready` waits while it lasts, else it returns at once.
        probe = self.connection.ready().__await__()
        try:
            next(probe)
        except StopIteration:
            return False
        probe.close()
        return True

    async def drained(self) -> None:
        """Wait until the socket can take more. Raises OSError."""
        await self._writer.drain()

    async def lost(self) -> str:
        await asyncio.wait([self.connection.closing])
        error = self.connection.closing.exception()
        return broker_text(error) if error else "the connection was closed"

    async def close(self) -> None:
        with suppress(AMQPError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.connection.close(ConnectionClosed(0, "closed by us"))
        self._writer.transport.abort()  # a silent peer would keep it open


class _Dialled(TransportFactory):
    """Gives aiormq the socket that was made with care."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def create(self, url: URL, **kwargs: Any) -> Streams:
        return self._streams


class _Connection(Connection):
    # No limit: `drained` is ours. A full queue would hold the channel's lock, and from then on one
    # message would go out in each turn of the loop.
    FRAME_BUFFER_SIZE = 0


async def connect(uri: str, *, guard: Guard | None, ca_file: str, name: str) -> AmqpPeer:
    """A connection. `guard`: checks where a tenant's URI leads, None trusts it as the operator's.
    `name`: what the broker lists it as. Raises LinkError.
    """
    place = Place.parse(uri)
    tls = None
    if place.tls:
        # A tenant's URI opens none of our files, and waives no check.
        trusted = place if guard is None else Place(host=place.host, port=place.port, tls=True)
        tls = await asyncio.to_thread(trusted.tls_context, ca_file)
    streams = await dial(place.host, place.port, guard=guard, tls=tls)
    url = URL.build(
        scheme="amqps" if place.tls else "amqp",
        user=place.user,
        password=place.password,
        host=place.host,
        port=place.port,
        path="/",
        query={"heartbeat": HEARTBEAT_SECONDS},
    )
    connection = _Connection(url, transport_factory=_Dialled(streams))
    connection.vhost = place.vhost  # aiormq would not decode all of it
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await connection.connect({"connection_name": name})
    except BaseException as error:
        streams[1].transport.abort()
        if isinstance(error, TimeoutError):
            raise LinkError(f"no AMQP handshake within {HANDSHAKE_SECONDS:g} s") from None
        if isinstance(error, Exception):
            raise LinkError(broker_text(error)) from None
        raise
    return AmqpPeer(connection, streams[1])


def broker_text(error: BaseException) -> str:
    """What the broker said, or what became of the connection, in words without secrets."""
    for part in error.args:
        text = getattr(part, "reply_text", part)
        if isinstance(text, str) and text[:1].isupper() and "_" in text.partition(" ")[0]:
            refused = isinstance(error, ProbableAuthenticationError)
            return f"credentials refused: {text}" if refused else text
    if isinstance(error, AMQPError | OSError):
        return "the connection was lost"
    return type(error).__name__
