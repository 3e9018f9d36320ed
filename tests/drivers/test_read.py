"""Vendor values, table by table."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from drivers.read import (
    cents,
    currency,
    day,
    dig,
    digits,
    first,
    flag,
    instant,
    integer,
    latest,
    money,
    need,
    number,
    quantity,
    record,
    records,
    text,
    tracking,
)
from schemas.errors import MalformedError
from schemas.order import Tracking

ID = 123456789012345678901234567890


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"), (" x\n", "x"), ("", None), ("  ", None), (None, None),
        (ID, str(ID)), (0, "0"), (Decimal("10.90"), "10.90"), (True, None), (False, None),
        ([], None), ({}, None), (1.5, None),
    ],
)  # fmt: skip
def test_text(value: Any, expected: str | None) -> None:
    assert text(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"a": 1}, None, "x", {"b": 2}], [{"a": 1}, {"b": 2}]),
        ({"0": {"a": 1}, "1": {"b": 2}}, [{"a": 1}, {"b": 2}]),
        ({"a": {"b": 2}}, []),
        ({}, []), ([], []), (None, []), ("x", []),
    ],
)  # fmt: skip
def test_records(value: Any, expected: list[Any]) -> None:
    assert records(value) == expected


def test_record() -> None:
    assert record({"a": 1}) == {"a": 1}
    others: tuple[Any, ...] = ([], None, "x", 1)
    assert [record(v) for v in others] == [{}] * 4


def test_dig() -> None:
    value = {"a": [{"b": 1}, 2], "0": "zero"}
    assert dig(value, "a", 0, "b") == 1
    assert dig(value, "a", -1) == 2
    assert dig(value) is value
    for path in (("a", 2), ("a", -3), ("a", "0"), ("a", 0, "b", "c"), ("x", "y"), (0,)):
        assert dig(value, *path) is None


def test_need_names_what_is_missing() -> None:
    assert need({"a": [{"id": 7}]}, "a", 0, "id") == "7"
    without: tuple[Any, ...] = ({}, {"buyer": None}, {"buyer": {"id": ""}}, {"buyer": {"id": {}}})
    for value in without:
        with pytest.raises(MalformedError, match=r"^missing:buyer\.id$"):
            need(value, "buyer", "id")


def test_first() -> None:
    assert first(None, "", 0, "x") == 0
    assert first(None, "") is None
    assert first() is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True), (False, False), (1, True), (0, False), ("1", True), ("0", False),
        ("true", True), ("FALSE", False), ("Sim", True), ("não", False), ("nao", False),
        ("yes", True), ("n", False), ("maybe", None), ("", None), (None, None), (2, None),
        ([], None),
    ],
)  # fmt: skip
def test_flag(value: Any, expected: bool | None) -> None:
    assert flag(value) is expected


NUMBERS: list[tuple[Any, str | None]] = [
    (10, "10"), (10.5, "10.5"), (0.1, "0.1"), (Decimal("10.00"), "10.00"), (-3, "-3"),
    ("10", "10"), ("10.5", "10.5"), ("10,5", "10.5"), (".5", "0.5"), (",5", "0.5"), ("5.", "5"),
    ("1.234,56", "1234.56"), ("1,234.56", "1234.56"), ("1.234.567,89", "1234567.89"),
    ("1,234,567.89", "1234567.89"), ("1.234", "1.234"), ("1,234", "1.234"),
    ("1.234.567", "1234567"), ("1,234,567", "1234567"),
    ("R$ 10,00", "10.00"), ("R$\xa01.234,56", "1234.56"), ("US$ 5.00", "5.00"), ("€5", "5"),
    ("10 BRL", "10"), ("10%", "10"), ("-10,00", "-10.00"), ("R$ -10,00", "-10.00"),
    ("-R$10", "-10"), ("+10", "10"), (" 10 ", "10"), ("1e3", "1000"), ("1.5E-3", "0.0015"),
    ("1.2.3", None), ("1..2", None), ("1,2.3,4", None), ("12 x R$ 10,00", None), ("10-", None),
    ("", None), (" ", None), ("abc", None), ("-", None), (".", None), ("١٢", None), ("1e999", None),
    ("9" * 100, None), (None, None), (True, None), ([], None), ({}, None),
    (Decimal("1E+999"), None), (10**50, None), (float("nan"), None), (float("inf"), None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), NUMBERS, ids=repr)
def test_number(value: Any, expected: str | None) -> None:
    assert number(value) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("12", 12), ("12.0", 12), (12.0, 12), ("12.5", None), ("x", None), (None, None), (True, None)],
)
def test_integer(value: Any, expected: int | None) -> None:
    assert integer(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(2, 2), ("2", 2), ("2,5", 2.5), ("2.0", 2), (0, 1), (-1, 1), (None, 1), ("x", 1), ("1E50", 1)],
)
def test_quantity(value: Any, expected: float) -> None:
    found = quantity(value)
    assert found == expected
    assert isinstance(found, type(expected))


@pytest.mark.parametrize(
    ("value", "money_is", "expected"),
    [
        ("10.90", "BRL", 1090), ("1.234,56", "BRL", 123456), (10, "BRL", 1000), (0, "BRL", 0),
        ("1500.00", "JPY", 1500), ("1.234", "KWD", 1234), ("10.90", None, 1090),
        ("0.005", "BRL", 0), ("0.015", "BRL", 2), (None, "BRL", None), ("", "BRL", None),
    ],
)  # fmt: skip
def test_money(value: Any, money_is: str | None, expected: int | None) -> None:
    assert money(value, money_is) == expected


def test_absurd_money_raises() -> None:
    with pytest.raises(ValueError, match="not an amount"):
        money("1" * 30, "BRL")
    with pytest.raises(ValueError, match="not an amount"):
        cents(10**30)


@pytest.mark.parametrize(
    ("value", "expected"), [(1090, 1090), ("1090", 1090), ("1090.0", 1090), (0, 0), (None, None)]
)
def test_cents(value: Any, expected: int | None) -> None:
    assert cents(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("brl", "BRL"), (" USD ", "USD"), ("R$", "BRL"), ("real", "BRL"), ("US$", "USD"),
        ("€", "EUR"), ("BR", None), ("12A", None), ("éàü", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_currency(value: Any, expected: str | None) -> None:
    assert currency(value) == expected
    assert currency(value, "BRL") == (expected or "BRL")


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # parts of a time


TIMES: list[tuple[Any, datetime | None]] = [
    ("2026-01-02T03:04:05Z", at(2026, 1, 2, 3, 4, 5)),
    ("2026-01-02t03:04:05z", at(2026, 1, 2, 3, 4, 5)),
    ("2026-01-02 03:04:05 UTC", at(2026, 1, 2, 3, 4, 5)),
    ("2026-01-02 03:04:05 GMT", at(2026, 1, 2, 3, 4, 5)),
    ("2026-01-02T03:04:05.123456789Z", at(2026, 1, 2, 3, 4, 5, 123456)),
    ("2026-01-02T03:04:05.1-03:00", at(2026, 1, 2, 6, 4, 5, 100000)),
    ("2026-01-02T03:04:05,5-03:00", at(2026, 1, 2, 6, 4, 5, 500000)),
    ("2026-01-02T03:04:05+0530", at(2026, 1, 1, 21, 34, 5)),
    ("2026-01-02T03:04:05-03", at(2026, 1, 2, 6, 4, 5)),
    ("2026-01-02 03:04", at(2026, 1, 2, 6, 4)),
    ("2026-1-2", at(2026, 1, 2, 3)),
    (" 2026-01-02 ", at(2026, 1, 2, 3)),
    ("02/01/2026 03:04:05", at(2026, 1, 2, 6, 4, 5)),
    ("02/01/2026", at(2026, 1, 2, 3)),
    # Brazil's last summer time ended on 17 February 2019.
    ("2019-02-01 12:00:00", at(2019, 2, 1, 14)),
    ("2019-03-01 12:00:00", at(2019, 3, 1, 15)),
    (1716400000, at(2024, 5, 22, 17, 46, 40)),
    (1716400000123, at(2024, 5, 22, 17, 46, 40, 123000)),
    (1716400000.5, at(2024, 5, 22, 17, 46, 40, 500000)),
    (Decimal("1716400000.25"), at(2024, 5, 22, 17, 46, 40, 250000)),
    ("1716400000", at(2024, 5, 22, 17, 46, 40)),
    ("1716400000123", at(2024, 5, 22, 17, 46, 40, 123000)),
    ("12345678", None),
    ("17164000001234", None),
    ("0000-00-00 00:00:00", None),
    ("2026-02-30", None),
    ("2026-01-02T25:00:00", None),
    ("2026-01-02T03:04:05+99:99", None),
    ("0001-01-01T00:00:00+12:00", None),
    ("9999-12-31T23:59:59-03:00", None),
    ("2026-01-02T", None),
    ("today", None),
    ("", None),
    (None, None),
    (True, None),
    (0, None),
    (-1, None),
    (10**15, None),
    (float("nan"), None),
    ([], None),
    ({}, None),
]


@pytest.mark.parametrize(("value", "expected"), TIMES, ids=repr)
def test_instant(value: Any, expected: datetime | None) -> None:
    found = instant(value)
    assert found == expected
    assert found is None or found.tzinfo is UTC


def test_a_naive_time_is_wall_time_somewhere() -> None:
    assert instant("2026-07-01 12:00:00", "UTC") == at(2026, 7, 1, 12)
    assert instant("2026-07-01 12:00:00", "Europe/Lisbon") == at(2026, 7, 1, 11)
    assert day("2026-07-02T01:00:00Z") == date(2026, 7, 1)
    assert day("2026-07-02T01:00:00Z", "UTC") == date(2026, 7, 2)
    assert day("never") is None


def test_digits() -> None:
    assert digits("(11) 98765-4321") == "11987654321"
    assert digits(12) == "12"
    assert [digits(v) for v in ("abc", "", None, "١٢")] == [None] * 4


def test_latest() -> None:
    assert latest(at(2026, 1, 1), None, at(2026, 1, 2)) == at(2026, 1, 2)
    assert latest(None) is None
    assert latest() is None


def test_the_first_source_that_knows_wins() -> None:
    found = tracking(
        {"UTM_Source": "ig", "utm_medium": "", "src": "null", "other": "x"},
        "/p?utm_source=google&utm_medium=cpc&gclid=1#utm_term=no",
        {"_fbp": "fb.1", "user_ip": "::1", "utm_content": 7},
        None,
        "https://[broken?utm_term=sapato",
        "x" * 5000 + "?utm_campaign=far",
        sck="direct",
        ip=None,
    )
    assert found == Tracking(
        utm_source="ig",
        utm_medium="cpc",
        gclid="1",
        fbp="fb.1",
        ip="::1",
        utm_content="7",
        utm_term="sapato",
        sck="direct",
    )
    assert tracking() is tracking({}, None, "", "/p", 7) is None
