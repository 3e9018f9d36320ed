"""The table of faults that a run ends with."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.faults.ledger import Audit

HEAD = (
    "#",
    "fault",
    "tries",
    "acknowledged",
    "delivered",
    "pending",
    "dead",
    "lost",
    "duplicates",
    "recovery",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault and what came of it. `recovery`: seconds until everything was well again."""

    number: int
    fault: str
    tries: int
    acknowledged: int
    delivered: int
    pending: int
    dead: int
    lost: int
    duplicates: int
    recovery: float | None = None
    note: str = ""

    @classmethod
    def of(
        cls, number: int, fault: str, audit: Audit, *, tries: int, recovery: float | None, note: str
    ) -> "Row":
        return cls(
            number=number,
            fault=fault,
            tries=tries,
            acknowledged=audit.acknowledged,
            delivered=audit.delivered,
            pending=audit.pending,
            dead=audit.dead,
            lost=len(audit.lost),
            duplicates=audit.duplicates,
            recovery=recovery,
            note=note,
        )

    def plain(self) -> dict[str, Any]:
        """As a test's report can carry it."""
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        counts = (self.acknowledged, self.delivered, self.pending, self.dead, self.lost)
        recovery = "" if self.recovery is None else f"{self.recovery:.1f} s"
        fault = f"{self.fault}: {self.note}" if self.note else self.fault
        number = str(self.number or "")
        return (number, fault, str(self.tries), *map(str, counts), str(self.duplicates), recovery)


def markdown(rows: Iterable[Row]) -> str:
    """A table, its columns aligned."""
    ordered = sorted(rows, key=lambda row: (row.number or 99, row.fault))
    lines: list[Sequence[str]] = [HEAD, *(row.cells() for row in ordered)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    shown = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join((shown[0], rule, *shown[1:]))
