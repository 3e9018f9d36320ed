"""Buyers: documents, phones, e-mails and addresses, by Brazilian rules where they are Brazilian."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from operator import mul
from typing import Any

from drivers.read import digits, text
from schemas.order import Address, Customer, Document

# ANATEL's area codes (DDD): https://www.gov.br/anatel/pt-br/regulado/numeracao
AREA_CODES = frozenset(
    "11 12 13 14 15 16 17 18 19 21 22 24 27 28 31 32 33 34 35 37 38 41 42 43 44 45 46 47 48 49 51 "
    "53 54 55 61 62 63 64 65 66 67 68 69 71 73 74 75 77 79 81 82 83 84 85 86 87 88 89 91 92 93 94 "
    "95 96 97 98 99".split()
)
STATES = {
    "acre": "AC", "alagoas": "AL", "amapa": "AP", "amazonas": "AM", "bahia": "BA", "ceara": "CE",
    "distrito federal": "DF", "espirito santo": "ES", "goias": "GO", "maranhao": "MA",
    "mato grosso": "MT", "mato grosso do sul": "MS", "minas gerais": "MG", "para": "PA",
    "paraiba": "PB", "parana": "PR", "pernambuco": "PE", "piaui": "PI", "rio de janeiro": "RJ",
    "rio grande do norte": "RN", "rio grande do sul": "RS", "rondonia": "RO", "roraima": "RR",
    "santa catarina": "SC", "sao paulo": "SP", "sergipe": "SE", "tocantins": "TO",
}  # fmt: skip
COUNTRIES = {
    "brasil": "BR", "brazil": "BR", "bra": "BR", "portugal": "PT", "prt": "PT", "usa": "US",
    "estados unidos": "US", "united states": "US", "argentina": "AR", "arg": "AR", "chile": "CL",
    "mexico": "MX", "espanha": "ES", "spain": "ES", "paraguai": "PY", "uruguai": "UY",
    "colombia": "CO", "peru": "PE", "angola": "AO", "mocambique": "MZ", "reino unido": "GB",
    "united kingdom": "GB", "alemanha": "DE", "franca": "FR", "italia": "IT", "japao": "JP",
    "canada": "CA",
}  # fmt: skip
_UFS = frozenset(STATES.values())
_PUNCTUATION = re.compile(r"[\s.\-/]")
_CPF = re.compile(r"[0-9]{11}")
_CNPJ = re.compile(r"[0-9A-Z]{12}[0-9]{2}")
# What the characters before the second check digit weigh; for the first one, without its first.
_CPF_WEIGHTS = (11, 10, 9, 8, 7, 6, 5, 4, 3, 2)
_CNPJ_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_ALPHA_2 = re.compile(r"[A-Za-z]{2}")
_E164 = range(8, 16)  # digits of an international number
_NATIONAL = (10, 11)  # digits of a Brazilian number with its area code


def document(value: Any) -> Document | None:
    """A CPF or CNPJ (also the alphanumeric one of July 2026) without punctuation; anything else as
    `other`.
    """
    raw = _PUNCTUATION.sub("", text(value) or "").upper()
    if not raw:
        return None
    if _CPF.fullmatch(raw):
        return Document(type="cpf", value=raw, valid=_is_valid(raw, _CPF_WEIGHTS))
    if _CNPJ.fullmatch(raw):
        return Document(type="cnpj", value=raw, valid=_is_valid(raw, _CNPJ_WEIGHTS))
    if isinstance(value, int) and len(raw) in range(9, 14):  # it lost its leading zeros
        for complete in (raw.zfill(11), raw.zfill(14)):
            known = document(complete)
            if known and known.valid:
                return known
    return Document(type="other", value=raw, valid=False)


def _is_valid(raw: str, weights: tuple[int, ...]) -> bool:
    """Whether the two check digits at the end hold, as `stdnum.br` says at ten times the cost: most
    orders have a document. Letters count from their distance to 0, by the rule of July 2026.
    """
    if raw.count(raw[0]) == len(raw):  # the check digits of 111.111.111-11 hold: nobody has it
        return False
    values = [code - 48 for code in raw.encode("ascii")]
    first = sum(map(mul, values, weights[1:])) * 10 % 11 % 10
    second = sum(map(mul, values, weights)) * 10 % 11 % 10
    return values[-2:] == [first, second]


def phone(value: Any, country: str | None = "BR") -> str | None:
    """E.164, or None when unsure. Without a leading + the number is one of `country`; only Brazil's
    rules are known.
    """
    raw = text(value) or ""
    number = digits(raw) or ""
    if raw.startswith("+") and not number.startswith("55"):
        return f"+{number}" if len(number) in _E164 and number[0] != "0" else None
    if country not in {"BR", None} and not raw.startswith("+"):
        return None
    number = number.lstrip("0")
    if len(number) >= 12 and number.startswith("55"):
        number = number[2:].lstrip("0")
    if len(number) not in _NATIONAL or number[:2] not in AREA_CODES:
        return None
    local = number[2:]
    if len(local) == 8 and local[0] in "6789":
        local = "9" + local
    is_mobile = len(local) == 9
    if is_mobile is not (local[0] == "9") or (not is_mobile and local[0] not in "2345"):
        return None
    return f"+55{number[:2]}{local}"


def dialled(country: Any, area: Any, number: Any) -> str | None:
    """A number that comes in parts as one; with a + when the country's code is told.

    A number of ten digits that begins with its area code has it already.
    """
    local, code = text(number), digits(country)
    if local is None or local.startswith("+"):
        return local
    own, prefix = digits(local) or "", digits(area) or ""
    is_whole = prefix != "" and len(own) >= 10 and own.startswith(prefix)
    national = own if is_whole else f"{prefix}{local}"
    return f"+{code}{digits(national) or ''}" if code else national


def email(value: Any) -> str | None:
    """Trimmed, lower case; None when it is no address."""
    found = (text(value) or "").lower()
    return found if _EMAIL.fullmatch(found) else None


def customer(
    *,
    id: Any = None,  # noqa: A002 - the canonical name
    name: Any = None,
    first_name: Any = None,
    last_name: Any = None,
    email_address: Any = None,
    company: Any = None,
    document_number: Any = None,
    phone_number: Any = None,
    country: str | None = "BR",
) -> Customer | None:
    """The buyer from raw vendor values; full and partial names complete each other. None when
    nothing is known.
    """
    first, last, full = text(first_name), text(last_name), text(name)
    if full is None:
        full = " ".join(p for p in (first, last) if p) or None
    elif first is None and last is None:
        first, _, rest = full.partition(" ")
        last = rest.strip() or None
    told = Customer(
        id=text(id),
        name=full,
        first_name=first,
        last_name=last,
        email=email(email_address),
        company=text(company),
        document=document(document_number),
        phone=phone(phone_number, country),
        phone_raw=text(phone_number),
    )
    return told if any(vars(told).values()) else None


def country_code(value: Any) -> str | None:
    """ISO alpha-2 from a code or a name in Portuguese or English."""
    raw = text(value) or ""
    if _ALPHA_2.fullmatch(raw):
        return raw.upper()
    return COUNTRIES.get(plain(raw))


def state_code(value: Any, country: str | None) -> str | None:
    """In Brazil the UF from `SP`, `BR-SP` or `São Paulo`; elsewhere as it came."""
    raw = text(value)
    if raw is None or country not in {"BR", None}:
        return raw
    short = raw.upper().removeprefix("BR-")
    if short in _UFS:
        return short
    return STATES.get(plain(raw), raw)


def address(
    *,
    name: Any = None,
    street: Any = None,
    number: Any = None,
    complement: Any = None,
    district: Any = None,
    city: Any = None,
    state: Any = None,
    country: Any = None,
    postal_code: Any = None,
    default_country: str | None = "BR",
) -> Address | None:
    """An address from raw vendor values; None when it names no place. `default_country` where none
    is told.
    """
    code = country_code(country) or (default_country if text(country) is None else None)
    postal = text(postal_code)
    if code == "BR":
        eight = digits(postal_code) or ""
        postal = eight.zfill(8) if 7 <= len(eight) <= 8 else postal
    result = Address(
        name=text(name),
        street=text(street),
        number=text(number),
        complement=text(complement),
        district=text(district),
        city=text(city),
        state=state_code(state, code),
        country=code,
        postal_code=postal,
    )
    places = (result.street, result.city, result.state, result.postal_code, result.district)
    if any(places) or (code and text(country)):
        return result
    return None


@lru_cache(maxsize=1024)  # there are few countries and states, and each order names both
def plain(value: str) -> str:
    """Lower case without accents."""
    folded = unicodedata.normalize("NFKD", value.strip().lower())
    return "".join(c for c in folded if not unicodedata.combining(c))
