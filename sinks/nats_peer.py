"""Connections to NATS: addresses, credentials, and acknowledgements by the hundred.

nats-py neither reconnects here nor follows the servers it hears of, which nobody has checked:
`sinks.link` makes another connection.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, FlushTimeoutError

from sinks.dial import Guard, dial, tls_context, told
from sinks.link import LinkError
from sinks.nats_transport import NatsTransport
from sinks.nats_wire import Publication, Replies, command
from sinks.nkey import Proof

PORT = 4222
HANDSHAKE_SECONDS, CLOSE_SECONDS = 5, 2.0
PING_SECONDS = 10  # a peer that misses two of them is gone
STUCK_SECONDS = 1.0  # without room for more bytes
NEVER = 10**6  # seconds
STUCK = "it has stopped taking messages"
CHUNK = 256 * 1024  # bytes that are written before anybody asks whether there is room for more
_DENIED = re.compile(r'publish to "(.+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to prove who we are; any of these, or none."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    creds: str = field(default="", repr=False)
    nkey_seed: str = field(default="", repr=False)

    def proof(self) -> Proof | None:
        """Raises LinkError."""
        try:
            if self.creds:
                return Proof.of_credentials(self.creds)
            return Proof.of_seed(self.nkey_seed) if self.nkey_seed else None
        except ValueError as error:
            raise LinkError(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a NATS URL says."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Raises LinkError, which does not repeat the URL."""
        try:
            parts = urlsplit(url if "://" in url else f"nats://{url}")
            port = parts.port or PORT
        except ValueError:
            raise LinkError("the URL is not nats://host:port") from None
        if parts.scheme not in {"nats", "tls"} or not parts.hostname:
            raise LinkError("the URL is not nats://host:port or tls://host:port")
        return cls(
            host=parts.hostname,
            port=port,
            tls=parts.scheme == "tls",
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"NATS at {host}:{self.port}"

    @property
    def url(self) -> str:
        """The place alone, as nats-py reads it."""
        return f"{'tls' if self.tls else 'nats'}://{str(self).removeprefix('NATS at ')}"


class _Client(Client):
    """nats-py over a socket that was made with care, speaking for one key."""

    def __init__(self, transport: NatsTransport, proof: Proof | None) -> None:
        super().__init__()
        self._transport = transport
        self._public_nkey = proof.public if proof and not proof.jwt else None


class NatsPeer:
    """See `sinks.link.Peer`. `stuck`: it has stopped taking bytes. `error`: what it said last."""

    def __init__(self, transport: NatsTransport, proof: Proof | None) -> None:
        self.client = _Client(transport, proof)
        self.stuck = False
        self.error: str | None = None
        self._transport = transport
        self._inbox = self.client.new_inbox()
        self._numbers = count(1)
        self._waiting: dict[str, Replies] = {}
        self._turn = asyncio.Lock()
        self._denials: Counter[str] = Counter()
        self._pings: set[asyncio.Task[None]] = set()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, place: Place, options: Mapping[str, Any]) -> None:
        """Say hello. Raises nats.errors.Error, OSError, TimeoutError."""
        await self.client.connect(
            place.url,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            allow_reconnect=False,
            connect_timeout=HANDSHAKE_SECONDS,
            ping_interval=PING_SECONDS,
            flush_timeout=STUCK_SECONDS,
            **options,
        )
        if not self.client.is_connected:
            raise Error("nats: the connection was closed")
        await self.client.subscribe(f"{self._inbox}.*.*", cb=self._on_reply)

    @contextmanager
    def awaiting(self, subjects: Sequence[str]) -> Iterator[tuple[bytes, Replies]]:
        """Answers to messages on these subjects, and what the subjects they go to begin with."""
        number, answers = str(next(self._numbers)), Replies(subjects)
        self._waiting[number] = answers
        try:
            yield f"{self._inbox}.{number}.".encode(), answers
        finally:
            del self._waiting[number]

    async def ask(
        self, publications: Iterable[Publication], inbox: bytes, answers: Replies
    ) -> None:
        """Publish, one for each of the answers, and wait for these. What could not be sent, or
        shall have no answer any more, has a LinkError for one.
        """
        commands = (command(p, b"%b%d " % (inbox, i)) for i, p in enumerate(publications))
        sent, error = await self._send(commands)
        if error is not None:
            answers.give_rest(error, sent)
        await answers.complete

    async def tell(self, publications: Iterable[Publication]) -> None:
        """Publish. Raises LinkError."""
        _, error = await self._send(map(command, publications))
        if error is not None:
            raise error

    async def _send(self, commands: Iterable[bytes]) -> tuple[int, LinkError | None]:
        """Write commands, chunk by chunk. How many went out, and why the rest did not."""
        sent, size = 0, 0
        chunk: list[bytes] = []
        try:
            for one in commands:
                chunk.append(one)
                size += len(one)
                if size >= CHUNK:
                    await self._write(chunk)
                    sent, size, chunk = sent + len(chunk), 0, []
            await self._write(chunk)
        except LinkError as error:
            return sent, error
        return sent + len(chunk), None

    async def _write(self, chunk: list[bytes]) -> None:
        """One after the other, so that no more lies here than a chunk beyond the socket's limit.

        Raises LinkError, having written nothing.
        """
        async with self._turn:
            if self.stuck:
                raise LinkError(STUCK)
            if not self.client.is_connected:
                # Not at once: who tries again would find this connection until the link hears.
                await asyncio.wait([self._gone], timeout=CLOSE_SECONDS)
                raise LinkError(self._farewell())
            self._transport.writelines(chunk)
            for _ in range(2):  # the first half may have passed while this process stood still
                with suppress(TimeoutError):
                    async with asyncio.timeout(STUCK_SECONDS / 2):
                        await self._transport.drain()
                        return
            self._jam()

    async def flush(self, seconds: float) -> None:
        """Wait until the server has read everything so far. Raises LinkError."""
        ping = self._ping()
        await asyncio.wait([ping, self._gone], timeout=seconds, return_when="FIRST_COMPLETED")
        if not ping.done() or ping.cancelled() or ping.exception():
            raise LinkError(self._farewell() if self._gone.done() else "no answer in time")

    def denials(self, subject: str) -> int:
        """How often the server forbade us to publish there."""
        return self._denials[subject.lower()]

    async def lost(self) -> str:
        await asyncio.wait([self._gone])
        return self._farewell()

    async def close(self) -> None:
        self._transport.drop()
        with suppress(Error, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.client.close()
        await self._on_closed()
        for ping in self._pings:
            ping.cancel()
        await asyncio.gather(*self._pings, return_exceptions=True)

    def _ping(self) -> asyncio.Task[None]:
        """A flush that is not given up before the connection is: when the answer to one that it
        gave up comes after all, nats-py stops reading.
        """
        ping = asyncio.get_running_loop().create_task(self.client.flush(NEVER))
        self._pings.add(ping)
        ping.add_done_callback(self._answered)
        return ping

    def _answered(self, ping: asyncio.Task[None]) -> None:
        self._pings.discard(ping)
        if not ping.cancelled() and not ping.exception():
            self.stuck = False

    def _farewell(self) -> str:
        error = self.client.last_error
        return plain(error) if error else "the connection was lost"

    async def _on_reply(self, message: Msg) -> None:
        _, number, position = message.subject.rsplit(".", 2)
        answers = self._waiting.get(number)
        if answers is not None:
            answers.give(int(position), message)

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, FlushTimeoutError):
            self._jam()
            return
        self.error = plain(error)
        denied = _DENIED.search(self.error)
        if denied is None:
            return
        self._denials[denied[1]] += 1
        self._fail(self.error, denied[1])

    async def _on_closed(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self._fail(self._farewell())

    def _jam(self) -> None:
        """It takes no more for now: until it answers."""
        if not self.stuck:
            self.stuck = True
            self._ping()

    def _fail(self, reason: str, subject: str | None = None) -> None:
        """Nothing will be answered any more, or nothing on this subject (in lower case)."""
        for answers in tuple(self._waiting.values()):
            answers.fail(LinkError(reason), subject)


class Dialler:
    """Connects to one server after the other.

    `guard`: checks where a tenant's URLs lead; None trusts them as the operator's.
    """

    def __init__(
        self, urls: str, login: Login, *, guard: Guard | None, ca_file: str, name: str
    ) -> None:
        self.urls = [url.strip() for url in urls.split(",") if url.strip()]
        self._login, self._guard, self._ca_file, self._name = login, guard, ca_file, name
        self._turn = 0
        self._tls: Any = None

    async def __call__(self) -> NatsPeer:
        """A connection to the server whose turn it is. Raises LinkError."""
        url = self.urls[self._turn % len(self.urls)]
        self._turn += 1
        place, proof = Place.parse(url), self._login.proof()
        if self._tls is None:
            self._tls = await asyncio.to_thread(tls_context, self._ca_file)
        streams = await dial(place.host, place.port, guard=self._guard)
        peer = NatsPeer(NatsTransport(streams, encrypt=place.tls), proof)
        try:
            async with asyncio.timeout(2 * HANDSHAKE_SECONDS):
                await peer.open(place, self._options(place, proof))
        except BaseException as error:
            await peer.close()
            if isinstance(error, Exception):
                raise LinkError(plain(error)) from None
            raise
        self._turn -= 1  # the next one begins with the server that worked
        return peer

    def _options(self, place: Place, proof: Proof | None) -> dict[str, Any]:
        login = self._login
        options: dict[str, Any] = {"name": self._name, "tls": self._tls}
        if proof is not None:
            options["signature_cb"] = proof.sign
            if jwt := proof.jwt:
                options["user_jwt_cb"] = jwt.encode
            options["token"] = login.token or None
        elif login.user:
            options |= {"user": login.user, "password": login.password}
        elif login.token:
            options["token"] = login.token
        elif place.user is not None and place.password is None:
            options["token"] = place.user
        elif place.user is not None:
            options |= {"user": place.user, "password": place.password}
        return options


def plain(error: BaseException) -> str:
    """A client's or server's error without decoration."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return told(error).reason
    text = str(error).removeprefix("nats:").strip().strip("'")
    return text if isinstance(error, Error) and text else type(error).__name__
