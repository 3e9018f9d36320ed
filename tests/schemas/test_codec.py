"""JSON in and out, exact."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT, dumps, loads
from schemas.errors import UnparsableError

BIG = 123456789012345678901234567890


def nested(depth: int, left: bytes = b"[", right: bytes = b"]") -> bytes:
    return left * depth + right * depth


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b'{"a":[1,-2,true,false,null,"x"]}', {"a": [1, -2, True, False, None, "x"]}),
        (b" 1 ", 1),
        (str(BIG).encode(), BIG),
        (b"10.00", Decimal("10.00")),
        (b"1e2", Decimal("1E+2")),
        (b"0.1", Decimal("0.1")),
        (b'"P\\u00e3o \\/ \xf0\x9f\x8d\x9e"', "Pão / 🍞"),
        (b'"\\ud800"', "\ud800"),
        (b"\xef\xbb\xbf[1]", [1]),
        (nested(MAX_DEPTH), None),
        (b"[" + b"[]," * 200 + b"{}]", None),
        (b'"' + b"[" * 500 + b'"', "[" * 500),
        (b"[" + b"{}," * MAX_DEPTH + b'"\\""]', [*[{}] * MAX_DEPTH, '"']),
        (b'{"a\\"":"\\\\","b":"\\\\\\""}', {'a"': "\\", "b": '\\"'}),
        (str(2**63).encode() + b"0" * 900, 2**63 * 10**900),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_loads(body: bytes, expected: Any) -> None:
    found = loads(body)
    if expected is not None:
        assert found == expected
        assert type(found) is type(expected)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[1,]", b"{'a':1}", b"01", b"1 2", b"undefined", b'"\n"', b"\xff", b"{\x00}",
        b"NaN", b"Infinity", b"-Infinity",
        b'{"a":1,"a":2}', b'[{"a":{"b":1,"b":1}}]', b'{"a":"x","a":"\\""}', b'{"a":1,"\\u0061":1}',
        b'{"a" :1,"a" :"\\":"}', b'{"a":{"b":"c"},"a":[]}', b'[{"":0,"":0},"\\"\\""]',
        b"1" * (MAX_DIGITS + 1), b'{"a":-%d}' % 10**MAX_DIGITS, b"1." + b"0" * MAX_DIGITS,
        b"1e401", b"1e-401", b"1e999999999", b"1e9223372036854775807",
        nested(MAX_DEPTH + 1), nested(MAX_DEPTH + 1, b'{"a":', b"}").replace(b":}", b":1}", 1),
        nested(100_000), b"[" * 100_000,
    ],
    ids=lambda v: repr(v)[:30],
)  # fmt: skip
def test_what_would_be_changed_in_silence_is_refused(body: bytes) -> None:
    with pytest.raises(UnparsableError):
        loads(body)


def as_told(body: bytes) -> str | None:
    """What Python's own reader sees in a document; None for what it refuses, or would change."""

    def whole(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def never(word: str) -> Any:
        raise ValueError(word)

    def fraction(text: str) -> Decimal:
        if abs(Decimal(text).adjusted()) > MAX_EXPONENT:
            raise ValueError(text)
        return Decimal(text)

    reader = json.JSONDecoder(object_pairs_hook=whole, parse_constant=never, parse_float=fraction)
    try:
        return repr(reader.decode(body.decode("utf-8-sig")))
    except (ValueError, ArithmeticError):
        return None


def as_read(body: bytes) -> str | None:
    try:
        return repr(loads(body))
    except UnparsableError:
        return None


# Pieces of JSON and of what looks like it, glued at random: keys that stand twice in any spelling,
# quotes escaped or not, numbers at the edge of what a machine holds.
PIECES = (
    r"""{ } [ ] : , " \ \" \\ \u0022 \u0061 \ud800 \ud83d\ude00 \n \/ a "a" "b" "a": "a":1 """
    """{"a":1} "" 0 -0 -0.0 00 -1 1.0 1. .5 10.00 1e2 1E+2 1e-2 1e 2e308 9223372036854775807 """
    """9223372036854775808 18446744073709551616 -9223372036854775809 true false null NaN """
    """Infinity -Infinity é 🍞"""
).split()
pieces = st.sampled_from([*PIECES, " ", "\t", "\n", "\r", "\x0b", "\x00", "\x7f", "\xa0", "\ufeff"])
keys = st.sampled_from(['"a"', '"\\u0061"', '"b"', '""', '"\\""', '"\\\\"', '"é"', '"\\":"'])
documents = st.recursive(
    pieces | keys,
    lambda inner: (
        st.lists(inner).map(lambda values: f"[{','.join(values)}]")
        | st.lists(st.tuples(keys, inner)).map(
            lambda pairs: "{" + " ,".join(f"{k} : {v}" for k, v in pairs) + "}"
        )
    ),
    max_leaves=8,
)
broken = st.tuples(documents.map(str.encode), st.integers(0, 60), st.binary(max_size=2)).map(
    lambda told: told[0][: told[1]] + told[2] + told[0][told[1] :]
)


@settings(max_examples=1500, deadline=None, derandomize=True, database=None)
@given(
    documents.map(str.encode) | broken | st.lists(pieces, max_size=9).map("".join).map(str.encode)
)
def test_reading_is_as_exact_as_the_standard_library(body: bytes) -> None:
    assert as_read(body) == as_told(body)


@dataclass(slots=True)
class Thing:
    name: str
    at: datetime | None = None


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, True, "é"]}, '{"a":[1,null,true,"é"]}'),
        ((1, 2), "[1,2]"),
        (1.5, "1.5"),
        (Decimal("10.00"), "10.00"),
        (Decimal("1E+2"), "100"),
        (Decimal("-0.5"), "-0.5"),
        (Decimal("1E+50"), "1E50"),
        (Decimal("1E-30"), "1E-30"),
        (NOON, '"2026-11-21T12:00:00Z"'),
        (NOON.replace(microsecond=5), '"2026-11-21T12:00:00.000005Z"'),
        (NOON.astimezone(timezone(timedelta(hours=-3))), '"2026-11-21T09:00:00-03:00"'),
        (Thing("x", NOON), '{"name":"x","at":"2026-11-21T12:00:00Z"}'),
        ({1: "a"}, '{"1":"a"}'),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_dumps(value: Any, expected: str) -> None:
    assert dumps(value).decode() == expected


@pytest.mark.parametrize("odd", [BIG, -BIG, "\ud800", {"\udc00": 1}])
def test_what_orjson_refuses_is_written_all_the_same(odd: Any) -> None:
    value = [Thing("x", NOON), (Decimal("10.00"), 1.5, None, True, "é", {2: "b"}), {"odd": odd}]
    written = dumps(value)
    assert loads(written) == [
        {"name": "x", "at": "2026-11-21T12:00:00Z"},
        [Decimal("10.00"), Decimal("1.5"), None, True, "é", {"2": "b"}],
        {"odd": odd},
    ]
    assert b"10.00" in written


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", Thing])
def test_what_has_no_json_form_raises(value: Any) -> None:
    with pytest.raises(TypeError):
        dumps(value)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(alphabet=st.characters(categories=["L", "N", "P", "Z", "Cs", "Cc"]))
    | st.decimals(allow_nan=False, allow_infinity=False, places=4),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(anything)
def test_what_is_written_reads_the_same(value: Any) -> None:
    assert loads(dumps(value)) == value


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_reading_any_bytes_gives_a_value_or_our_error(body: bytes) -> None:
    try:
        found = loads(body)
    except UnparsableError:
        return
    assert json.loads(dumps(found)) == json.loads(body.decode("utf-8-sig"))
