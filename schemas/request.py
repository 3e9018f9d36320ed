"""A provider's request, before and after it is proven genuine.

`Inbound` is anybody's; `Verified` can only be made by `drivers.verify`, and `normalize` takes only
that: to forget the verification is a type error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Inbound:
    """One HTTP request as it came (or one polled page).

    `headers` and `query`: names (headers lower case) to every value, in order. `body`: the bytes
    after Content-Encoding was undone, exactly as the provider signed them. `received_at`: aware,
    UTC.
    """

    method: str
    headers: Mapping[str, tuple[str, ...]]
    query: Mapping[str, tuple[str, ...]]
    body: bytes
    received_at: datetime

    def header(self, name: str) -> str | None:
        """The value of header `name` (lower case); None when absent or sent more than once."""
        values = self.headers.get(name, ())
        return values[0] if len(values) == 1 else None

    def param(self, name: str) -> str | None:
        """The value of query parameter `name`; None when absent or sent more than once."""
        values = self.query.get(name, ())
        return values[0] if len(values) == 1 else None

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case; empty when none was sent."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Grant:
    """What an installation knows that a delivery is judged by.

    `secrets`: every secret valid now, newest first (rotation keeps two). `settings`: the
    installation's. `keys`: key sets fetched for the driver, by URL (JWKS documents). `credentials`:
    the rest, in the provider's own words.
    """

    secrets: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verified:
    """A request that a scheme of `drivers.verify` proved genuine, with its body parsed.

    `payload` is what the JSON or form body holds (numbers exact: int and Decimal). `enrichment`
    holds the answers of the provider's API by the name the driver gave each request; empty before
    enrichment.
    """

    inbound: Inbound
    payload: Any
    settings: Mapping[str, Any]
    enrichment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def received_at(self) -> datetime:
        """When we received it (aware, UTC)."""
        return self.inbound.received_at

    def header(self, name: str) -> str | None:
        """See Inbound.header."""
        return self.inbound.header(name)


@dataclass(frozen=True, slots=True)
class Reply:
    """The exact answer a provider's handshake wants."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
