"""What templates make of values: times, numbers, money, and the look of a state."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gateway.api.language import Language
from gateway.portal.texts import Say
from schemas import codec
from schemas.errors import UnparsableError

UNKNOWN = "\N{EN DASH}"
LARGEST_TREE = 131_072  # characters; what is larger is shown as it came

# State -> its tone; each tone has a shape of its own beside the colour.
TONES: Mapping[str, str] = {
    **dict.fromkeys(
        "succeeded dispatched accepted active ok closed delivered ready".split(), "good"
    ),
    **dict.fromkeys("finished".split(), "good"),
    **dict.fromkeys("retrying enriching pending_auth half_open paused quarantined".split(), "warn"),
    **dict.fromkeys("dead error open failed rejected gave_up".split(), "bad"),
    **dict.fromkeys("pending delivering running".split(), "busy"),
}
# As people call them; keys of the catalogue.
STATES: Mapping[str, str] = {
    "succeeded": "Delivered",
    "delivered": "Delivered",
    "dispatched": "Dispatched",
    "accepted": "Accepted",
    "active": "Active",
    "ok": "Working",
    "retrying": "Retrying",
    "enriching": "Enriching",
    "pending_auth": "Waiting for authorization",
    "quarantined": "Quarantined",
    "dead": "Dead",
    "error": "Error",
    "open": "Circuit open",
    "failed": "Failed",
    "rejected": "Rejected",
    "retry": "Failed",
    "pending": "Waiting",
    "delivering": "Delivering",
    "running": "Running",
    "paused": "Paused",
    "finished": "Finished",
    "done": "Finished",
    "canceled": "Canceled",
    "disabled": "Disabled",
    "duplicate": "Duplicate",
    "ignored": "Ignored",
    "superseded": "Superseded",
    "unset": "Not configured",
    "deprecated": "Deprecated",
}


def tone(state: str | None) -> str:
    """good, warn, bad, busy or quiet."""
    return TONES.get(state or "", "quiet")


def state_text(state: str | None, say: Say) -> str:
    """A state as people call it."""
    name = state or ""
    return say(STATES[name]) if name in STATES else name


def state_pairs(states: Iterable[str], say: Say) -> list[tuple[str, str]]:
    """(state, its text) of each, to choose from."""
    return [(state, state_text(state, say)) for state in states]


def utc(value: str | int | None) -> str:
    """`2024-01-15 10:45:00 UTC` of an API time, or of microseconds."""
    moment = _moment(value)
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def iso(value: str | int | None) -> str:
    """What a <time> element holds for machines."""
    moment = _moment(value)
    return "" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _moment(value: str | int | None) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, int):
        return datetime.fromtimestamp(value / 1_000_000, UTC)
    return datetime.fromisoformat(value).astimezone(UTC)


def number(value: float | Decimal | None, language: Language, places: int = 0) -> str:
    """With the separators of the language; a dash for what is not known."""
    if value is None:
        return UNKNOWN
    text = f"{value:,.{places}f}"
    return text if language == "en" else text.translate(str.maketrans(",.", ".,"))


def milliseconds(value: float | Decimal | None, language: Language) -> str:
    """A duration in the unit that fits."""
    if value is None:
        return UNKNOWN
    amount = float(value)
    if amount < 1000:
        return f"{number(amount, language, 0 if amount >= 10 else 1)} ms"
    if amount < 120_000:
        return f"{number(amount / 1000, language, 1)} s"
    if amount < 7_200_000:
        return f"{number(amount / 60_000, language)} min"
    return f"{number(amount / 3_600_000, language, 1)} h"


def size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB"


def parsed(text: str) -> Any:
    """The value of a text that is JSON, None when it is none or too large to show as a tree."""
    if len(text) > LARGEST_TREE or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return codec.loads(text.encode())
    except (UnparsableError, UnicodeEncodeError):
        return None


def scalar(value: Any) -> str:
    """A JSON value that is neither object nor list, as JSON has it."""
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def short(ident: str | None) -> str:
    """The end of an id, where ids made in one second differ."""
    return "…" + ident[-8:] if ident and len(ident) > 12 else ident or ""


def summary(chosen: Mapping[str, Any]) -> str:
    """A filter in one line."""
    return " · ".join(f"{name} {value}" for name, value in chosen.items() if name != "ids")
