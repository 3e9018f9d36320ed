"""Rate limiting by GCRA: one number per key, time as an argument (seconds, monotonic)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """At most `rate` a second on average, with bursts of up to `burst` seconds' worth."""

    rate: float
    _due: float = 0.0
    burst: float = 1.0

    def take(self, now: float) -> float:
        """0 and one is taken, or the seconds to wait and nothing is."""
        step, burst = 1.0 / self.rate, max(self.burst, 1.0 / self.rate)
        due = max(self._due, now)
        wait = due + step - burst - now
        if wait > 1e-9:
            return wait
        self._due = due + step
        return 0.0


@dataclass(slots=True)
class Paces:
    """One pace per key; idle keys are forgotten once `limit` is passed. A rate of 0 is no limit."""

    rate: float
    limit: int = 10_000
    _by_key: dict[str, Pace] = field(default_factory=dict)

    def take(self, key: str, now: float) -> float:
        """See Pace.take."""
        if not self.rate:
            return 0.0
        pace = self._by_key.get(key)
        if pace is None:
            if len(self._by_key) >= self.limit:
                self._by_key.clear()
            pace = self._by_key[key] = Pace(self.rate)
        return pace.take(now)
