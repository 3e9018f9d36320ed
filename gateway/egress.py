"""The one guarded way out: every HTTP request to an address that somebody gave us.

An address is judged three times: as text before DNS (`schemas.target`), as the result of the
look-up (`gateway.resolver`), and where the socket is made. The last is the truth: neither an IP
literal, nor a name that changed its mind, nor a second connection attempt gets past it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from io import BytesIO
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import AddrInfoType
from yarl import URL

from gateway.hops import HOP_HEADER
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

# Node.js and uvicorn hang up on an idle connection after 5 s: let go before they do, or a request
# may cross with the farewell.
KEEP_ALIVE = 4.0
# Short, because a receiver that moves should not be missed for long; the guard sees every connect.
DNS_TTL = 10
LARGE_BODY = 512 * 1024
# Ours, not theirs: we ran out of descriptors, memory or local ports.
_OUR_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENETDOWN}
)


class Egress:
    """Implements `sinks.base.Http`. Made and closed inside a running loop.

    `per_host`: connections to one host and port at once. `own`: our public URL, a loop.
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
        self._allow = allow
        tls = _tls(ca_file)
        refuses = lru_cache(4096)(partial(is_blocked, allow=allow))
        self._resolver = GuardedResolver(refuses, lookup)
        self._listed_resolver = GuardedResolver(is_never, lookup)
        self._session = _session(refuses, self._resolver, tls, per_host)
        # A host the operator named may be anywhere but at a metadata service. It has a pool of its
        # own, so that no other name can ride on its connections.
        self._listed = _session(is_never, self._listed_resolver, tls, per_host)
        self._way = lru_cache(4096)(self._judge)  # receivers are few, requests many

    def _judge(self, url: str) -> tuple[aiohttp.ClientSession, URL]:
        """Which session may request this URL, in its one spelling. Raises InvalidTargetError."""
        target = self._check(url)
        by_name = target.listed and not target.literal
        return self._listed if by_name else self._session, URL(target.url, encoded=True)

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
        try:
            session, place = self._way(url)
            async with (
                asyncio.timeout(timeout),
                session.request(
                    method, place, headers=headers, data=_data(body), allow_redirects=False
                ) as response,
            ):
                text = await _read(response, limit)
                return HttpAnswer(response.status, _headers(response), text)
        except InvalidTargetError as error:
            raise HttpError("blocked", error.message) from None
        except TimeoutError:
            raise HttpError("timeout", f"no complete answer within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error) from error

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
        await self._session.close()
        await self._listed.close()

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


def _session(
    refuses: Callable[[str], bool], resolver: GuardedResolver, tls: ssl.SSLContext, per_host: int
) -> aiohttp.ClientSession:
    def guarded_socket(info: AddrInfoType) -> socket.socket:
        family, kind, proto, _, address = info
        if refuses(str(address[0])):
            raise BlockedAddressError(f"{address[0]} is not a public address")
        return socket.socket(family, kind, proto)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            socket_factory=guarded_socket,
            resolver=resolver,
            ttl_dns_cache=DNS_TTL,
            limit=0,  # lanes bound what is in flight
            limit_per_host=per_host,
            keepalive_timeout=KEEP_ALIVE,
            ssl=tls,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        headers={"Accept-Encoding": "identity", HOP_HEADER: "1"},
        skip_auto_headers=("Content-Type", "User-Agent"),
        auto_decompress=False,
        trust_env=False,
    )


def _data(body: bytes | None) -> bytes | BytesIO | None:
    """A large body is written piece by piece, so that others get their turn meanwhile."""
    return BytesIO(body) if body and len(body) > LARGE_BODY else body


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """At most `limit` bytes; a connection with more to come is closed, not drained."""
    content = response.content
    text = await content.read(limit + 1)
    while not content.at_eof() and len(text) <= limit:
        text += await content.read(limit + 1 - len(text))
    if len(text) > limit:
        response.close()
    return text[:limit]


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Lower case names; of a repeated header every value, as RFC 9110 joins them."""
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _translated(error: Exception) -> HttpError:
    """What went wrong, in the words of the seam. Messages never hold a URL's path or query."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return HttpError("tls", f"certificate refused: {error.certificate_error}"[:300])
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unconnected(error.os_error, tls=isinstance(error, aiohttp.ClientSSLError))
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return HttpError("protocol", "the connection was closed without an answer")
    if isinstance(error, aiohttp.ClientResponseError):
        return HttpError("protocol", f"not a valid HTTP answer: {error.message}"[:300])
    if isinstance(error, OSError):
        return _unconnected(error, tls=False)
    # Others, like InvalidURL, write the URL into the text.
    told = isinstance(error, aiohttp.ClientPayloadError | ValueError)
    told = told and not isinstance(error, aiohttp.InvalidURL)
    return HttpError("protocol", type(error).__name__ + (f": {error}"[:300] if told else ""))


def _unconnected(cause: OSError, *, tls: bool) -> HttpError:
    if isinstance(cause, BlockedAddressError):
        return HttpError("blocked", str(cause))
    if isinstance(cause, LookupFailedError):
        return HttpError("dns", cause.message, ours=cause.ours)
    if tls:
        return HttpError("tls", str(cause.strerror or cause)[:300])
    # By its number: aiohttp writes whole URLs into the text.
    reason = os.strerror(cause.errno) if cause.errno else "the connection was lost"
    return HttpError("connect", reason, ours=cause.errno in _OUR_ERRNOS)
