"""The parts of live push that need nobody else: what may wait, what hints say, who may sit."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.push_client import MOST_BYTES, MOST_WAITING, PAGE_BYTES, SLOW, Client, Push
from gateway.push_hint import Hint, again_hint, news_hint, read_hint
from gateway.push_seats import Seats
from gateway.push_stream import pages
from schemas.errors import TooManyRequestsError, UnavailableError
from schemas.sink_config import WebsocketConfig
from tests.sinks.given import an_event

PLACE = ("default", "loja-1")
SINK = WebsocketConfig(id="s", tenant="default", instance="loja-1")


class Deaf:
    """A far side that takes nothing."""

    async def write(self, pushes: Sequence[Push]) -> None:
        raise AssertionError(pushes)


def a_client(**more: Any) -> Client:
    given: dict[str, Any] = {"after": 0, "key_id": "k", "check": lambda: None}
    return Client(PLACE, Deaf(), **(given | more))


def a_push(number: int, *, again: bool = False, data: bytes = b"1", name: str = "call") -> Push:
    return Push(an_event(number, name=name, data=data), SINK, "https://x.example", again=again)


async def test_so_much_waits_for_a_client_and_no_more() -> None:
    many, large, picky = a_client(), a_client(), a_client(after=3, events=frozenset({"CALL"}))
    for number in range(1, MOST_WAITING + 1):
        many.offer(a_push(number))
        assert not many.ending.done()
    many.offer(a_push(MOST_WAITING + 1))
    assert many.ending.result() is SLOW
    large.offer(a_push(1, data=b"x" * MOST_BYTES * 2))  # alone it may be as large as it is
    assert not large.ending.done()
    large.offer(a_push(2))
    assert large.ending.result() is SLOW
    for number in range(1, 1000):  # had, or not wanted: these do not count
        picky.offer(a_push(number % 4))
        picky.offer(a_push(number + 10, name="order.paid"))
    assert not picky.ending.done()


def test_hints_survive_the_way() -> None:
    event = an_event(0, data='{"nome":"Conceição"}'.encode())
    assert event.seq == 0
    again, tested = read_hint(again_hint(an_event(7))), read_hint(again_hint(event))
    news = read_hint(news_hint(PLACE, 2**62))
    assert again == Hint(place=PLACE, event_id=an_event(7).id)
    assert tested == Hint(place=PLACE, event=event)
    assert news == Hint(place=PLACE, seq=2**62)
    assert read_hint("") is read_hint("default/loja-1") is None


def test_seats_are_counted_by_process_and_by_instance() -> None:
    counts: list[int] = []
    seats = Seats(3, counts.append)
    with seats.one(PLACE, [1, 1]), seats.one(PLACE, [1, 1]):
        with pytest.raises(TooManyRequestsError), seats.one(PLACE, [2]):
            pass
        other = ("default", "loja-2")
        with seats.one(PLACE, [1, None]), pytest.raises(UnavailableError), seats.one(other, [5]):
            pass
    assert counts == [1, 2, 3, 2, 1, 0]
    seats.closed = True
    with pytest.raises(UnavailableError), seats.one(PLACE, []):
        pass


def test_a_page_is_bounded_in_bytes() -> None:
    half, whole = b"x" * (PAGE_BYTES // 2), b"x" * (PAGE_BYTES + 1)
    sizes = [half, half, b"1", whole, b"1", half]
    events = [an_event(number, data=data) for number, data in enumerate(sizes, 1)]
    found = list(pages(events))
    assert [[event.seq for event in page] for page in found] == [[1, 2], [3], [4], [5, 6]]
    assert list(pages([])) == [[]]
