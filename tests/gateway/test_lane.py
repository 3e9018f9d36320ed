"""One sink's lane: everything offered is settled or given back, exactly once, whatever happens."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import lane as lane_module
from schemas.delivery import Delivered, Message, Outcome, Rejected, Retry
from tests.gateway.far_side import (
    FarSide,
    Time,
    a_lane,
    leased,
    names,
)
from tests.sinks.receiver import until


async def test_what_is_offered_is_sent_and_settled() -> None:
    lane, listener = a_lane(far := FarSide())

    lane.offer(leased(1, 2, 3))
    await until(lambda: len(listener.settled) == 3)

    assert sorted(far.got) == names(1, 2, 3)
    assert lane.load == 0
    assert listener.returned == []


async def test_no_more_at_once_than_the_sink_wants() -> None:
    far = FarSide(parallel=3, batch_size=10)
    lane, listener = a_lane(far)
    far.gate.clear()

    lane.offer(leased(*range(100)))
    await until(lambda: far.sending == 3)
    assert lane.load == 100
    assert lane.ids() == set(names(*range(100)))
    far.gate.set()
    await until(lambda: len(listener.settled) == 100)

    assert far.most_at_once == 3
    assert {len(batch) for batch in far.batches} == {10}


async def test_an_offer_while_the_last_worker_ends_is_not_stranded() -> None:
    """The worker's end and the offer fall into one turn of the event loop."""
    lane, listener = a_lane(FarSide(parallel=1))
    loop = asyncio.get_running_loop()
    waiting = iter(range(2, 200))

    def offer_another(_: str) -> None:
        number = next(waiting, None)
        if number is not None:
            loop.call_soon(lane.offer, leased(number))

    listener.on_settle = offer_another
    lane.offer(leased(1))

    await until(lambda: len(listener.settled) == 199, patience=5)


@pytest.mark.parametrize("reply", [lambda _: 1 / 0, lambda m: {}[m.delivery_id]])
async def test_a_bug_in_a_sink_loses_nothing(reply: Callable[[Message], Outcome]) -> None:
    lane, listener = a_lane(FarSide(batch_size=5, reply=reply))

    lane.offer(leased(1, 2, 3))
    await until(lambda: len(listener.settled) == 3)

    assert {type(outcome) for outcome in listener.settled.values()} == {Retry}


@pytest.mark.parametrize("count", [0, 2, 4])
async def test_a_sink_that_answers_for_too_many_or_too_few_is_not_believed(count: int) -> None:
    class Miscounting(FarSide):
        async def send(self, batch: Any) -> list[Outcome]:
            return [Delivered()] * count

    lane, listener = a_lane(Miscounting(batch_size=3))

    lane.offer(leased(1, 2, 3))
    await until(lambda: len(listener.settled) == 3)

    assert {type(outcome) for outcome in listener.settled.values()} == {Retry}


async def test_a_sink_that_never_answers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "LONGEST_SEND", 0.05)
    far = FarSide()
    far.gate.clear()
    lane, listener = a_lane(far)

    lane.offer(leased(1))
    await until(lambda: len(listener.settled) == 1)

    assert isinstance(listener.settled["d1"], Retry)


async def test_retry_after_holds_the_whole_sink() -> None:
    far = FarSide(parallel=1, reply=lambda _: Retry(reason="HTTP 429", after=60.0))
    lane, listener = a_lane(far, (time_ := Time()).clocks())

    lane.offer(leased(1, 2, 3))
    await until(lambda: len(listener.returned) == 2)

    assert (far.got, listener.returned) == (names(1), names(2, 3))
    assert (lane.room(), lane.wait()) == (0, 60.0)
    assert lane.breaker.state == "closed"  # a sink that is busy is not a sink that is down
    time_.now += 60
    assert lane.room() > 0


async def test_a_short_hold_is_sat_out_with_what_is_in_memory() -> None:
    replies = iter([Retry(reason="HTTP 429", after=0.2)])
    far = FarSide(parallel=1, reply=lambda _: next(replies, Delivered()))
    lane, listener = a_lane(far)
    began = time.monotonic()

    lane.offer(leased(1, 2))
    await until(lambda: len(listener.settled) == 2)

    assert time.monotonic() - began >= 0.2
    assert listener.returned == []


async def test_a_sink_that_wants_nothing_any_more_is_left_alone() -> None:
    far = FarSide(parallel=1, reply=lambda _: Rejected(reason="HTTP 410", disable=True))
    lane, listener = a_lane(far, Time().clocks())

    lane.offer(leased(1, 2, 3))
    await until(lambda: len(listener.returned) == 2)

    assert far.got == names(1)
    assert lane.room() == 0


async def test_a_refusal_for_good_says_nothing_of_the_sink() -> None:
    far = FarSide(reply=lambda _: Rejected(reason="too large"))
    lane, listener = a_lane(far)

    lane.offer(leased(*range(30)))
    await until(lambda: len(listener.settled) == 30)

    assert lane.breaker.state == "closed"


async def test_our_own_trouble_does_not_open_the_circuit() -> None:
    far = FarSide(reply=lambda _: Retry(reason="no socket", counts=False))
    lane, listener = a_lane(far)

    lane.offer(leased(*range(30)))
    await until(lambda: len(listener.settled) == 30)

    assert lane.breaker.state == "closed"


async def test_a_rate_limit_paces_and_takes_no_batches() -> None:
    far = FarSide(batch_size=10)
    lane, listener = a_lane(far, rate_limit=20)
    began = time.monotonic()

    lane.offer(leased(*range(25)))
    await until(lambda: len(listener.settled) == 25)

    assert time.monotonic() - began >= 0.2  # 20 at once, then 20 a second
    assert {len(batch) for batch in far.batches} == {1}


async def test_it_says_when_there_is_room_to_whoever_was_turned_away() -> None:
    far = FarSide(parallel=1)
    lane, listener = a_lane(far)
    far.gate.clear()
    lane.offer(leased(*range(lane.bound)))
    assert lane.room() == 0
    lane.wanting = True

    far.gate.set()
    await until(lambda: len(listener.settled) == lane.bound)

    assert listener.room == 1
    lane.offer(leased(500))
    await until(lambda: "d500" in listener.settled)
    assert listener.room == 1  # nobody was turned away since


async def test_closing_gives_back_what_waits_and_lets_finish_what_is_sent() -> None:
    far = FarSide(parallel=2)
    far.gate.clear()
    lane, listener = a_lane(far)
    lane.offer(leased(1, 2, 3, 4))
    await until(lambda: far.sending == 2)

    closing = asyncio.create_task(lane.close(10))
    await until(lambda: len(listener.returned) == 2)
    lane.offer(leased(5))
    far.gate.set()
    await closing

    assert sorted(listener.settled) == names(1, 2)
    assert sorted(listener.returned) == names(3, 4, 5)
    assert (far.closed, lane.load) == (1, 0)


async def test_closing_does_not_wait_for_ever_for_what_is_sent() -> None:
    far = FarSide(parallel=2)
    far.gate.clear()
    lane, listener = a_lane(far)
    lane.offer(leased(1, 2, 3))
    await until(lambda: far.sending == 2)

    await lane.close(0.05)

    assert sorted(listener.returned) == names(1, 2, 3)
    assert (listener.settled, lane.load, far.closed) == ({}, 0, 1)


async def test_a_second_close_hurries_the_first() -> None:
    far = FarSide()
    far.gate.clear()
    lane, listener = a_lane(far)
    lane.offer(leased(1))
    await until(lambda: far.sending == 1)
    patient = asyncio.create_task(lane.close(60))

    await lane.close(0.05)
    await asyncio.wait_for(patient, 5)

    assert listener.returned == names(1)


async def test_closing_wakes_who_waits_for_the_rate() -> None:
    lane, listener = a_lane(FarSide(), rate_limit=0.1)
    lane.offer(leased(1, 2, 3))
    await until(lambda: len(listener.settled) == 1)
    began = time.monotonic()

    await lane.close(30)

    assert time.monotonic() - began < 2
    assert sorted([*listener.settled, *listener.returned]) == names(1, 2, 3)


@pytest.mark.parametrize("trouble", [RuntimeError("stuck"), None])
async def test_a_sink_that_cannot_let_go_holds_nobody_up(
    trouble: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clinging(FarSide):
        async def close(self) -> None:
            if trouble:
                raise trouble
            await asyncio.sleep(60)

    monkeypatch.setattr(lane_module, "CLOSE_SECONDS", 0.05)
    lane, _ = a_lane(Clinging())

    await asyncio.wait_for(lane.close(1), 5)


async def test_a_bug_of_ours_gives_back_what_waits() -> None:
    def fail(ident: str) -> None:
        if ident == "d1":
            raise RuntimeError

    lane, listener = a_lane(FarSide(parallel=1))
    listener.on_settle = fail

    lane.offer(leased(1, 2, 3))
    await until(lambda: len(listener.returned) == 2)
    lane.offer(leased(4))
    await until(lambda: "d4" in listener.settled)

    assert lane.load == 0


OUTCOMES: list[Outcome | Exception] = [
    Delivered(),
    Retry(reason="HTTP 500"),
    Retry(reason="HTTP 429", after=0.01),
    Retry(reason="HTTP 429", after=30.0),
    Retry(reason="no socket", counts=False),
    Rejected(reason="HTTP 413"),
    Rejected(reason="HTTP 410", disable=True),
    RuntimeError("a bug"),
]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    parallel=st.integers(1, 5),
    batch_size=st.integers(1, 5),
    weights=st.lists(st.integers(0, 5), min_size=len(OUTCOMES), max_size=len(OUTCOMES)),
)
def test_every_delivery_is_settled_or_given_back_once(
    seed: int, parallel: int, batch_size: int, weights: list[int]
) -> None:
    asyncio.run(_play(random.Random(seed), parallel, batch_size, weights))


async def _play(chance: random.Random, parallel: int, batch_size: int, weights: list[int]) -> None:
    time_ = Time()

    def reply(_: Message) -> Outcome:
        (outcome,) = chance.choices(OUTCOMES, [weight or 0.1 for weight in weights])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    far = FarSide(batch_size=batch_size, parallel=parallel, reply=reply)
    lane, listener = a_lane(far, time_.clocks())
    numbers = iter(range(10_000))
    offered = 0
    for _ in range(30):
        count = chance.randrange(8)
        lane.offer(leased(*(next(numbers) for _ in range(count))))
        offered += count
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        time_.now += chance.choice([0.0, 0.0, 0.02, 1.0, 40.0])
    await lane.close(1)

    ends = [*listener.settled, *listener.returned]
    assert len(ends) == len(set(ends)) == offered
    assert far.most_at_once <= parallel
    assert lane.load == 0
