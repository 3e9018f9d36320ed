"""Hypothesis strategies for requests as no provider ever sent them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

# What may stand anywhere in a payload once its sender is broken, or hostile.
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 10**30, Decimal("0.1"), Decimal("1E+399"), Decimal(-5),
    "", " ", "x", "0", "-1", "null", "abc\x00def", "\ud800", "9" * 5000, "1e99", "1.2.3", "R$ 1",
    "2026-13-45T99:99:99Z", "9999-12-31T23:59:59-12:00", "99999999999999", "http://[", "a@b@c",
    "+", "+5500", "BR", "paid", "order.paid", "ção",
    [], {}, [[]], [None], ["x"], [{}], {"": None}, {"0": {"0": "x"}}, {"id": 1}, {"name": "x"},
)  # fmt: skip
HOWS = ("replace", "replace", "replace", "drop", "wrap", "nest", "double", "rename")

header_text = st.one_of(
    st.text(max_size=80),
    st.binary(max_size=80).map(lambda b: b.decode("utf-8", "surrogateescape")),
    st.sampled_from(("", " ", ",", "=", "t=,v1=", "v1=", "sha256=", "Basic", "Basic ", "Bearer x")),
    st.sampled_from(("t=" + "9" * 400 + ",v1=00", "v1=00," * 50, "x" * 9000, "²³¹", "t=²,v1=x")),
)


@st.composite
def mangled(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one to four things changed, at any depth."""
    root = {"root": deepcopy(value)}
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(root))
        holder, key = draw(st.sampled_from(places))
        _change(holder, key, draw(st.sampled_from(HOWS)), draw(st.sampled_from(STRANGE)))
        root.setdefault("root", None)
    return root["root"]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pending = [value]
    while pending:
        here = pending.pop()
        for key, inner in here.items() if isinstance(here, dict) else enumerate(here):
            yield here, key
            if isinstance(inner, dict | list):
                pending.append(inner)


def _change(holder: Any, key: Any, how: str, strange: Any) -> None:
    here, odd = holder[key], deepcopy(strange)
    match how:
        case "replace":
            holder[key] = odd
        case "drop":
            del holder[key]
        case "wrap":
            holder[key] = [here]
        case "nest":
            holder[key] = {"root": here, "0": odd}
        case "double":
            holder[key] = [here, here] if isinstance(holder, dict) else here
        case "rename":
            if isinstance(holder, dict):
                holder[f"{key}x"] = holder.pop(key)


@st.composite
def garbled(draw: st.DrawFn, body: bytes) -> bytes:
    """`body` cut short, with bytes overwritten, or with something before or after it."""
    at = draw(st.integers(0, len(body)))
    junk = draw(
        st.one_of(st.binary(max_size=12), st.sampled_from((b'"', b"\\u", b"[" * 200, b"&")))
    )
    return draw(
        st.sampled_from(
            (
                body[:at],
                body[at:],
                body[:at] + junk + body[at:],
                body[:at] + junk,
                junk + body,
                junk,
            )
        )
    )
