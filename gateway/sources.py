"""Where a request comes from, and which sources fail too often to show an API key.

A proxy's word counts only when the proxy is trusted, and then for the address of the source and
nothing else: links are made of the public URL, whatever Host or X-Forwarded-Proto say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web

from schemas.errors import TooManyRequestsError

MOST_PROXIES = 16  # entries of X-Forwarded-For that are looked at
FAILURES = 300  # keys that did not fit, at once: a misconfigured fleet shows its own often
FAILURES_A_SECOND = 2.0  # and from then on
MOST_SOURCES = 10_000
MOST_FRIENDS = 10_000

Address = IPv4Address | IPv6Address


class Sources:
    """Tells the address a request comes from. `trusted`: networks of our own proxies."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = tuple(map(ip_network, trusted))

    def of(self, request: web.BaseRequest) -> str:
        """The nearest address that is no proxy of ours; empty when there is none (a socket file).

        See `at`.
        """
        return self.at(request.remote or "", request.headers.getall("X-Forwarded-For", []))

    def at(self, remote: str, forwarded: Sequence[str]) -> str:
        """The same of a connection's far end and the values of `X-Forwarded-For`: they are read
        from the right end, where our proxy wrote; what a client claims stands to the left of that.
        """
        address = _address(remote)
        if address is None:
            return ""
        told = ",".join(forwarded) if self._trusted else ""
        for entry in reversed(told.split(",")[-MOST_PROXIES:]):
            if not self._is_trusted(address):
                break
            claimed = _address(entry.strip())
            if claimed is None:
                break
            address = claimed
        return str(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == n.version and address in n for n in self._trusted)


def _address(text: str) -> Address | None:
    """An address, also with a port or a zone behind it; v4-mapped IPv6 is the IPv4 it maps."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


class Attempts:
    """Bounds how often one source may show a key that does not fit. `monotonic`: seconds.

    What was shown from a source before, and fitted, is let through: nobody is locked out by a
    neighbour behind the same address. Memory is bounded: when there are too many sources, those
    that failed longest ago are forgotten.
    """

    def __init__(self, monotonic: Callable[[], float], most: int = FAILURES) -> None:
        self._monotonic, self._most = monotonic, most
        self._due: dict[str, float] = {}
        self._friends: dict[tuple[str, str], None] = {}

    def check(self, source: str, presented: str) -> None:
        """Whether this source may show a key now. `presented`: its digest.

        Raises TooManyRequestsError.
        """
        block = _block(source)
        wait = self._due.get(block, 0.0) - self._monotonic() - self._most / FAILURES_A_SECOND
        if wait <= 0 or (block, presented) in self._friends:
            return
        raise TooManyRequestsError(
            "too many API keys that are not valid came from this address",
            code="too_many_failures",
            retry_after=int(wait) + 1,
        )

    def failed(self, source: str) -> None:
        """A key did not fit."""
        block, now = _block(source), self._monotonic()
        due = max(self._due.pop(block, 0.0), now) + 1 / FAILURES_A_SECOND
        self._due[block] = due
        if len(self._due) > MOST_SOURCES:
            self._due = {b: at for b, at in self._due.items() if at > now}
            while len(self._due) > MOST_SOURCES:
                del self._due[next(iter(self._due))]

    def fitted(self, source: str, presented: str) -> None:
        """A key opened something."""
        friend = (_block(source), presented)
        if friend in self._friends:
            return
        if len(self._friends) >= MOST_FRIENDS:
            del self._friends[next(iter(self._friends))]
        self._friends[friend] = None


def _block(source: str) -> str:
    """Whoever has an IPv6 address has 2^64 of them: they count as one."""
    if ":" not in source:
        return source
    return str(ip_network(f"{source}/64", strict=False))
