"""The one guarded way out: every HTTP request to an address that somebody gave us.

An address is judged three times: as text before DNS (`schemas.target`), as the result of the
look-up (`gateway.resolver`), and where the socket is made. The last is the truth: neither an IP
literal, nor a name that changed its mind, nor a second connection attempt gets past it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import TracebackType
from typing import Self

from gateway.deadlines import Deadlines
from gateway.hops import HOP_HEADER
from gateway.http1 import AnswerError, Connection, Head
from gateway.http_pool import Place, Pool
from gateway.resolver import (
    BlockedAddressError,
    GuardedResolver,
    Lookup,
    LookupFailedError,
    system_lookup,
)
from schemas.target import (
    NOTHING_ALLOWED,
    AllowList,
    InvalidTargetError,
    check_host,
    check_port,
    check_url,
    is_blocked,
    is_never,
)
from sinks.base import HttpAnswer, HttpError

# Sending these twice does what sending them once does; who gets a webhook tells by its id.
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
_REPEATABLE_BY = "webhook-id"
# Ours, not theirs: we ran out of descriptors, memory or local ports.
_OUR_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENETDOWN}
)


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """How to get to a URL: through which connections, to what target, with which headers if the
    request has none of these.
    """

    pool: Pool
    place: Place
    target: str
    defaults: Mapping[str, str]


class Egress:
    """Implements `sinks.base.Http`. Made and closed inside a running loop.

    `per_host`: connections to one host and port at once, though each URL may have a few whoever
    else goes there. `own`: our public URL, a loop.
    """

    def __init__(
        self,
        *,
        allow: AllowList = NOTHING_ALLOWED,
        require_https: bool = True,
        own: str = "",
        ca_file: str = "",
        per_host: int = 256,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._check = partial(check_url, allow=allow, require_https=require_https, own=own)
        self._allow, self._deadlines = allow, Deadlines()
        self._loop = asyncio.get_running_loop()
        tls = _tls(ca_file)
        refuses = lru_cache(4096)(partial(is_blocked, allow=allow))
        self._resolver = GuardedResolver(refuses, lookup)
        self._listed_resolver = GuardedResolver(is_never, lookup)
        self._pool = Pool(refuses, self._resolver, tls, per_host)
        # A host the operator named may be anywhere but at a metadata service. It has a pool of its
        # own, so that no other name can ride on its connections.
        self._listed = Pool(is_never, self._listed_resolver, tls, per_host)
        # Receivers are few, and name few headers; requests are many.
        self._way = lru_cache(4096)(self._judge)
        self._head = lru_cache(4096)(_head)

    def _judge(self, url: str) -> _Way:
        """The way to this URL. Raises InvalidTargetError."""
        target = self._check(url)
        by_name = target.listed and not target.literal
        is_tls = target.scheme == "https"
        host = f"[{target.host}]" if ":" in target.host else target.host
        usual = target.port == (443 if is_tls else 80)
        return _Way(
            self._listed if by_name else self._pool,
            Place(target.host, target.port, is_tls),
            target.path + (f"?{target.query}" if target.query else ""),
            {
                "Host": host if usual else f"{host}:{target.port}",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                HOP_HEADER: "1",
            },
        )

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
        """See `sinks.base.Http.request`. A redirect is an answer like any other."""
        data = body or b""
        try:
            way = self._way(url)
            head = self._head(way, method, tuple(headers)).filled(headers.values(), len(data))
            repeatable = method in _REPEATABLE or _REPEATABLE_BY in headers
            due = self._loop.time() + timeout
            return await self._exchange(way, head, data, limit, due, repeatable=repeatable)
        except InvalidTargetError as error:
            raise HttpError("blocked", error.message) from None
        except TimeoutError:
            raise HttpError("timeout", f"no complete answer within {timeout:g} s") from None
        except (AnswerError, OSError, ValueError, RuntimeError) as error:
            raise _translated(error) from error

    async def _exchange(
        self, way: _Way, head: bytes, body: bytes, limit: int, due: float, *, repeatable: bool
    ) -> HttpAnswer:
        """One request. A kept connection may have been hung up on a moment ago: then once more, on
        a new one.
        """
        connection = way.pool.reuse(way.place, way.target)
        if connection is None:
            connection = await self._connection(way, due)
        was_used = connection.used
        try:
            return await self._once(way, connection, head, body, limit=limit, due=due)
        except (AnswerError, ConnectionError) as error:
            unanswered = isinstance(error, ConnectionError) or error.unanswered
            if not (was_used and unanswered and repeatable):
                raise
        connection = await self._connection(way, due, fresh=True)
        return await self._once(way, connection, head, body, limit=limit, due=due)

    async def _connection(self, way: _Way, due: float, *, fresh: bool = False) -> Connection:
        """One that may have to be waited for. Raises TimeoutError."""
        async with asyncio.timeout(None) as scope:
            deadline = self._deadlines.begin(scope, due - self._loop.time())
            try:
                return await way.pool.take(way.place, way.target, fresh=fresh)
            finally:
                deadline.cancel()

    async def _once(
        self, way: _Way, connection: Connection, head: bytes, body: bytes, *, limit: int, due: float
    ) -> HttpAnswer:
        try:
            connection.alarm.set(self._deadlines, due)
            return await connection.exchange(head, body, limit)
        except BaseException:
            connection.close()
            raise
        finally:
            way.pool.give(way.place, connection, way.target)

    async def guard(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of a broker, each checked; connect to one of them, so that a second
        look-up cannot lead elsewhere. Raises HttpError (blocked, dns).
        """
        try:
            name, literal = check_host(host, self._allow)
            check_port(port)
            if literal:
                return (name,)
            listed = name in self._allow.hosts
            resolver = self._listed_resolver if listed else self._resolver
            return tuple(await resolver.addresses(name))
        except InvalidTargetError as error:
            raise HttpError("blocked", error.message) from None
        except OSError as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """Drop every connection. May be called twice."""
        await self._resolver.close()
        await self._listed_resolver.close()
        self._pool.close()
        self._listed.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


def _tls(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def _head(way: _Way, method: str, names: tuple[str, ...]) -> Head:
    return Head.of(method, way.target, names, way.defaults)


def _translated(error: Exception) -> HttpError:
    """What went wrong, in the words of the seam. Messages never hold a URL's path or query."""
    if isinstance(error, AnswerError):
        return HttpError("protocol", error.message[:300])
    if isinstance(error, BlockedAddressError):
        return HttpError("blocked", str(error))
    if isinstance(error, LookupFailedError):
        return HttpError("dns", error.message, ours=error.ours)
    if isinstance(error, OSError):
        return _unconnected(error)
    return HttpError("protocol", f"{type(error).__name__}: {error}"[:300])


def _unconnected(error: OSError) -> HttpError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return HttpError("tls", f"certificate refused: {error.verify_message}"[:300])
    if isinstance(error, ssl.SSLError):
        return HttpError("tls", str(error.reason or error)[:300])
    reason = os.strerror(error.errno) if error.errno else "the connection was lost"
    return HttpError("connect", reason, ours=error.errno in _OUR_ERRNOS)
