"""Rate limits: the long run is the rate, a burst is one second's worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pace import Pace, Paces


def taken(pace: Pace, now: float) -> int:
    count = 0
    while pace.take(now) == 0.0:
        count += 1
    return count


@pytest.mark.parametrize(("rate", "burst"), [(10.0, 10), (1.0, 1), (0.2, 1), (2.5, 2)])
def test_a_burst_is_one_second_or_one_piece(rate: float, burst: int) -> None:
    assert taken(Pace(rate), now=1000.0) == burst


def test_it_says_how_long_to_wait_and_no_longer() -> None:
    pace = Pace(10.0)
    taken(pace, 50.0)
    wait = pace.take(50.0)

    assert wait == pytest.approx(0.1)
    assert pace.take(50.0 + wait * 0.9) > 0
    assert pace.take(50.0 + wait + 1e-9) == 0.0


def test_a_refusal_takes_nothing() -> None:
    pace = Pace(1.0)
    pace.take(0.0)

    waits = {round(pace.take(0.0), 6) for _ in range(100)}

    assert waits == {1.0}


def test_silence_saves_up_no_more_than_one_burst() -> None:
    pace = Pace(5.0)
    taken(pace, 0.0)

    assert taken(pace, 3600.0) == 5


@given(st.floats(0.1, 500), st.lists(st.floats(0, 0.5), min_size=20, max_size=300))
def test_the_long_run_is_the_rate(rate: float, gaps: list[float]) -> None:
    pace, now, count = Pace(rate), 1e6, 0
    for gap in gaps:
        now += gap
        count += pace.take(now) == 0.0

    assert count <= rate * (now - 1e6) + max(1.0, rate) + 1e-6


@given(st.floats(0.1, 500))
def test_who_waits_as_told_is_never_told_to_wait_for_ever(rate: float) -> None:
    pace, now = Pace(rate), 1e6
    for _ in range(50):
        wait = pace.take(now)
        assert wait <= 1 / rate + 1e-6
        now += wait

    assert now - 1e6 <= 50 / rate + 1


def test_keys_do_not_share_a_pace() -> None:
    paces = Paces(1.0)

    assert paces.take("a", 0.0) == 0.0
    assert paces.take("b", 0.0) == 0.0
    assert paces.take("a", 0.0) == pytest.approx(1.0)


def test_no_rate_is_no_limit() -> None:
    paces = Paces(0)

    assert {paces.take("a", 0.0) for _ in range(1000)} == {0.0}


def test_keys_are_forgotten_rather_than_gathered() -> None:
    paces = Paces(1.0, limit=10)
    for number in range(1000):
        paces.take(str(number), 0.0)

    assert len(paces._by_key) <= 10
