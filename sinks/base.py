"""The sink seam: open, send, health, close — and what the gateway lends to every sink.

A sink remembers its configuration, connects when first needed, and turns whatever happens into
outcomes. It never raises from `send`, never logs secrets, and its client library is imported only
by its own module.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from schemas.delivery import Health, Message, Outcome
from schemas.events import StoredEvent
from schemas.sink_config import SinkConfig
from sinks.link import Links


class HttpAnswer(NamedTuple):
    """A response, its body cut off at the limit that was asked for. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpError(Exception):
    """No response came. `kind`: blocked, dns, connect, tls, timeout, protocol. `ours`: our own
    trouble, not theirs.
    """

    def __init__(self, kind: str, message: str, *, ours: bool = False) -> None:
        super().__init__(message)
        self.kind, self.message, self.ours = kind, message, ours


class Http(Protocol):
    """The one guarded way out (`gateway.egress`): addresses checked where the socket is made, no
    redirects.
    """

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float = 20.0,  # noqa: ASYNC109 - the deadline is part of the promise
        limit: int = 4096,
    ) -> HttpAnswer:
        """One request, wholly inside `timeout` seconds, reading at most `limit` bytes of the
        answer. Raises HttpError.
        """


async def _to_nobody(_event: StoredEvent, _again: bool) -> None:  # noqa: FBT001 - see Context.publish
    """Where no clients are served."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Context:
    """What the gateway lends to every sink.

    `now`: the wall clock in microseconds. `server_wide`: connections the server's environment
    names, by kind. `guard`: the addresses of a tenant's broker, checked; raises HttpError (blocked,
    dns) unless this host and port may be reached. `claim_url`: a signed, expiring URL of the whole
    event (tenant, event id), for what is too large. `user_agent`: `Comporta/<version>`. `timeout`:
    seconds for one try of a sink that names none. `ca_file`: more authorities that TLS to brokers
    trusts. `links`: the connections to brokers that sinks share. `publish`: has connected clients
    get an event, also when they had it before (the second argument).
    """

    http: Http
    now: Callable[[], int]
    server_url: str
    user_agent: str
    server_wide: Mapping[str, Mapping[str, Any]] = field(repr=False)
    guard: Callable[[str, int], Awaitable[tuple[str, ...]]]
    claim_url: Callable[[str, str], str]
    timeout: float = 20.0
    ca_file: str = ""
    links: Links = field(default_factory=Links, repr=False)
    publish: Callable[[StoredEvent, bool], Awaitable[None]] = _to_nobody


class Sink(Protocol):
    """One open sink. `batch_size`: how many messages one `send` may take; `parallel`: how many
    sends at once.
    """

    batch_size: int
    parallel: int

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """Try each message; one outcome each, in order. Never raises."""

    def health(self) -> Health:
        """What is known of the other side without asking it."""

    async def close(self) -> None:
        """Wait for what is in flight, then let go of everything. May be called twice."""


Opener = Callable[[SinkConfig, Context], Sink]
