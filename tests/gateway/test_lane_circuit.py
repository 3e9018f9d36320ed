"""One sink's lane while the sink fails: what it still sends, and what it gives back."""

from gateway import breaker
from gateway.lane import Lane
from tests.gateway.far_side import (
    FarSide,
    Listener,
    Time,
    a_lane,
    delivered,
    leased,
    names,
    refused,
)
from tests.sinks.receiver import until


async def test_a_dead_sink_opens_the_circuit_and_what_waits_goes_back() -> None:
    far, time_ = FarSide(parallel=1, reply=refused), Time()
    lane, listener = a_lane(far, time_.clocks())

    lane.offer(leased(*range(50)))
    await until(lambda: lane.breaker.state == "open")

    assert len(listener.settled) == breaker.LEAST_RESULTS
    assert len(listener.returned) == 50 - breaker.LEAST_RESULTS
    assert lane.load == 0
    assert lane.room() == 0


async def test_one_that_fails_gets_no_more_tries_than_open_its_circuit() -> None:
    """However many are in flight when they fail: those that follow are counted."""
    far, time_ = FarSide(parallel=8, reply=refused), Time()
    lane, listener = a_lane(far, time_.clocks())
    far.gate.clear()

    lane.offer(leased(*range(50)))
    await until(lambda: far.sending == 8)
    far.gate.set()
    await until(lambda: lane.breaker.state == "open" and not far.sending)

    assert len(far.got) == breaker.LEAST_RESULTS
    assert len(listener.returned) == 50 - breaker.LEAST_RESULTS


async def test_one_that_failed_and_is_well_again_is_sent_to_at_full_width() -> None:
    far = FarSide(parallel=8, reply=refused)
    lane, listener = a_lane(far)
    lane.offer(leased(*range(breaker.LEAST_RESULTS - 1)))
    await until(lambda: len(listener.settled) == breaker.LEAST_RESULTS - 1)
    far.reply, far.most_at_once = delivered, 0

    lane.offer(leased(*range(100, 140)))
    await until(lambda: len(listener.settled) == breaker.LEAST_RESULTS - 1 + 40)

    assert far.batches[breaker.LEAST_RESULTS - 1] == names(100)  # one, to see
    assert far.most_at_once == 8
    assert listener.returned == []


async def test_what_is_offered_to_an_open_circuit_goes_back_at_once() -> None:
    lane, listener, _ = await with_open_circuit(FarSide(reply=refused))

    lane.offer(leased(100, 101))

    assert listener.returned[-2:] == names(100, 101)
    assert lane.load == 0


async def with_open_circuit(far: FarSide) -> tuple[Lane, Listener, Time]:
    time_ = Time()
    lane, listener = a_lane(far, time_.clocks())
    lane.offer(leased(*range(breaker.LEAST_RESULTS)))
    await until(lambda: lane.breaker.state == "open" and not far.sending)
    return lane, listener, time_


async def test_one_probe_at_a_time_finds_out_that_the_sink_is_back() -> None:
    far = FarSide(parallel=8, batch_size=4, reply=refused)
    lane, listener, time_ = await with_open_circuit(far)
    far.reply, far.batches, far.most_at_once = delivered, [], 0
    time_.now += breaker.FIRST_PAUSE

    assert lane.room() == 1
    lane.offer(leased(*range(100, 140)))
    await until(lambda: len(listener.settled) == breaker.LEAST_RESULTS + 40)

    assert [len(batch) for batch in far.batches[:2]] == [1, 1]
    assert listener.well_again == 1
    assert lane.breaker.state == "closed"
    assert far.most_at_once > 1  # once it is well, all workers are wanted


async def test_a_failed_probe_gives_back_what_was_offered_with_it() -> None:
    far = FarSide(parallel=8, reply=refused)
    lane, listener, time_ = await with_open_circuit(far)
    far.batches.clear()
    time_.now += breaker.FIRST_PAUSE

    lane.offer(leased(100, 101, 102))
    await until(lambda: "d100" in listener.settled)

    assert far.got == names(100)
    assert listener.returned[-2:] == names(101, 102)
    assert lane.wait() == 2 * breaker.FIRST_PAUSE
