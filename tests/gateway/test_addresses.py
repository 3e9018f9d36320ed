"""From a name to a connection: which addresses are tried, and for how long they are remembered."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from gateway import http_pool
from gateway.egress import Egress
from tests.gateway.talk import LAST, LOOPBACK, OK, saying
from tests.sinks.receiver import talking


@asynccontextmanager
async def leading_to(*addresses: str, asked: list[str] | None = None) -> AsyncIterator[Egress]:
    """A way out for which every name has these addresses. `asked`: gets the names."""

    def lookup(host: str) -> list[str]:
        if asked is not None:
            asked.append(host)
        return list(addresses)

    async with Egress(allow=LOOPBACK, require_https=False, lookup=lookup) as egress:
        yield egress


async def body_of(egress: Egress, url: str) -> bytes:
    return (await egress.request("POST", url, headers={}, timeout=10)).body


async def test_an_address_that_refuses_is_followed_by_the_next() -> None:
    async with talking(saying(OK)) as port, leading_to("127.0.0.2", "127.0.0.1") as egress:
        assert await body_of(egress, f"http://two.example:{port}/") == b"ok"


async def test_an_address_that_never_answers_is_overtaken() -> None:
    """Nobody is let in there: the kernel leaves whoever connects without a word."""
    async with talking(saying(OK)) as port, leading_to("127.0.0.2", "127.0.0.1") as egress:
        with closing(socket.socket()) as full, closing(socket.socket()) as guest:
            full.bind(("127.0.0.2", port))
            full.listen(0)
            guest.connect(("127.0.0.2", port))
            assert await body_of(egress, f"http://two.example:{port}/") == b"ok"


@pytest.mark.parametrize(("seconds", "lookups"), [(60.0, 1), (0.0, 3)])
async def test_a_name_is_remembered_for_a_moment(
    seconds: float, lookups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_pool, "DNS_TTL", seconds)
    asked: list[str] = []
    async with talking(saying(LAST)) as port, leading_to("127.0.0.1", asked=asked) as egress:
        for _ in range(3):
            await body_of(egress, f"http://one.example:{port}/")
    assert asked == ["one.example"] * lookups


async def test_only_so_many_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "MOST_NAMES", 3)
    async with talking(saying(LAST)) as port, leading_to("127.0.0.1") as egress:
        for number in range(10):
            await body_of(egress, f"http://n{number}.example:{port}/")
            assert len(egress._pool._names) <= 3
