"""Bodies as values: forms as PHP writes them, and JSON under any label."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest

from drivers.body import FORM_TYPE, is_known_type, parse_body
from drivers.forms import MAX_FIELDS, MAX_NESTING, parse_form, parse_pairs
from schemas.errors import UnparsableError
from schemas.request import Inbound

FORMS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "plain": (b"a=1&b=x+y%26z", {"a": "1", "b": "x y&z"}),
    "no value": (b"a=&b", {"a": "", "b": ""}),
    "ends and gaps": (b"\r\n&a=1&&b=2&\n", {"a": "1", "b": "2"}),
    "= in a value": (b"a=b=c", {"a": "b=c"}),
    "the last counts": (b"a=1&a=2", {"a": "2"}),
    "UTF-8": ("a=Pão".encode(), {"a": "Pão"}),
    "UTF-8, escaped": (b"a=P%C3%A3o", {"a": "Pão"}),
    "Latin-1": (b"a=P%E3o", {"a": "Pão"}),
    "an ampersand that was not escaped": (b"a=Tom & Jerry", {"a": "Tom ", " Jerry": ""}),
    "object": (b"a[b]=1&a[c][d]=2", {"a": {"b": "1", "c": {"d": "2"}}}),
    "escaped brackets": (b"a%5Bb%5D=1", {"a": {"b": "1"}}),
    "list by []": (b"a[]=1&a[]=2", {"a": ["1", "2"]}),
    "list by numbers": (b"a[0][x]=1&a[1][x]=2", {"a": [{"x": "1"}, {"x": "2"}]}),
    "numbers that do not start at 0": (b"a[1]=x&a[2]=y", {"a": {"1": "x", "2": "y"}}),
    "numbers out of order": (b"a[1]=x&a[0]=y", {"a": {"1": "x", "0": "y"}}),
    "[] after numbers": (b"a[1]=x&a[]=y", {"a": {"1": "x", "2": "y"}}),
    "text, then object": (b"a=1&a[b]=2", {"a": {"b": "2"}}),
    "object, then text": (b"a[b]=2&a=1", {"a": "1"}),
    "brackets that do not close": (b"a[b=1&c]=2&[d]=3", {"a[b": "1", "c]": "2", "[d]": "3"}),
    "text after brackets": (b"a[b]c=1", {"a[b]c": "1"}),
    "no name": (b"=1", {"0": "1"}),
    "a name too long to remember": (b"%61" * 80 + b"[b]=1", {"a" * 80: {"b": "1"}}),
    "what only looks escaped": (
        b"a%4=%zz%%41%4&b%5b0%5D=%e3%8",
        {"a%4": "%zz%A%4", "b": ["\xe3%8"]},
    ),
}


@pytest.mark.parametrize("case", FORMS)
def test_form(case: str) -> None:
    body, expected = FORMS[case]
    assert parse_form(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"hello",
        b"<xml/>",
        b"a=1&" * MAX_FIELDS,
        b"a" + b"[b]" * MAX_NESTING + b"=1",
    ],
    ids=lambda b: repr(b[:12]),
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(UnparsableError):
        parse_form(body)


def test_pairs_keep_order_and_repeats() -> None:
    assert parse_pairs(b"b=1&a=2&b=3") == [("b", "1"), ("a", "2"), ("b", "3")]


def test_a_long_list_takes_no_long_time() -> None:
    body = b"&".join(b"a[]=%d" % n for n in range(MAX_FIELDS - 1)) + b"&a[x]=1"
    started = time.perf_counter()
    assert len(parse_form(body)["a"]) == MAX_FIELDS
    assert time.perf_counter() - started < 1


def inbound(body: bytes, content_type: str | None) -> Inbound:
    headers = {} if content_type is None else {"content-type": (content_type,)}
    return Inbound("POST", headers, {}, body, datetime(2026, 11, 21, tzinfo=UTC))


BODIES: dict[str, tuple[bytes, str | None, Any]] = {
    "JSON": (b'{"a":1}', "application/json; charset=utf-8", {"a": 1}),
    "JSON without label": (b"[1]", None, [1]),
    "JSON labelled as a form": (b' \r\n{"a":1}', FORM_TYPE, {"a": 1}),
    "JSON with a byte order mark": (b'\xef\xbb\xbf{"a":1}', FORM_TYPE, {"a": 1}),
    "JSON of a vendor's type": (b'{"a":1}', "application/vnd.x+json", {"a": 1}),
    "JSON text": (b'"x"', "application/json", "x"),
    "form": (b"a=1", f"{FORM_TYPE}; charset=UTF-8", {"a": "1"}),
    "form in capitals": (b"a=1", FORM_TYPE.upper(), {"a": "1"}),
}


@pytest.mark.parametrize("case", BODIES)
def test_body(case: str) -> None:
    body, content_type, expected = BODIES[case]
    assert parse_body(inbound(body, content_type)) == expected


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b" \n", FORM_TYPE),
        (b"a=1", "application/json"),
        (b"a=1", None),
        (b"{", FORM_TYPE),
        (b"hello", FORM_TYPE),
        (b"\xff\xfe{\x00}\x00", "application/json"),
    ],
)
def test_an_unreadable_body_is_refused(body: bytes, content_type: str | None) -> None:
    with pytest.raises(UnparsableError):
        parse_body(inbound(body, content_type))


def test_known_types() -> None:
    for known in ("", "application/json", "text/plain", FORM_TYPE, "application/problem+json"):
        assert is_known_type(known)
    for unknown in ("application/xml", "text/html", "multipart/form-data", "image/png"):
        assert not is_known_type(unknown)


def test_what_php_encodes_we_decode() -> None:
    value = 'Área 51 & "co" = 100% [ok]/ç+é'
    assert parse_form(f"a[b]={quote_plus(value)}".encode()) == {"a": {"b": value}}
