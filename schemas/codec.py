"""JSON in and out, exact: integers of any length, Decimals, lone surrogates.

Reading refuses what would be changed in silence (duplicate keys, NaN, bottomless nesting). Writing
goes through orjson, and through the slower standard library only for the values orjson cannot
write.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from schemas.errors import UnparsableError

MAX_DEPTH = 96  # deeper than any provider nests; well below Python's recursion limit
MAX_DIGITS = 1024  # a longer number is an attack on int(), not an amount
MAX_EXPONENT = 400  # beyond what a double holds; 1e999999999 is an attack on int(), too


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise UnparsableError("the JSON has an object with the same key twice")
    return result


def _constant(text: str) -> Any:
    raise UnparsableError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise UnparsableError("the JSON has a number of absurd length")
    return int(text)


def _fraction(text: str) -> Decimal:
    found = Decimal(text)
    if len(text) > MAX_DIGITS or abs(found.adjusted()) > MAX_EXPONENT:
        raise UnparsableError("the JSON has a number of absurd size")
    return found


def _refuse_depth(value: Any) -> None:
    """Refuse nesting beyond MAX_DEPTH: what reads the value later may recurse into it."""
    level = [value]
    for _ in range(MAX_DEPTH):
        children = (v.values() if isinstance(v, dict) else v for v in level)
        level = [c for inner in children for c in inner if isinstance(c, dict | list)]
        if not level:
            return
    raise UnparsableError("the JSON is nested too deeply")


_DECODER = json.JSONDecoder(
    parse_float=_fraction, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_object
)


def loads(body: bytes) -> Any:
    """The value of a JSON document (UTF-8, with or without a byte order mark).

    Raises UnparsableError for anything that is not exactly JSON, or would not survive the reading.
    """
    try:
        value = _DECODER.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnparsableError(f"the body is not JSON: {str(error)[:120]}") from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _refuse_depth(value)
    return value


def _plain(value: Any) -> Any:
    """What orjson cannot write itself: exact Decimals, and our times."""
    if isinstance(value, Decimal):
        return orjson.Fragment(_decimal(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _decimal(value: Decimal) -> str:
    text = format(value, "f") if -20 < value.adjusted() < 40 else str(value)
    return text.replace("E+", "E")


def dumps(value: Any) -> bytes:
    """`value` as compact UTF-8 JSON: dataclasses by their fields, datetimes as RFC 3339 with Z,
    Decimals digit for digit.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:
        return _slow_dumps(value)


_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def _slow_dumps(value: Any) -> bytes:
    """For what orjson refuses: 30-digit integers and lone surrogates (written as escapes)."""
    return _text(value).encode("ascii")


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, datetime):
        return orjson.dumps(value, option=_OPTIONS).decode("ascii")
    if is_dataclass(value) and not isinstance(value, type):
        return _text({f.name: getattr(value, f.name) for f in fields(value)})
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(k))}:{_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value)
