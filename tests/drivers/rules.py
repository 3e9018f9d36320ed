"""The rules of the canonical event that types cannot say, as faults found in one event's data (as
plain JSON).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from drivers.people import STATES

# Field names anywhere in the canonical data, and the form their values have.
FORMS: dict[str, re.Pattern[str]] = {
    "currency": re.compile(r"[A-Z]{3}"),
    "country": re.compile(r"[A-Z]{2}"),
    "phone": re.compile(r"\+[1-9]\d{7,14}"),
    "email": re.compile(r"[^\sA-Z]+@[^\sA-Z]+"),
    "last4": re.compile(r"\d{4}"),
    "line": re.compile(r"\d{44,48}"),
    "barcode": re.compile(r"\d{44}"),
    "ip": re.compile(r"[\d.]+|[0-9a-fA-F:.]+"),
}
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
TIME_NAMES = ("estimated_delivery", "period_start", "period_end")


def broken(data: dict[str, Any]) -> list[str]:
    """Every rule that this data breaks."""
    canonical = {k: v for k, v in data.items() if k != "extra"}
    return [*_forms("data", canonical), *_items(data["items"]), *_addresses(data)]


def _forms(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _forms(f"{path}.{at}", inner)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        here = f"{path}.{name}"
        if isinstance(inner, dict | list):
            yield from _forms(here, inner)
        elif inner == "":
            yield f"{here} is empty text, which should be null"
        elif inner is not None:
            is_time = name.endswith("_at") or name in TIME_NAMES
            form = TIMES if is_time else FORMS.get(name)
            if form is not None and not form.fullmatch(str(inner)):
                yield f"{here} has not the documented form: {inner!r}"


def _items(items: list[dict[str, Any]]) -> Iterator[str]:
    for at, item in enumerate(items):
        if item["quantity"] <= 0:
            yield f"items.{at}.quantity is not above zero"


def _addresses(data: dict[str, Any]) -> Iterator[str]:
    for name in ("shipping_address", "billing_address"):
        address = data[name] or {}
        if address.get("country") != "BR":
            continue
        if address["state"] is not None and address["state"] not in STATES.values():
            yield f"{name}.state is no UF: {address['state']!r}"
        if address["postal_code"] is not None and not re.fullmatch(
            r"\d{8}", address["postal_code"]
        ):
            yield f"{name}.postal_code is no CEP: {address['postal_code']!r}"
