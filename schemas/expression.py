"""JMESPath, bounded: what a tenant wrote as a filter or a template ends soon, whatever it says.

The language has no loops, but `[@,@][] | [@,@][] | …` doubles a list as often as it is written, and
what it shares in memory it spells out as JSON. So every step is counted, and what a step would make
of its input before it makes it; past the budget the expression fails.
https://jmespath.org/specification.html
"""

from __future__ import annotations

from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter
from jmespath.visitor import _Expression as Visited

BUDGET = 200_000  # steps, a tenth of a second of a machine that is not fast
LONGEST = 4096  # characters
DEEPEST = 100
CHARACTERS = 16  # of a text for one step

# What the library's functions let through.
_FAILED = (TypeError, ValueError, LookupError, ArithmeticError, RecursionError)


class TooMuchError(JMESPathError):
    """The expression does more than one may."""

    def __init__(self) -> None:
        super().__init__("it takes too many steps on this event")


class Expression:
    """A compiled expression. Raises JMESPathError when it is none, or too long or deep."""

    __slots__ = ("_tree",)

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise JMESPathError(f"it is longer than {LONGEST} characters")
        try:
            self._tree = jmespath.compile(text).parsed
        except RecursionError:
            raise JMESPathError("it is nested too deeply") from None
        if _depth(self._tree) > DEEPEST:
            raise JMESPathError("it is nested too deeply")

    def search(self, value: Any, budget: int = BUDGET) -> Any:
        """What it finds in a JSON value. Raises JMESPathError, TooMuchError among them."""
        return self._run(_Bounded(budget), value)

    def made(self, value: Any, budget: int = BUDGET) -> Any:
        """The same, when what it finds is to be written as JSON, in no more than the budget."""
        interpreter = _Bounded(budget)
        found = self._run(interpreter, value)
        interpreter.weigh(found, is_result=True)
        return found

    def _run(self, interpreter: _Bounded, value: Any) -> Any:
        try:
            return interpreter.visit(self._tree, value)
        except _FAILED as error:
            if isinstance(error, JMESPathError):
                raise
            raise JMESPathError(f"{type(error).__name__}: {error}") from None


def _depth(tree: Any) -> int:
    level, depth = [tree], 0
    while level:
        level = [c for node in level for c in node.get("children", ()) if isinstance(c, dict)]
        depth += 1
    return depth


class _Bounded(TreeInterpreter):
    """Counts what it does."""

    def __init__(self, budget: int) -> None:
        super().__init__()
        self._left = budget
        self._known = Functions()

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooMuchError

    def weigh(self, value: Any, *, is_result: bool = False) -> None:
        """Spend a step for everything inside, as often as it stands there. A result is JSON; among
        what a function is given there may be an expression (`&a`).
        """
        pending = [value]
        while pending:
            one = pending.pop()
            if isinstance(one, str):
                self._spend(1 + len(one) // CHARACTERS)
            elif isinstance(one, dict):
                self._spend(1 + len(one) + sum(map(len, one)) // CHARACTERS)
                pending.extend(one.values())
            elif isinstance(one, list):
                self._spend(1 + len(one))
                pending.extend(one)
            elif is_result and isinstance(one, Visited):
                raise JMESPathError("`&` gives no value by itself")

    def visit(self, node: Any, *args: Any, **named: Any) -> Any:
        self._spend(1)
        return super().visit(node, *args, **named)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._spend(sum(len(one) if isinstance(one, list) else 1 for one in base))
        here: Any = {**node, "children": [{"type": "current"}]}
        return super().visit_flatten(here, base)

    def visit_slice(self, node: Any, value: Any) -> Any:
        self._spend(len(value) if isinstance(value, list) else 0)
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        if all(isinstance(side, list | dict) for side in sides):
            self.weigh(sides)
        literals = [{"type": "literal", "value": side} for side in sides]
        known: Any = {**node, "children": literals}
        return super().visit_comparator(known, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        given = [self.visit(child, value) for child in node["children"]]
        self.weigh(given)
        if node["value"] == "join" and len(given) == 2:
            glue, parts = given
            if isinstance(glue, str) and isinstance(parts, list):
                self._spend(len(glue) * len(parts) // CHARACTERS)
        return self._known.call_function(node["value"], given)
