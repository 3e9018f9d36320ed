"""The query of a delivery, as its driver sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingress import MOST_PARAMETERS, _query
from schemas.errors import BadRequestError


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("", {}),
        ("signature=ab12", {"signature": ("ab12",)}),
        ("a=1&a=2&b", {"a": ("1", "2"), "b": ("",)}),
        ("k=a+b%2Bc", {"k": ("a b+c",)}),
        # Decoded once: what a provider signed must not change.
        ("k=%2541&m=x%26y%3Dz", {"k": ("%41",), "m": ("x&y=z",)}),
        ("k=%C3%A7&bad=%ff", {"k": ("ç",), "bad": ("\ufffd",)}),
        ("%20=x;y=z", {" ": ("x;y=z",)}),
    ],
)
def test_parameters_are_decoded_once(raw: str, seen: dict[str, tuple[str, ...]]) -> None:
    assert _query(raw) == seen


def test_more_parameters_than_anybody_sends_are_refused() -> None:
    assert len(_query("&".join(f"p{n}=1" for n in range(MOST_PARAMETERS)))) == MOST_PARAMETERS
    with pytest.raises(BadRequestError):
        _query("&".join(f"p{n}=1" for n in range(MOST_PARAMETERS + 1)))


@given(st.text(st.characters(max_codepoint=127), max_size=200))
def test_any_query_can_be_read(raw: str) -> None:
    for values in _query(raw).values():
        assert values
