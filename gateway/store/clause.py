"""Conditions of a query, in the SQL that both engines speak."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gateway.store.rows import Wanted


class Sql:
    """A WHERE clause in the making, its arguments in order of appearance."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.args: list[Any] = []

    def add(self, condition: str, *values: Any) -> None:
        """A condition with `{}` for each value."""
        marks = [self.mark(v) for v in values]
        self.parts.append(condition.format(*marks))

    def mark(self, value: Any) -> str:
        """The placeholder of one more argument."""
        self.args.append(value)
        return f"${len(self.args)}"

    def equal(self, **named: Any) -> None:
        """Column = value, for the values that are given."""
        for column, value in named.items():
            if value is not None:
                self.add(column.replace("__", ".") + " = {}", value)

    def within(self, column: str, values: Collection[str | int] | None) -> None:
        """Column in a small set."""
        if values is not None:
            marks = ", ".join(self.mark(v) for v in values) or "NULL"
            self.parts.append(f"{column} IN ({marks})")

    @property
    def where(self) -> str:
        """The clause."""
        return " AND ".join(self.parts)


def with_state(sql: Sql, status: str | None, table: str = "d") -> None:
    """Deliveries as the API calls their state: `retrying` is pending after a try."""
    if status == "retrying":
        sql.add(f"{table}.state = 'pending' AND {table}.attempts > 0")
    elif status == "pending":
        sql.add(f"{table}.state = 'pending' AND {table}.attempts = 0")
    elif status is not None:
        sql.add(f"{table}.state = {{}}", "leased" if status == "delivering" else status)


def between(sql: Sql, column: str, wanted: Wanted) -> None:
    """A time inside the wanted one, ends excluded."""
    if wanted.after is not None:
        sql.add(column + " > {}", wanted.after)
    if wanted.before is not None:
        sql.add(column + " < {}", wanted.before)
