"""Form bodies as PHP writes them: `order[items][0][name]=x` becomes nested objects and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from schemas.errors import UnparsableError

MAX_FIELDS = 5000
MAX_NESTING = 16
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")


def parse_form(body: bytes) -> dict[str, Any]:
    """A form body as nested values; every leaf is a string. Raises UnparsableError when it is none.

    Text is UTF-8, or Latin-1 where it is not (older Brazilian platforms). Of a repeated plain key
    the last counts.
    """
    return nest(parse_pairs(body))


def nest(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Fields with names like `items[0][name]` as nested values. Raises UnparsableError when they
    are nested too deeply.
    """
    root: dict[str, Any] = {}
    for name, value in pairs:
        _place(root, name, value)
    result: dict[str, Any] = {key: _settle(value) for key, value in root.items()}
    return result


def parse_pairs(body: bytes) -> list[tuple[str, str]]:
    """The name and value of every field in order, decoded; a field without = has no value."""
    if body.count(b"&") >= MAX_FIELDS:
        raise UnparsableError(f"the form has more than {MAX_FIELDS} fields")
    if b"=" not in body:
        raise UnparsableError("the body is not a form: no field has a =")
    parts = (part.partition(b"=") for part in body.strip().split(b"&") if part)
    return [(_text(name), _text(value)) for name, _, value in parts]


def _text(raw: bytes) -> str:
    plain = raw.replace(b"+", b" ")
    if b"%" in plain:
        plain = unquote_to_bytes(plain)
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain.decode("latin-1")


def _place(root: dict[str, Any], name: str, value: Any) -> None:
    match = _KEY.fullmatch(name) if "[" in name else None
    if match is None:
        root[name or _next(root)] = value
        return
    steps = [match[1], *match[2][1:-1].split("][")]
    if len(steps) > MAX_NESTING:
        raise UnparsableError("the form is nested too deeply")
    *outer, last = steps
    here = root
    for step in outer:
        key = step or _next(here)
        inner = here.get(key)
        if not isinstance(inner, dict):
            inner = here[key] = {}
        here = inner
    here[last or _next(here)] = value


def _next(here: dict[str, Any]) -> str:
    """The key that `[]` stands for."""
    at = len(here)
    while str(at) in here:
        at += 1
    return str(at)


def _settle(value: Any) -> Any:
    """Objects whose keys are 0, 1, 2 … are lists."""
    if not isinstance(value, dict):
        return value
    inner = [_settle(v) for v in value.values()]
    if list(value) == [str(i) for i in range(len(value))]:
        return inner
    return dict(zip(value, inner, strict=True))
