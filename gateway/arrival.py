"""A request to an ingest URL, whoever read it: aiohttp, or `gateway.doorway`."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from gateway.reading import read_body


class Arrival(Protocol):
    """One request. `headers`: names in lower case to every value, in order. `query`: as it was
    sent. `remote`: the address at the other end of the connection, empty when there is none.
    """

    method: str
    driver: str
    token: str
    headers: dict[str, tuple[str, ...]]
    query: str
    remote: str

    async def body(self, limit: int) -> bytes:
        """Its body with the Content-Encoding undone, at most `limit` bytes.

        Raises a RequestError.
        """


class WebArrival:
    """A request that aiohttp has read."""

    __slots__ = ("_request", "driver", "headers", "method", "query", "remote", "token")

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.method, self.remote = request.method, request.remote or ""
        self.driver = request.match_info.get("driver", "")
        self.token = request.match_info.get("token", "")
        self.query = request.rel_url.raw_query_string
        headers: dict[str, tuple[str, ...]] = {}
        for raw_name, raw_value in request.raw_headers:
            keep(headers, raw_name, raw_value)
        self.headers = headers

    async def body(self, limit: int) -> bytes:
        """See Arrival."""
        return await read_body(self._request, limit)


def keep(headers: dict[str, tuple[str, ...]], raw_name: bytes, raw_value: bytes) -> None:
    """Add a header as it came."""
    name = raw_name.decode("latin-1").lower()
    value = raw_value.decode("utf-8", "surrogateescape")
    headers[name] = (*headers[name], value) if name in headers else (value,)
