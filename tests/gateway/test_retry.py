"""Schedules of retries, and what becomes of a try."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retry import JITTER, next_delay
from gateway.settling import OUR_DELAY, settlement, word
from gateway.store.base import Leased, Settlement
from schemas.delivery import Delivered, Exchange, Outcome, Rejected, Retry
from tests.sinks.given import an_event

SCHEDULE = (5.0, 300.0, 1800.0)


@pytest.mark.parametrize(
    ("attempts", "random", "delay"),
    [
        (1, 0.0, 5.0),
        (1, 0.5, 5.5),
        (2, 0.0, 300.0),
        (3, 0.0, 1800.0),
        (4, 0.0, None),
        (5, 0.9, None),
        (100, 0.0, None),
    ],
)
def test_the_schedule_is_followed_to_its_end(
    attempts: int, random: float, delay: float | None
) -> None:
    assert next_delay(SCHEDULE, attempts, random) == delay


def test_an_empty_schedule_tries_once() -> None:
    assert next_delay((), 1, 0.0) is None


@given(
    st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 50), st.floats(0, 1, exclude_max=True)
)
def test_nothing_comes_before_its_time_nor_much_later(
    schedule: list[float], attempts: int, random: float
) -> None:
    delay = next_delay(schedule, attempts, random)

    if attempts > len(schedule):
        assert delay is None
    else:
        assert delay is not None
        assert schedule[attempts - 1] <= delay <= schedule[attempts - 1] * (1 + JITTER)


def settled(outcome: Outcome, attempts: int = 0, random: float = 0.0) -> Settlement:
    leased = Leased(
        id="d1", token=3, sink_id="s1", attempts=attempts, replay=0, event=an_event(), gap=False
    )
    return settlement(leased, outcome, SCHEDULE, at=1_000_000, seconds=0.25, random=random)


def test_what_arrived_has_succeeded() -> None:
    item = settled(Delivered(exchange=Exchange(status=204)), attempts=2)

    assert (item.id, item.token, item.state, item.reason) == ("d1", 3, "succeeded", None)
    assert item.attempt
    assert (item.attempt.number, item.attempt.status, item.attempt.error) == (3, 204, None)
    assert (item.attempt.at, item.attempt.duration_ms) == (1_000_000, 250.0)


def test_what_failed_is_tried_again_by_the_schedule() -> None:
    item = settled(Retry(reason="HTTP 500"), attempts=1, random=0.5)

    assert (item.state, item.delay, item.counts) == ("pending", 330.0, True)
    assert item.attempt
    assert item.attempt.error == "HTTP 500"


def test_retry_after_is_waited_for_and_shortens_nothing() -> None:
    assert settled(Retry(reason="busy", after=60.0)).delay == 60.0
    assert settled(Retry(reason="busy", after=1.0)).delay == 5.0


def test_after_the_last_attempt_comes_the_dead_letter() -> None:
    item = settled(Retry(reason="HTTP 500", after=9.0), attempts=3)

    assert (item.state, item.reason) == ("dead", "gave up after 4 attempts: HTTP 500")


@pytest.mark.parametrize("attempts", [0, 3, 50])
def test_our_own_trouble_uses_up_no_try(attempts: int) -> None:
    item = settled(Retry(reason="no socket", counts=False), attempts=attempts, random=0.5)

    assert (item.state, item.counts) == ("pending", False)
    assert item.delay == OUR_DELAY * 1.5


def test_what_is_refused_for_good_is_dead_at_once() -> None:
    item = settled(Rejected(reason="no such stream"))

    assert (item.state, item.reason) == ("dead", "no such stream")


def test_what_a_sink_that_is_gone_did_not_take_is_held() -> None:
    item = settled(Rejected(reason="HTTP 410", disable=True))

    assert (item.state, item.reason) == ("pending", "HTTP 410")


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Delivered(), "succeeded"),
        (Retry(reason="x"), "failed"),
        (Rejected(reason="x"), "rejected"),
    ],
)
def test_outcomes_have_words(outcome: Any, said: str) -> None:
    item = settled(outcome)

    assert item.attempt
    assert item.attempt.outcome == word(outcome) == said
    assert datetime.fromtimestamp(item.attempt.at / 1e6, UTC).year == 1970
