"""Loops: an event that comes back to us, or to a gateway that sends to us, is stopped.

Every request we send says how many gateways its event has passed. What comes in keeps that number,
in the store as well, and what goes out for it is one higher: so a loop ends after a few rounds,
whatever addresses and tries lie between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from schemas.errors import RequestError

HOP_HEADER = "comporta-hop"
MOST_HOPS = 3
_IN_JSON = f'"{HOP_HEADER}"'.encode()


class LoopError(RequestError):
    """This event has gone round in a loop: one of its sinks leads back here."""

    status, error, code = 508, "Loop detected", "loop"


def read_hops(headers: Mapping[str, Sequence[str]]) -> int:
    """How many gateways a request says it has passed; 0 for nonsense. Raises LoopError."""
    hops = _number(next(iter(headers.get(HOP_HEADER, ())), ""))
    if hops > MOST_HOPS:
        raise LoopError
    return hops


def stored_hops(headers: bytes) -> int:
    """The same of headers as they are stored (JSON, names in lower case, a list of values each)."""
    if _IN_JSON not in headers:
        return 0
    return _number((orjson.loads(headers).get(HOP_HEADER) or [""])[0])


def _number(text: str) -> int:
    return int(text[:6]) if text.isascii() and text.isdigit() else 0
