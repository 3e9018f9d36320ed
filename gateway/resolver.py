"""Names to addresses, in threads of our own, refusing every name that leads to a blocked address.

`getaddrinfo` can hang for half a minute. In the loop's shared executor a few dead names would stall
every other look-up; here each has a thread of its own, is looked up once at a time however many
wait for it, and its waiters give up after LONGEST seconds.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

LONGEST = 5.0
MAX_THREADS = 128

Lookup = Callable[[str], list[str]]


class BlockedAddressError(OSError):
    """An address that must not be reached; an OSError, so that aiohttp passes it on."""


class LookupFailedError(OSError):
    """No address. `ours`: the resolver did not answer, which says nothing about the name."""

    def __init__(self, message: str, *, ours: bool) -> None:
        super().__init__(errno.EHOSTUNREACH, message)
        self.message, self.ours = message, ours


def system_lookup(host: str) -> list[str]:
    """What the operating system resolves `host` to, in its order of preference. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class GuardedResolver(AbstractResolver):
    """Resolves for one connector; `refuses(address)` decides about each result.

    A name with one good and one refused address is refused.
    """

    def __init__(self, refuses: Callable[[str], bool], lookup: Lookup = system_lookup) -> None:
        self._refuses, self._lookup = refuses, lookup
        self._pending: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises BlockedAddressError or LookupFailedError."""
        return [_result(host, address, port) for address in await self.addresses(host)]

    async def addresses(self, host: str) -> list[str]:
        """See `resolve`."""
        try:
            found = await asyncio.wait_for(asyncio.shield(self._ask(host)), LONGEST)
        except TimeoutError:
            raise LookupFailedError(f"no answer from DNS about {host}", ours=True) from None
        except socket.gaierror as error:
            ours = error.errno in {socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM}
            raise LookupFailedError(f"{host}: {error.strerror}", ours=ours) from None
        except (OSError, UnicodeError) as error:
            raise LookupFailedError(f"{host}: {error}", ours=isinstance(error, OSError)) from None
        for address in found:
            if self._refuses(address):
                raise BlockedAddressError(f"{host} resolves to {address}, which is not public")
        return found

    def _ask(self, host: str) -> asyncio.Future[list[str]]:
        """The look-up of this name that is under way, or a new one."""
        pending = self._pending.get(host)
        if pending is None:
            if len(self._pending) >= MAX_THREADS:
                raise LookupFailedError("too many look-ups wait for DNS", ours=True)
            loop = asyncio.get_running_loop()
            pending = self._pending[host] = loop.create_future()
            pending.add_done_callback(lambda done: self._forget(host, done))
            # A daemon: a look-up that hangs must not hold up the end of the program.
            threading.Thread(target=self._run, args=(host, loop, pending), daemon=True).start()
        return pending

    def _forget(self, host: str, done: asyncio.Future[list[str]]) -> None:
        self._pending.pop(host, None)
        if not done.cancelled():
            done.exception()  # seen, though every waiter may have given up

    def _run(
        self, host: str, loop: asyncio.AbstractEventLoop, done: asyncio.Future[list[str]]
    ) -> None:
        found: list[str] = []
        failure: Exception | None = None
        try:
            found = self._lookup(host)
        except (OSError, UnicodeError) as error:
            failure = error
        try:
            loop.call_soon_threadsafe(_settle, done, found, failure)
        except RuntimeError:
            return  # the loop was closed meanwhile: nobody waits any more

    async def close(self) -> None:
        """Let the waiters go; threads end by themselves."""
        for pending in tuple(self._pending.values()):
            _settle(pending, [], LookupFailedError("the gateway is stopping", ours=True))


def _settle(done: asyncio.Future[list[str]], found: list[str], failure: Exception | None) -> None:
    if done.done():
        return
    if failure is not None:
        done.set_exception(failure)
    else:
        done.set_result(found)


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
