"""Connections to HTTP servers: made by a guarded socket, kept a moment, shared by whoever goes to
the same place.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from gateway.http1 import Connection
from gateway.resolver import BlockedAddressError, GuardedResolver

# Node.js and uvicorn hang up on an idle connection after 5 s: let go before they do, or a request
# may cross with the farewell.
KEEP_ALIVE = 4.0
# Short, because a receiver that moves should not be missed for long; the guard sees every connect.
DNS_TTL = 10.0
NEXT_ADDRESS = 0.25  # seconds until another address is tried beside a slow one (RFC 8305)
MOST_NAMES = 4096
FAIR_SHARE = 2  # connections to a place that a user may have in any case


class Place(NamedTuple):
    """Where to connect. `host`: a name or an address, as it stands in the URL, without brackets."""

    host: str
    port: int
    tls: bool


@dataclass(slots=True)
class _Site:
    """The connections to one place: `idle` ones with the time they became so, `count` of all.

    `held`: how many each user has, `waiting`: who waits for one, by user. `users`: how many hold
    one, or wait.
    """

    idle: list[tuple[Connection, float]] = field(default_factory=list)
    waiting: dict[str, deque[asyncio.Future[None]]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    count: int = 0
    users: int = 0

    @property
    def busy(self) -> int:
        """Connections that somebody holds."""
        return self.count - len(self.idle)

    def wake(self, user: str) -> bool:
        """Tell the next who waits as this user to look again; gives whether there was one."""
        turns = self.waiting.pop(user, None)
        while turns:
            turn = turns.popleft()
            if not turn.done():
                turn.set_result(None)
                if turns:
                    self.waiting[user] = turns  # behind the others: each user has its turn
                return True
        return False


class Pool:
    """Connections by place. `refuses(address)` is asked where each socket is made. `per_host`: how
    many may be in use at once, but for what is each user's fair share.
    """

    def __init__(
        self,
        refuses: Callable[[str], bool],
        resolver: GuardedResolver,
        tls: ssl.SSLContext,
        per_host: int,
    ) -> None:
        self._refuses, self._resolver, self._tls = refuses, resolver, tls
        self._per_host = per_host
        self._sites: dict[Place, _Site] = {}
        self._names: dict[str, tuple[float, list[str]]] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, place: Place, user: str = "", *, fresh: bool = False) -> Connection:
        """A connection for one exchange; `give` it back. `fresh`: one that nobody has used.

        `user`: whoever it is for. Others cannot keep it from having a few, however many they hold.

        Raises OSError (BlockedAddressError and LookupFailedError among them) and ssl.SSLError.
        """
        site = self._sites.get(place)
        if site is None:
            site = self._sites[place] = _Site()
        site.users += 1
        try:
            while not self._may_take(site, user):
                await self._wait(site, user)
            found = None if fresh else self._idle(site)
            if found is None:
                found = await self._add(place, site, user)
            else:
                site.held[user] = site.held.get(user, 0) + 1
        except BaseException:
            self._leave(place, site)
            raise
        return found

    def reuse(self, place: Place, user: str = "") -> Connection | None:
        """What `take` would give at once, if there is any."""
        site = self._sites.get(place)
        if site is None or not site.idle or not self._may_take(site, user):
            return None
        found = self._idle(site)
        if found is None:
            return None
        site.users += 1
        site.held[user] = site.held.get(user, 0) + 1
        return found

    def _may_take(self, site: _Site, user: str) -> bool:
        return site.busy < self._per_host or site.held.get(user, 0) < FAIR_SHARE

    def _idle(self, site: _Site) -> Connection | None:
        """The connection used last, which is the likeliest to be open still."""
        oldest = self._loop.time() - KEEP_ALIVE
        while site.idle:
            connection, since = site.idle.pop()
            if connection.is_open and since > oldest:
                return connection
            self._drop(site, connection)
        return None

    async def _add(self, place: Place, site: _Site, user: str) -> Connection:
        if site.idle and site.count >= self._per_host:
            # Of no use to who wants a fresh one, but in its way.
            self._drop(site, site.idle.pop(0)[0])
        site.count += 1
        site.held[user] = site.held.get(user, 0) + 1
        try:
            return await self._connect(place)
        except BaseException:
            site.count -= 1
            self._let_go(site, user)
            raise

    async def _wait(self, site: _Site, user: str) -> None:
        """For a connection to be given back, or dropped."""
        turn = self._loop.create_future()
        site.waiting.setdefault(user, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake(site, user)  # it was our turn, and we do not take it
            raise

    def give(self, place: Place, connection: Connection, user: str = "") -> None:
        """Take a connection back, open or not, from the user who took it."""
        site = self._sites[place]
        connection.used = True
        if connection.is_open and not self._closed:
            site.idle.append((connection, self._loop.time()))
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(KEEP_ALIVE, self._sweep)
        else:
            self._drop(site, connection)
        self._let_go(site, user)
        self._leave(place, site)

    def _let_go(self, site: _Site, user: str) -> None:
        left = site.held[user] - 1
        if left:
            site.held[user] = left
        else:
            del site.held[user]
        self._wake(site, user)

    def _wake(self, site: _Site, user: str) -> None:
        """Tell whoever may take what has become free to look again."""
        if site.busy < self._per_host:
            while site.waiting and not site.wake(next(iter(site.waiting))):
                pass  # all of them had gone away
        elif site.held.get(user, 0) < FAIR_SHARE:
            site.wake(user)

    def _leave(self, place: Place, site: _Site) -> None:
        """One user less. A place without users and connections is forgotten."""
        site.users -= 1
        if not site.count and not site.users:
            del self._sites[place]

    def close(self) -> None:
        """Hang up on whoever is idle, and on each other once it is given back."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for site in self._sites.values():
            while site.idle:
                self._drop(site, site.idle.pop()[0])

    @staticmethod
    def _drop(site: _Site, connection: Connection) -> None:
        """Hang up on one that nobody holds."""
        connection.close()
        site.count -= 1

    def _sweep(self) -> None:
        """Let go of what has idled too long, and of places that nobody goes to any more."""
        now = self._loop.time()
        for place, site in list(self._sites.items()):
            late = [c for c, since in site.idle if since <= now - KEEP_ALIVE]
            site.idle = [(c, since) for c, since in site.idle if since > now - KEEP_ALIVE]
            for connection in late:
                self._drop(site, connection)
            if not site.count and not site.users:
                del self._sites[place]
        is_busy = any(site.count for site in self._sites.values())
        self._sweeping = self._loop.call_later(KEEP_ALIVE / 4, self._sweep) if is_busy else None

    async def _connect(self, place: Place) -> Connection:
        found = [_info(address, place.port) for address in await self._addresses(place.host)]
        made = await aiohappyeyeballs.start_connection(
            found,
            happy_eyeballs_delay=NEXT_ADDRESS,
            interleave=1,
            socket_factory=self._guarded_socket,
        )
        try:
            _, connection = await self._loop.create_connection(
                Connection,
                sock=made,
                ssl=self._tls if place.tls else None,
                server_hostname=place.host if place.tls else None,
            )
        except BaseException:
            made.close()
            raise
        return connection

    def _guarded_socket(self, info: AddrInfoType) -> socket.socket:
        family, kind, proto, _, address = info
        if self._refuses(str(address[0])):
            raise BlockedAddressError(f"{address[0]} is not a public address")
        made = socket.socket(family, kind, proto)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    async def _addresses(self, host: str) -> list[str]:
        """Of a literal itself, of a name what was looked up a moment ago, or is now."""
        if _is_literal(host):
            return [host]
        known = self._names.get(host)
        if known is not None and known[0] > self._loop.time():
            return known[1]
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
        found = await self._resolver.addresses(host)
        self._names[host] = (self._loop.time() + DNS_TTL, found)
        return found


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _info(address: str, port: int) -> AddrInfoType:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
