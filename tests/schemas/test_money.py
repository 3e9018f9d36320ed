"""Money as integer minor units."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.money import EXPONENTS, exponent, minor_units


@pytest.mark.parametrize(
    ("code", "digits"),
    [("BRL", 2), ("USD", 2), ("JPY", 0), ("CLP", 0), ("PYG", 0), ("KWD", 3), (None, 2), ("XXX", 2)],
)
def test_exponent(code: str | None, digits: int) -> None:
    assert exponent(code) == digits


@pytest.mark.parametrize(
    ("amount", "code", "expected"),
    [
        ("10.90", "BRL", 1090),
        ("-10.90", "BRL", -1090),
        ("0", "BRL", 0),
        ("1500.00", "JPY", 1500),
        ("1.234", "KWD", 1234),
        ("1", None, 100),
        # half to even
        ("0.005", "BRL", 0),
        ("0.015", "BRL", 2),
        ("0.025", "BRL", 2),
        ("0.0250001", "BRL", 3),
        ("-0.005", "BRL", 0),
        ("999999999999999.99", "BRL", 99999999999999999),
        ("0.1234567890123456789012345678901234567890", "BRL", 12),
    ],
)
def test_minor_units(amount: str, code: str | None, expected: int) -> None:
    assert minor_units(Decimal(amount), code) == expected


@pytest.mark.parametrize(
    "amount", ["NaN", "sNaN", "Infinity", "-Infinity", "1E15", "-1E15", "1E999999"]
)
def test_what_cannot_be_a_price_raises(amount: str) -> None:
    with pytest.raises(ValueError, match="not an amount of money"):
        minor_units(Decimal(amount), "BRL")


def test_every_code_is_a_code() -> None:
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)
    assert set(EXPONENTS.values()) == {0, 3}
