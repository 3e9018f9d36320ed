"""A request before it is proven, and the places in it where a proof may stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from drivers.body import parse_body
from schemas.request import Inbound

Parse = Callable[[Inbound], Any]


class Claim:
    """A request not proven yet; its body is parsed at most once, and only if a scheme asks."""

    __slots__ = ("_parse", "_payload", "inbound")

    def __init__(self, inbound: Inbound, parse: Parse) -> None:
        self.inbound = inbound
        self._parse = parse
        self._payload: Any = _UNREAD

    def payload(self) -> Any:
        """The parsed body. Raises UnparsableError."""
        if self._payload is _UNREAD:
            self._payload = self._parse(self.inbound)
        return self._payload


_UNREAD = object()
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class Draft:
    """A delivery being written, for samples and tests: header names as the provider spells them."""

    headers: dict[str, str]
    query: dict[str, str]
    body: bytes
    secret: str
    now: int

    def claim(self) -> Claim:
        """The draft as its receiver will see it."""
        headers = {k.lower(): (v,) for k, v in self.headers.items()}
        query = {k: (v,) for k, v in self.query.items()}
        return Claim(Inbound("POST", headers, query, self.body, _EPOCH), parse_body)


class Location(Protocol):
    """Where in a request something is presented."""

    def read(self, claim: Claim) -> str | None:
        """The one value there, or None."""

    def write(self, draft: Draft, value: str) -> None:
        """Present `value` there."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header, sent exactly once; `name` in lower case."""

    name: str

    def read(self, claim: Claim) -> str | None:
        """See Location."""
        return claim.inbound.header(self.name)

    def write(self, draft: Draft, value: str) -> None:
        """See Location."""
        spelled = next((k for k in draft.headers if k.lower() == self.name), self.name)
        draft.headers[spelled] = value


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter, sent exactly once."""

    name: str

    def read(self, claim: Claim) -> str | None:
        """See Location."""
        return claim.inbound.param(self.name)

    def write(self, draft: Draft, value: str) -> None:
        """See Location."""
        draft.query[self.name] = value


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the parsed body by its path, `data.secret`. Reading it parses the body."""

    path: str

    def read(self, claim: Claim) -> str | None:
        """See Location."""
        value = claim.payload()
        for step in self.path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None

    def write(self, draft: Draft, value: str) -> None:
        """Write over the value that stands in the body, so that every other byte stays."""
        before = self.read(draft.claim())
        if before:
            draft.body = draft.body.replace(before.encode(), value.encode())
