"""Buyers, by Brazilian rules where they are Brazilian."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.br import cnpj, cpf

from drivers.people import (
    address,
    country_code,
    customer,
    dialled,
    document,
    email,
    phone,
    plain,
    state_code,
)
from schemas.order import Address, Customer, Document

# Invented numbers whose check digits were computed by hand; 12.ABC.345/01DE-35 is the example of
# the Receita Federal for the alphanumeric CNPJ of July 2026.
DOCUMENTS: list[tuple[Any, Document | None]] = [
    ("529.982.247-25", Document(type="cpf", value="52998224725", valid=True)),
    ("52998224725", Document(type="cpf", value="52998224725", valid=True)),
    ("52998224726", Document(type="cpf", value="52998224726", valid=False)),
    ("111.111.111-11", Document(type="cpf", value="11111111111", valid=False)),
    ("11.222.333/0001-81", Document(type="cnpj", value="11222333000181", valid=True)),
    ("00000000000000", Document(type="cnpj", value="00000000000000", valid=False)),
    ("11222333000182", Document(type="cnpj", value="11222333000182", valid=False)),
    ("12.ABC.345/01DE-35", Document(type="cnpj", value="12ABC34501DE35", valid=True)),
    ("12abc34501de35", Document(type="cnpj", value="12ABC34501DE35", valid=True)),
    ("12ABC34501DE36", Document(type="cnpj", value="12ABC34501DE36", valid=False)),
    (1234567890, Document(type="cpf", value="01234567890", valid=True)),
    (191, Document(type="other", value="191", valid=False)),
    (191000000000, Document(type="other", value="191000000000", valid=False)),
    (6990590000123, Document(type="cnpj", value="06990590000123", valid=True)),
    ("1234567890", Document(type="other", value="1234567890", valid=False)),
    ("AB 123.456", Document(type="other", value="AB123456", valid=False)),
    ("٥٢٩٩٨٢٢٤٧٢٥", Document(type="other", value="٥٢٩٩٨٢٢٤٧٢٥", valid=False)),
    ("", None), (None, None), (" - ", None), ({}, None), (True, None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), DOCUMENTS, ids=repr)
def test_document(value: Any, expected: Document | None) -> None:
    assert document(value) == expected


PHONES: list[tuple[Any, str | None]] = [
    ("(11) 98765-4321", "+5511987654321"),
    ("11987654321", "+5511987654321"),
    (11987654321, "+5511987654321"),
    ("+55 11 98765-4321", "+5511987654321"),
    ("+55 (0)11 98765-4321", "+5511987654321"),
    ("5511987654321", "+5511987654321"),
    ("005511987654321", "+5511987654321"),
    ("011 98765-4321", "+5511987654321"),
    ("11 8765-4321", "+5511987654321"),  # a mobile number without its ninth digit
    ("(71) 3359-4402", "+557133594402"),
    ("557133594402", "+557133594402"),
    ("55991830077", "+5555991830077"),  # 55 is also the area of Santa Maria
    ("5533221100", "+555533221100"),
    ("10 98765-4321", None),  # no such area
    ("11 18765-4321", None),  # nothing begins with 1
    ("11 587654321", None),  # nine digits begin with 9
    ("98765-4321", None),
    ("0800 123 4567", None),
    ("+1 (415) 555-2671", "+14155552671"),
    ("+351 912 345 678", "+351912345678"),
    ("+0 415 555 2671", None),
    ("+1234567", None),
    ("+1234567890123456", None),
    ("+", None), ("", None), (None, None), ("abc", None), ("١١٩٨٧٦٥٤٣٢١", None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), PHONES, ids=repr)
def test_phone(value: Any, expected: str | None) -> None:
    assert phone(value) == expected
    assert phone(value, None) == expected


def test_a_foreign_number_needs_its_plus() -> None:
    assert phone("4155552671", "US") is None
    assert phone("+14155552671", "US") == "+14155552671"
    assert phone("+5511987654321", "US") == "+5511987654321"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("55", "11", "987654321"), "+5511987654321"),
        (("+55", "(11)", "98765-4321"), "+5511987654321"),
        ((None, "11", "987654321"), "11987654321"),
        ((None, None, "987654321"), "987654321"),
        (("55", "11", None), None),
        (("55", "11", "+1 415 555 2671"), "+1 415 555 2671"),
    ],
)
def test_dialled(parts: tuple[Any, Any, Any], expected: str | None) -> None:
    assert dialled(*parts) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" Ana@Example.COM ", "ana@example.com"), ("a@b", "a@b"), ("ana", None), ("@", None),
        ("a@", None), ("a b@c", None), ("a@b@c", None), ("", None), (None, None), (7, None),
    ],
)  # fmt: skip
def test_email(value: Any, expected: str | None) -> None:
    assert email(value) == expected


def test_full_and_partial_names_complete_each_other() -> None:
    whole = customer(name=" Ana  Maria Souza ")
    assert whole == Customer(name="Ana  Maria Souza", first_name="Ana", last_name="Maria Souza")
    parts = customer(first_name="Ana", last_name="Souza")
    assert parts == Customer(name="Ana Souza", first_name="Ana", last_name="Souza")
    assert customer(name="Ana") == Customer(name="Ana", first_name="Ana")
    assert customer(last_name="Souza") == Customer(name="Souza", last_name="Souza")
    told = customer(name="Loja da Ana", first_name="Ana")
    assert told == Customer(name="Loja da Ana", first_name="Ana")


def test_a_customer_keeps_the_phone_as_it_came() -> None:
    found = customer(id=7, phone_number="123", document_number="52998224725", company=" X ")
    assert found == Customer(
        id="7",
        company="X",
        document=Document(type="cpf", value="52998224725", valid=True),
        phone=None,
        phone_raw="123",
    )
    assert customer(name="", email_address="no", phone_number=None) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("br", "BR"), ("Brasil", "BR"), ("BRA", "BR"), ("Estados Unidos", "US"), ("México", "MX"),
        ("Atlantis", None), ("", None), (None, None), ("éé", None), ("1A", None),
    ],
)  # fmt: skip
def test_country_code(value: Any, expected: str | None) -> None:
    assert country_code(value) == expected


@pytest.mark.parametrize(
    ("value", "country", "expected"),
    [
        ("sp", "BR", "SP"), ("BR-SP", "BR", "SP"), ("São Paulo", "BR", "SP"),
        ("PARANA", None, "PR"),
        ("Nowhere", "BR", "Nowhere"), ("ca", "US", "ca"), (None, "BR", None), ("", None, None),
    ],
)  # fmt: skip
def test_state_code(value: Any, country: str | None, expected: str | None) -> None:
    assert state_code(value, country) == expected


def test_address() -> None:
    assert address(
        street="Rua A", number=12, state="São Paulo", postal_code="01310-100"
    ) == Address(street="Rua A", number="12", state="SP", country="BR", postal_code="01310100")
    assert address(city="X", postal_code=1310100) == Address(
        city="X", country="BR", postal_code="01310100"
    )
    odd = address(city="X", postal_code="123", country="Brasil")
    assert odd == Address(city="X", country="BR", postal_code="123")
    abroad = address(city="NYC", state="NY", country="us", postal_code="10001")
    assert abroad == Address(city="NYC", state="NY", country="US", postal_code="10001")
    unknown = address(city="X", country="Atlantis", postal_code="12345678")
    assert unknown == Address(city="X", country=None, postal_code="12345678")


def test_an_address_without_a_place_is_none() -> None:
    assert address(name="Ana", number="12", complement="ap 1") is None
    assert address() is address(country="") is address(default_country=None) is None
    assert address(country="BR") == Address(country="BR")
    assert address(district="Centro", default_country=None) == Address(district="Centro")


def test_plain() -> None:
    assert plain("  CartÃO de Crédito ") == "cartao de credito"


def _completed(number: int) -> str:
    return next(n for end in range(100) if cpf.is_valid(n := f"{number:09d}{end:02d}"))


@given(st.from_regex(r"[0-9]{11}", fullmatch=True) | st.integers(1, 10**9 - 1).map(_completed))
def test_a_cpf_holds_where_the_library_says_so(number: str) -> None:
    known = document(number)
    assert known is not None
    assert known.valid == (cpf.is_valid(number) and len(set(number)) > 1)


def _sealed(stem: str) -> str:
    return stem + cnpj.calc_check_digits(stem + "00")


@given(
    st.from_regex(r"[0-9A-Z]{12}[0-9]{2}", fullmatch=True)
    | st.from_regex(r"[0-9A-Z]{12}", fullmatch=True).map(_sealed)
    | st.from_regex(r"[0-9]{12}", fullmatch=True).map(_sealed)
)
def test_a_cnpj_holds_where_the_library_says_so(number: str) -> None:
    known = document(number)
    assert known is not None
    assert known.type == "cnpj"
    assert known.valid == (cnpj.is_valid(number) and len(set(number)) > 1)
