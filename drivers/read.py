"""Reading vendor values: what at least three drivers share, and nothing else.

Every function takes whatever stood in the payload and gives the canonical value or None; only
`need`, `required` and absurd amounts raise. Numbers arrive exact (int, Decimal) or as the
provider's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from schemas.errors import MalformedError
from schemas.money import exponent, minor_units
from schemas.order import Tracking

BRAZIL = "America/Sao_Paulo"
_ABSENT = {"", "null", "none", "undefined", "nan", "n/a"}
# Named, because `int | Decimal` is made anew each time it is met, and these are met most.
_EXACT = (int, Decimal)
_NUMBERS = (int, float, Decimal)
_SMALL = 10**13  # an amount below it is a price in any currency


def text(value: Any) -> str | None:
    """A value as text, trimmed; None for what is empty, a boolean or a structure.

    Ids of any length stay exact.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, _EXACT) and not isinstance(value, bool):
        return str(value)
    return None


def record(value: Any) -> dict[str, Any]:
    """An object, or an empty one (PHP sends `[]` for it)."""
    return value if isinstance(value, dict) else {}


def records(value: Any) -> list[dict[str, Any]]:
    """The objects of a list (PHP sends an object with numbers as keys for it)."""
    if isinstance(value, dict) and value and all(str(k).isdigit() for k in value):
        value = list(value.values())
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def dig(value: Any, *path: str | int) -> Any:
    """What stands at `path`, or None."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def need(value: Any, *path: str | int) -> str:
    """The text at `path`. Raises MalformedError naming the path when there is none."""
    found = text(dig(value, *path))
    if found is None:
        raise MalformedError(f"missing:{'.'.join(map(str, path))}")
    return found


def first(*values: Any) -> Any:
    """The first value that is neither None nor empty text."""
    for value in values:
        if value is not None and value != "":
            return value
    return None


def flag(value: Any) -> bool | None:
    """A yes or no in the spellings that occur; None when it is neither."""
    if isinstance(value, bool):
        return value
    word = (text(value) or "").lower()
    if word in {"1", "true", "yes", "sim", "s", "y"}:
        return True
    return False if word in {"0", "false", "no", "nao", "não", "n"} else None


# A currency's sign or code may stand before the digits, a code or a percent sign after them.
_NUMBER = re.compile(
    r"\s*(?P<minus>-?)\s*(?:[A-Za-z]{0,3}[$€£¥]?)\s*(?P<inner>[-+]?)\s*"
    r"(?P<digits>\d[\d.,]*|[.,]\d+)\s*(?:[A-Za-z]{3}|[%€])?\s*",
    re.ASCII | re.VERBOSE,
)
# As programs write a number; most that come as text are.
_PLAIN = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,2})?", re.ASCII)
_LARGEST = 40  # digits before or after the point; beyond it is no quantity of anything


def number(value: Any) -> Decimal | None:
    """A decimal number from `10.5`, `"1.234,56"`, `"1,234.56"`, `"R$ 10,00"`; None when it is none.

    With both separators the last one is the decimal one. A single separator is decimal, whatever
    follows it (`1.234` is how JSON writes it), and thousands when it repeats.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        found = _number_in(value) if len(value) < 100 else _NO_NUMBER
    elif isinstance(value, _EXACT):
        found = Decimal(value)
    else:
        found = Decimal(repr(value)) if isinstance(value, float) else _NO_NUMBER
    return found if found.is_finite() and abs(found.adjusted()) <= _LARGEST else None


def _number_in(value: str) -> Decimal:
    if _PLAIN.fullmatch(value):
        return Decimal(value)
    match = _NUMBER.fullmatch(value.replace("\xa0", " "))
    if match is None:
        return _NO_NUMBER
    raw = match["digits"]
    decimal, thousands = (",", ".") if raw.rfind(",") > raw.rfind(".") else (".", ",")
    if thousands not in raw and _GROUPED.fullmatch(raw):
        raw = raw.replace(decimal, "")
    raw = raw.replace(thousands, "").replace(decimal, ".")
    is_negative = "-" in (match["minus"], match["inner"])
    return Decimal(f"-{raw}" if is_negative else raw) if raw.count(".") <= 1 else _NO_NUMBER


_GROUPED = re.compile(r"\d{1,3}(?:[.,]\d{3}){2,}", re.ASCII)
_NO_NUMBER = Decimal("NaN")


def integer(value: Any) -> int | None:
    """A whole number, or None."""
    if type(value) is int and -_SMALL < value < _SMALL:
        return value
    found = number(value)
    return int(found) if found is not None and found == found.to_integral_value() else None


def quantity(value: Any) -> int | float:
    """A quantity above zero: whole where it is whole; 1 when the provider sends none."""
    found = number(value)
    if found is None or found <= 0:
        return 1
    return int(found) if found == found.to_integral_value() else float(found)


def money(value: Any, currency: str | None) -> int | None:
    """An amount in major units (`10.90`, `"1.234,56"`) as minor units of `currency`."""
    if type(value) is int and -_SMALL < value < _SMALL:
        scale: int = 10 ** exponent(currency)
        return value * scale
    found = number(value)
    return None if found is None else minor_units(found, currency)


def cents(value: Any) -> int | None:
    """An amount that already is in minor units."""
    if type(value) is int and -_SMALL < value < _SMALL:
        return value
    found = number(value)
    return None if found is None else minor_units(found, "JPY")


_CURRENCY_WORDS = {"R$": "BRL", "REAL": "BRL", "REAIS": "BRL", "US$": "USD", "€": "EUR"}


def currency(value: Any, default: str | None = None) -> str | None:
    """An ISO 4217 code in upper case, also from `R$`; else `default`."""
    code = (text(value) or "").upper()
    code = _CURRENCY_WORDS.get(code, code)
    return code if len(code) == 3 and code.isalpha() and code.isascii() else default


_DATE = re.compile(
    r"(?:(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})|(?P<d2>\d{1,2})/(?P<m2>\d{1,2})/(?P<y2>\d{4}))"
    r"(?:[T ]+(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d+))?)?)?"
    r"\s*(?P<z>Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?",
    re.IGNORECASE | re.ASCII,
)
_MILLISECONDS = 10**11  # seconds from here on would be the year 5138


def instant(value: Any, zone: str = BRAZIL) -> datetime | None:
    """A time as aware UTC, from the forms that occur: ISO 8601 with any precision, `DD/MM/YYYY
    HH:MM`, Unix seconds or milliseconds. A time without an offset is wall time in `zone` (IANA
    name). None for what is no time.
    """
    if isinstance(value, str):
        found = _iso_instant(value, zone)
        if found is not None:
            return found
        return _from_stamp(value) if _is_stamp(value) else _written_instant(value, zone)
    if isinstance(value, _NUMBERS) and not isinstance(value, bool):
        return _from_stamp(value)
    return None


def _iso_instant(value: str, zone: str) -> datetime | None:
    """The usual spelling by the interpreter's own reader, ten times as fast as ours. None: look
    closer.
    """
    if len(value) != 10 and (len(value) < 16 or value[13] != ":"):
        return None
    if value[4] != "-" or value[7] != "-":
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else _on_the_wall(found, zone)
    except (ValueError, OverflowError):
        return None


def _on_the_wall(time: datetime, zone: str) -> datetime:
    """The instant when the clocks in `zone` show `time`; `replace` and `astimezone` take thrice as
    long.
    """
    ahead = ZoneInfo(zone).utcoffset(time) or timedelta()
    return _START + (time - _WALL_START - ahead)


_START = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_START = datetime(1970, 1, 1)  # noqa: DTZ001 - wall time is what has no zone


def _written_instant(value: str, zone: str) -> datetime | None:
    match = _DATE.fullmatch(value.strip())
    if match is None:
        return None
    part = match.groupdict()
    try:
        return datetime(
            int(part["y"] or part["y2"]),
            int(part["m"] or part["m2"]),
            int(part["d"] or part["d2"]),
            int(part["H"] or 0),
            int(part["M"] or 0),
            int(part["S"] or 0),
            int(((part["f"] or "0") + "000000")[:6]),
            _offset(part["z"]) or ZoneInfo(zone),
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _is_stamp(value: str) -> bool:
    return value.isascii() and value.isdigit() and 9 <= len(value) <= 13


def _from_stamp(value: Any) -> datetime | None:
    stamp = Decimal(str(value))
    if not stamp.is_finite() or stamp <= 0 or stamp >= _MILLISECONDS * 1000:
        return None
    seconds = stamp / 1000 if stamp >= _MILLISECONDS else stamp
    return datetime.fromtimestamp(float(seconds), UTC)


def _offset(written: str | None) -> tzinfo | None:
    if written is None:
        return None
    if written.isalpha():
        return UTC
    clock = written[1:].replace(":", "").ljust(4, "0")
    ahead = timedelta(hours=int(clock[:2]), minutes=int(clock[2:]))
    return timezone(-ahead if written[0] == "-" else ahead)


def day(value: Any, zone: str = BRAZIL) -> date | None:
    """The calendar day of a time in `zone`."""
    found = instant(value, zone)
    return found.astimezone(ZoneInfo(zone)).date() if found else None


_NO_DIGIT = re.compile(r"[^0-9]")


def digits(value: Any) -> str | None:
    """Only the digits, or None when there are none."""
    raw = text(value)
    if raw is None or (raw.isdigit() and raw.isascii()):
        return raw
    return _NO_DIGIT.sub("", raw) or None


def latest(*times: datetime | None) -> datetime | None:
    """The latest of the times that are known."""
    return max((t for t in times if t is not None), default=None)


# Other names are in use for the same facts.
_TRACKING_NAMES = {name: name for name in Tracking.__dataclass_fields__} | {
    "meta_fbp": "fbp",
    "google_gclid": "gclid",
    "_fbp": "fbp",
    "user_ip": "ip",
}


def tracking(*sources: Any, **known: Any) -> Tracking | None:
    """UTM and click ids from objects, or from the query string of a URL; the first source that has
    a name wins.

    None when nothing is known.
    """
    found: dict[str, str] = {k: t for k, v in known.items() if (t := text(v)) is not None}
    for source in sources:
        pairs: Iterable[tuple[str, Any]] = ()
        if isinstance(source, dict):
            pairs = source.items()
        elif isinstance(source, str):
            pairs = parse_qsl(_query_of(source)) if len(source) < 4096 else ()
        for name, value in pairs:
            key = _TRACKING_NAMES.get(str(name).lower()) if value else None
            if key is not None and key not in found:
                worth = text(value)
                if worth is not None and worth.lower() not in _ABSENT:
                    found[key] = worth
    return Tracking(**found) if found else None


def _query_of(url: str) -> str:
    """The query of a URL, of which nothing else needs to be right."""
    return url.partition("#")[0].partition("?")[2]
