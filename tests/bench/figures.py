"""What a run found: figures by name, each measured several times, and the ratios between them."""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A ratio or a figure and what it shall be. `value`: None when the run did not measure it."""

    name: str
    wanted: str
    value: Callable[["Figures"], float | None]
    holds: Callable[[float], bool]


@dataclass
class Figures:
    """Medians, with their spread, because machines are noisy."""

    values: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def note(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)
        print(f"  {name}: {value:.4g}", flush=True)

    def median(self, name: str) -> float | None:
        found = self.values.get(name)
        return statistics.median(found) if found else None

    def ratio(self, name: str, to: str) -> float | None:
        above, below = self.median(name), self.median(to)
        return above / below if above is not None and below else None

    def report(self, goals: tuple[Goal, ...]) -> dict[str, Any]:
        """As it is written to the file."""
        figures = {
            name: {
                "median": statistics.median(found),
                "low": min(found),
                "high": max(found),
                "rounds": len(found),
            }
            for name, found in self.values.items()
        }
        judged = {
            goal.name: {"goal": goal.wanted, "value": value, "holds": goal.holds(value)}
            for goal in goals
            if (value := goal.value(self)) is not None
        }
        return {"figures": figures, "goals": judged, "notes": self.notes}


def show(report: dict[str, Any]) -> None:
    """The tables for people."""
    print(f"\n{'figure':<58}{'median':>10}{'low':>10}{'high':>10}")
    for name, found in report["figures"].items():
        row = "".join(f"{found[column]:>10.4g}" for column in ("median", "low", "high"))
        print(f"{name:<58}{row}")
    print(f"\n{'goal':<58}{'value':>10}{'wanted':>10}")
    for name, judged in report["goals"].items():
        mark = "" if judged["holds"] else "   not reached"
        print(f"{name:<58}{judged['value']:>10.3g}{judged['goal']:>10}{mark}")
    for title, table in report["notes"].items():
        print(f"\n{title}")
        for name, value in table.items():
            print(f"  {name:<24}{value:>8.0f}")


def write(report: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(report, indent=2) + "\n")
