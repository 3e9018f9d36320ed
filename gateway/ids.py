"""Ids: lower-case ULIDs, which sort by the time they were made, in the order they were made."""

from __future__ import annotations

from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_LAST_MILLISECOND = (1 << 48) - 1
_NEVER = -(1 << 63)
_DRAWN = 4096  # random bytes at a time: asking the system costs more than the rest of an id


class Ulids:
    """Makes ids; one per process (not per thread).

    `clock`: microseconds since 1970. `random_bytes(n)`: n unpredictable bytes. Each id is greater
    than the one before, also within a millisecond and after the clock stepped back: then the random
    part counts on, in steps that keep the next id a secret.
    """

    __slots__ = ("_at", "_clock", "_drawn", "_millisecond", "_pairs", "_prefix", "_random", "_tail")

    def __init__(self, clock: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._clock, self._random = clock, random_bytes
        self._pairs = [a + b for a in ALPHABET for b in ALPHABET]
        self._millisecond, self._prefix, self._tail = _NEVER, "", 0
        self._drawn, self._at = b"", 0

    def __call__(self) -> str:
        millisecond = self._clock() // 1000
        if millisecond > self._millisecond:
            self._start(millisecond)
        else:
            self._tail += 1 + self._number(4)
            if self._tail >> _RANDOM_BITS:
                self._start(self._millisecond + 1)
        tail, pairs = self._tail, self._pairs
        return (
            f"{self._prefix}{pairs[tail >> 70]}{pairs[tail >> 60 & 1023]}{pairs[tail >> 50 & 1023]}"
            f"{pairs[tail >> 40 & 1023]}{pairs[tail >> 30 & 1023]}{pairs[tail >> 20 & 1023]}"
            f"{pairs[tail >> 10 & 1023]}{pairs[tail & 1023]}"
        )

    def _number(self, size: int) -> int:
        """An unpredictable number of so many bytes."""
        end = self._at + size
        if end > len(self._drawn):
            self._drawn, self._at, end = self._random(_DRAWN), 0, size
        number = int.from_bytes(self._drawn[self._at : end], "big")
        self._at = end
        return number

    def _start(self, millisecond: int) -> None:
        if not 0 <= millisecond <= _LAST_MILLISECOND:
            raise ValueError(f"{millisecond} ms has no place in a ULID")
        self._millisecond = millisecond
        self._tail = self._number(10)
        self._prefix = "".join(
            self._pairs[millisecond >> shift & 1023] for shift in range(40, -1, -10)
        )


def time_of(ulid: str) -> int:
    """When an id was made, in microseconds, to the millisecond. Raises ValueError for what is no
    ULID.
    """
    if len(ulid) != 26 or ulid[0] > "7" or not all(c in ALPHABET for c in ulid):
        raise ValueError(f"{ulid!r} is no ULID")
    value = 0
    for character in ulid[:10]:
        value = value << 5 | ALPHABET.index(character)
    return value * 1000
