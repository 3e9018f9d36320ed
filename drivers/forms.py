"""Form bodies as PHP writes them: `order[items][0][name]=x` becomes nested objects and lists."""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from schemas.errors import UnparsableError

MAX_FIELDS = 5000
MAX_NESTING = 16
_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
# A provider's fields have the same names in every delivery. Only short ones are remembered: their
# sender is anybody.
_USUAL_NAME = 64


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
    return {key: _settle(value) for key, value in root.items()}


def parse_pairs(body: bytes) -> list[tuple[str, str]]:
    """The name and value of every field in order, decoded; a field without = has no value."""
    if body.count(b"&") >= MAX_FIELDS:
        raise UnparsableError(f"the form has more than {MAX_FIELDS} fields")
    if b"=" not in body:
        raise UnparsableError("the body is not a form: no field has a =")
    parts = (part.partition(b"=") for part in body.strip().split(b"&") if part)
    return [
        (_usual_text(name) if len(name) <= _USUAL_NAME else _text(name), _text(value))
        for name, _, value in parts
    ]


def _text(raw: bytes) -> str:
    plain = raw.replace(b"+", b" ")
    if b"%" in plain:
        around = _ESCAPED.split(plain)
        around[1::2] = map(unhexlify, around[1::2])
        plain = b"".join(around)
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain.decode("latin-1")


_usual_text = lru_cache(maxsize=4096)(_text)


def _place(root: dict[str, Any], name: str, value: Any) -> None:
    if "[" not in name:
        root[name or _next(root)] = value
        return
    *outer, last = _usual_steps(name) if len(name) <= _USUAL_NAME else _steps(name)
    if len(outer) >= MAX_NESTING:
        raise UnparsableError("the form is nested too deeply")
    here = root
    for step in outer:
        key = step or _next(here)
        inner = here.get(key)
        if not isinstance(inner, dict):
            inner = here[key] = {}
        here = inner
    here[last or _next(here)] = value


def _steps(name: str) -> tuple[str, ...]:
    """The keys that `items[0][name]` goes through; the name itself where it is not of this form."""
    match = _KEY.fullmatch(name)
    return (match[1], *match[2][1:-1].split("][")) if match else (name,)


_usual_steps = lru_cache(maxsize=4096)(_steps)


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
    inner = [_settle(v) if type(v) is dict else v for v in value.values()]
    if "0" in value and list(value) == [str(i) for i in range(len(value))]:
        return inner
    return dict(zip(value, inner, strict=True))
