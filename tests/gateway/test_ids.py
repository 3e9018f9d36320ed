"""Ids sort by the time they were made, in the order they were made, whatever the clock does."""

from collections.abc import Callable

import pytest

from gateway.ids import ALPHABET, Ulids, time_of


class Clock:
    def __init__(self, *readings: int) -> None:
        self._readings = list(readings)

    def __call__(self) -> int:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]


def zeros(size: int) -> bytes:
    return bytes(size)


def ones(size: int) -> bytes:
    return b"\xff" * size


def test_an_id_is_the_time_and_chance() -> None:
    # The example of https://github.com/ulid/spec
    chance = int.from_bytes(bytes.fromhex("d9b19e7debc4ea5d2d5b"), "big").to_bytes(10, "big")
    make = Ulids(Clock(1_469_922_850_259_999), lambda size: chance[:size])

    ulid = make()

    assert len(ulid) == 26
    assert ulid[:10] == "01arz3ndek"
    value = 0
    for character in ulid[10:]:
        value = value * 32 + ALPHABET.index(character)
    assert value.to_bytes(10, "big") == chance
    assert time_of(ulid) == 1_469_922_850_259_000


@pytest.mark.parametrize("chance", [zeros, ones], ids=["smallest", "greatest"])
def test_ids_of_one_millisecond_grow(chance: Callable[[int], bytes]) -> None:
    make = Ulids(Clock(1_700_000_000_000_000), chance)
    ids = [make() for _ in range(1000)]

    assert ids == sorted(set(ids))


def test_ids_grow_when_the_clock_steps_back() -> None:
    readings = [2_000_000, 5_000_000, 1_000_000, 0, 5_000_000, 5_001_000, 4_000_000]
    make = Ulids(Clock(*readings), ones)
    ids = [make() for _ in readings]

    assert ids == sorted(set(ids))
    assert [time_of(one) for one in ids[:2]] == [2_000_000, 5_000_000]


@pytest.mark.parametrize(
    "text", ["", "01arz3ndek", "81arz3ndektsv4rrffq69g5fav", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "u" * 26]
)
def test_what_is_no_ulid_has_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="no ULID"):
        time_of(text)


@pytest.mark.parametrize("clock", [-1000, (1 << 48) * 1000])
def test_times_out_of_reach_are_refused(clock: int) -> None:
    with pytest.raises(ValueError, match="no place"):
        Ulids(Clock(clock), zeros)()
