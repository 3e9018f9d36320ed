"""Whose address a request has, and who has shown too many keys that do not fit."""

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.sources import FAILURES, MOST_FRIENDS, MOST_SOURCES, Attempts, Sources
from schemas.errors import TooManyRequestsError

PROXIES = ("10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        # Nobody else's word counts.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),
        # A proxy's does, and that of the proxy before it.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        # What stands to the left is what the client claimed.
        ("10.0.0.1", ["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.9.9.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        # What is no address ends it at the last one known.
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, x, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [", ".join(["10.0.0.2"] * 10_000)], "10.0.0.2"),
        # Spellings.
        ("10.0.0.1", ["198.51.100.1:5000"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:5000"], "2001:db8::1"),
        ("fd00::1", ["2001:db8:0::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours(
    peer: str, forwarded: list[str], source: str
) -> None:
    headers = [("X-Forwarded-For", value) for value in forwarded]
    request = make_mocked_request("GET", "/", headers=_multi(headers)).clone(remote=peer)

    assert Sources(PROXIES).of(request) == source
    if peer:
        assert Sources(()).of(request) == peer.removeprefix("::ffff:")


def _multi(pairs: list[tuple[str, str]]) -> object:
    from multidict import CIMultiDict

    return CIMultiDict(pairs)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_too_many_failures_hold_a_source_off_and_no_other() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(FAILURES):
        attempts.check("203.0.113.9", "wrong")
        attempts.failed("203.0.113.9")

    attempts.check("203.0.113.9", "wrong")  # the next one tips it over
    attempts.failed("203.0.113.9")
    with pytest.raises(TooManyRequestsError) as refused:
        attempts.check("203.0.113.9", "wrong")
    assert refused.value.retry_after == 1
    attempts.check("203.0.113.8", "wrong")
    clock.now += 1
    attempts.check("203.0.113.9", "wrong")


def test_what_fitted_before_is_let_through() -> None:
    attempts = Attempts(Clock(), 1)
    attempts.fitted("203.0.113.9", "right")
    for _ in range(200):
        attempts.failed("203.0.113.9")

    attempts.check("203.0.113.9", "right")
    with pytest.raises(TooManyRequestsError):
        attempts.check("203.0.113.9", "a guess")


def test_one_ipv6_network_is_one_source() -> None:
    attempts = Attempts(Clock(), 1)
    for number in range(10):
        attempts.failed(f"2001:db8::{number:x}")

    with pytest.raises(TooManyRequestsError):
        attempts.check("2001:db8::ffff", "x")
    attempts.check("2001:db8:0:1::1", "x")


def test_memory_is_bounded() -> None:
    attempts = Attempts(Clock())
    for number in range(MOST_SOURCES + 100):
        attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    for number in range(MOST_FRIENDS + 100):
        attempts.fitted("10.0.0.1", str(number))

    assert len(attempts._due) == MOST_SOURCES
    assert len(attempts._friends) == MOST_FRIENDS


ODD = st.text(st.sampled_from("0123456789abcdef.:[]%,/ x\u0661"), max_size=60)


@given(ODD, st.sampled_from(["10.0.0.1", "fd00::1", "203.0.113.9", "::ffff:10.0.0.1", ""]))
def test_any_word_of_a_proxy_gives_an_address_or_none(forwarded: str, peer: str) -> None:
    from ipaddress import ip_address

    headers = _multi([("X-Forwarded-For", forwarded)])
    source = Sources(PROXIES).of(
        make_mocked_request("GET", "/", headers=headers).clone(remote=peer)
    )

    assert not source or str(ip_address(source)) == source
    Attempts(Clock()).failed(source)
