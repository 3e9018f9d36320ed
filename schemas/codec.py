"""JSON in and out, exact: integers of any length, Decimals, lone surrogates.

Reading refuses what would be changed in silence (duplicate keys, NaN, bottomless nesting). Both
ways have a quick library for the usual document (msgspec reads, orjson writes) and the standard
library for what that one cannot do, or cannot be seen to have done exactly.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
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
    try:
        found = Decimal(text)
    except ArithmeticError:  # its exponent is beyond even a Decimal
        raise UnparsableError("the JSON has a number of absurd size") from None
    if len(text) > MAX_DIGITS or not -MAX_EXPONENT <= found.adjusted() <= MAX_EXPONENT:
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


_EXACT = json.JSONDecoder(
    parse_float=_fraction, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_object
)
# As strict as the standard library, as exact with numbers, four times as quick; but of a key that
# stands twice it keeps the last, and it does not know our limits. It refuses some that we take: a
# byte order mark, lone surrogates.
_QUICK = msgspec.json.Decoder(float_hook=_fraction)
_LARGE = 2**63  # a longer integer may be longer than MAX_DIGITS


def loads(body: bytes) -> Any:
    """The value of a JSON document (UTF-8, with or without a byte order mark).

    Raises UnparsableError for anything that is not exactly JSON, or would not survive the reading.
    """
    try:
        value = _QUICK.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _exact_loads(body)
    return value if _is_whole(value, body) else _exact_loads(body)


def _is_whole(value: Any, body: bytes) -> bool:
    """Whether `value` is surely all that `body` says, every number within our limits.

    Every key and every text has two quotes in the body. A key that was dropped because it stood
    twice leaves quotes over; so does an escaped quote, which is why False means only: look closer.
    """
    texts = 0
    containers: list[Any] = [[value]]
    for container in containers:  # which grows meanwhile
        is_object = type(container) is dict
        texts += len(container) if is_object else 0
        for inner in container.values() if is_object else container:
            kind = type(inner)
            if kind is str:
                texts += 1
            elif kind is dict or kind is list:
                containers.append(inner)
            elif kind is int and not -_LARGE < inner < _LARGE:
                return False
    if len(containers) > MAX_DEPTH:
        _refuse_depth(value)
    return 2 * texts == body.count(b'"')


def _exact_loads(body: bytes) -> Any:
    """What `loads` promises, by the standard library, which shows every key and every number."""
    try:
        value = _EXACT.decode(body.decode("utf-8-sig"))
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
