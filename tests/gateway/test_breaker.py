"""The circuit breaker: its rules by example, and a plain model of them for any history."""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway import breaker as rules
from gateway.breaker import Breaker


def fail(breaker: Breaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        breaker.record(ok=False, now=now)


def state(breaker: Breaker) -> str:
    """Asked anew: time changes it."""
    return breaker.state


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    fail(breaker, rules.LEAST_RESULTS, now)
    return breaker


def test_ten_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    fail(breaker, 9)
    assert state(breaker) == "closed"

    changed = breaker.record(ok=False, now=0.0)

    assert changed
    assert state(breaker) == "open"
    assert breaker.wait(0.0) == rules.FIRST_PAUSE
    assert breaker.allowance == 0


def test_a_success_breaks_the_row() -> None:
    breaker = Breaker()
    for _ in range(20):
        fail(breaker, 2)
        breaker.record(ok=True, now=0.0)
        breaker.record(ok=True, now=0.0)

    assert state(breaker) == "closed"


def test_seven_failures_of_ten_open_it() -> None:
    breaker = Breaker()
    fail(breaker, 5)
    for ok in (True, True, True, False):
        breaker.record(ok=ok, now=1.0)
    assert state(breaker) == "closed"

    breaker.record(ok=False, now=2.0)

    assert state(breaker) == "open"


def test_a_success_never_opens_it() -> None:
    breaker = Breaker()
    fail(breaker, 8)
    breaker.record(ok=True, now=0.0)

    assert breaker.record(ok=True, now=0.0) is False  # the tenth result, with 80 % failures
    assert state(breaker) == "closed"


def test_what_is_older_than_the_window_does_not_count() -> None:
    breaker = Breaker()
    fail(breaker, 8)
    breaker.record(ok=True, now=1.0)

    fail(breaker, 8, now=rules.WINDOW + 2)

    assert state(breaker) == "closed"


def test_ten_failures_in_a_row_count_however_slowly_they_come() -> None:
    breaker = Breaker()
    for number in range(9):
        breaker.record(ok=False, now=number * rules.WINDOW * 2)
    assert state(breaker) == "closed"

    assert breaker.record(ok=False, now=20 * rules.WINDOW) is True


def test_an_open_breaker_half_opens_after_its_pause_for_one_probe() -> None:
    breaker = opened()

    assert breaker.wait(rules.FIRST_PAUSE - 0.25) == 0.25
    assert state(breaker) == "open"
    assert breaker.wait(rules.FIRST_PAUSE) == 0.0
    assert state(breaker) == "half_open"
    assert breaker.allowance == 1


def test_two_good_probes_close_it() -> None:
    breaker = opened()
    breaker.wait(rules.FIRST_PAUSE)

    assert breaker.record(ok=True, now=rules.FIRST_PAUSE) is False
    assert breaker.record(ok=True, now=rules.FIRST_PAUSE) is True
    assert state(breaker) == "closed"
    assert breaker.allowance is None
    assert breaker.reopens == 0


def test_a_bad_probe_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(2000):  # days of it: a pause must not outgrow a float either
        pauses.append(breaker.wait(now))
        now += pauses[-1]
        breaker.wait(now)
        assert breaker.record(ok=False, now=now) is True

    assert pauses[:3] == [rules.FIRST_PAUSE, 2 * rules.FIRST_PAUSE, 4 * rules.FIRST_PAUSE]
    assert set(pauses[10:]) == {rules.LONGEST_PAUSE}


def test_a_late_result_does_not_touch_an_open_breaker() -> None:
    breaker = opened()
    until = breaker.opened_until

    breaker.record(ok=True, now=0.5)
    breaker.record(ok=False, now=0.5)

    assert (state(breaker), breaker.opened_until) == ("open", until)


@pytest.mark.parametrize("ok", [True, False])
def test_what_it_remembers_is_bounded(ok: bool) -> None:
    breaker = Breaker()
    for number in range(5000):
        breaker.record(ok=bool(number % 2) or ok, now=0.0)
        breaker.wait(1e9)

    assert len(breaker._results) <= rules.MOST_RESULTS


@dataclass
class Plain:
    """The rules again, without regard for speed."""

    state: str = "closed"
    results: list[tuple[float, bool]] = field(default_factory=list)
    until: float = 0.0
    opened: int = 0
    good: int = 0
    in_a_row: int = 0

    def look(self, now: float) -> None:
        if self.state == "open" and now >= self.until:
            self.state, self.good = "half_open", 0

    def record(self, ok: bool, now: float) -> None:
        if self.state == "half_open":
            self.good = self.good + 1 if ok else 0
            if not ok:
                self.open(now)
            elif self.good == rules.PROBES_TO_CLOSE:
                self.state, self.opened, self.results, self.in_a_row = "closed", 0, [], 0
        elif self.state == "closed":
            if ok and not self.results:
                return  # a window begins with a failure
            self.in_a_row = 0 if ok else self.in_a_row + 1
            self.results.append((now, ok))
            self.results = [r for r in self.results if r[0] >= now - rules.WINDOW]
            if all(good for _, good in self.results):
                self.results = []
            elif not ok and self.is_failing():
                self.open(now)

    def is_failing(self) -> bool:
        words = [good for _, good in self.results]
        often = words.count(False) / len(words) >= rules.FAILURE_RATE
        return self.in_a_row >= 10 or (often and len(words) >= 10)  # however slowly they came

    def open(self, now: float) -> None:
        pause = rules.FIRST_PAUSE
        for _ in range(min(self.opened, 100)):
            pause = min(pause * 2, rules.LONGEST_PAUSE)
        self.state, self.until = "open", now + pause
        self.opened += 1
        self.results, self.in_a_row = [], 0


class History(RuleBasedStateMachine):
    """Any history of results leaves the breaker where the plain rules are."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.plain, self.now = Breaker(), Plain(), 0.0

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 7.0, 31.0, 200.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(ok=st.booleans(), times=st.integers(1, 6))
    def results_come(self, ok: bool, times: int) -> None:
        for _ in range(times):
            before = self.breaker.state
            changed = self.breaker.record(ok=ok, now=self.now)
            self.plain.record(ok, self.now)
            assert changed == (self.breaker.state != before)

    @rule()
    def somebody_asks(self) -> None:
        self.breaker.wait(self.now)
        self.plain.look(self.now)

    @invariant()
    def they_agree(self) -> None:
        assert self.breaker.state == self.plain.state
        if self.plain.state == "open":
            assert self.breaker.opened_until == self.plain.until


TestHistory = History.TestCase
