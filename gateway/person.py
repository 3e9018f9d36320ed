"""A person as data names them: every spelling of an e-mail address or a document, and what of an
event is about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway.store.prune import NO_DATA
from schemas import codec

LEAST_DOCUMENT, MOST_DOCUMENT = 8, 20
_EMAIL = re.compile(r"[^\s@<>,;\"\\]{1,64}@[^\s@<>,;\"\\]{1,190}")
_PUNCTUATION = re.compile(r"[\s./-]")
# Of canonical commerce data: what is the buyer's, and what an order keeps without them.
_BUYERS = ("customer", "shipping_address", "billing_address", "tracking")
_OWN: dict[str, tuple[str, ...]] = {
    "order": ("url", "checkout_url", "note", "cancel_reason"),
    "checkout": ("url",),
    "invoice": ("url",),
    "return": ("reason",),
    "payments": ("card", "boleto", "pix"),
    "shipments": ("tracking_url", "events"),
}
_LISTS = frozenset({"events"})


def read_email(text: str) -> str:
    """An address, trimmed and in lower case. Raises ValueError."""
    email = text.strip().lower()
    if not _EMAIL.fullmatch(email):
        raise ValueError("is not an e-mail address")
    return email


def read_document(text: str) -> str:
    """A CPF, CNPJ or other number without punctuation, in lower case. Raises ValueError."""
    document = _PUNCTUATION.sub("", text).lower()
    if not (document.isascii() and document.isalnum()) or not any(map(str.isdigit, document)):
        raise ValueError("is not a document's number")
    if not LEAST_DOCUMENT <= len(document) <= MOST_DOCUMENT:
        raise ValueError(f"has {LEAST_DOCUMENT} to {MOST_DOCUMENT} letters and digits")
    return document


@dataclass(frozen=True, slots=True)
class Person:
    """Whom data is searched for: by what `read_email` and `read_document` gave, or one of them."""

    email: str = ""
    document: str = ""
    _pattern: re.Pattern[bytes] = field(init=False, repr=False)
    _escapes: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False)
    _starts: tuple[bytes, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        spelled = []
        if self.email:
            spelled.append(rb"(?<![a-z0-9_.+-])%b(?![a-z0-9_-])" % re.escape(self.email.encode()))
        if self.document:
            characters = rb"[ ./-]?".join(c.encode() for c in self.document)
            spelled.append(rb"(?<![a-z0-9])%b(?![a-z0-9])" % characters)
        object.__setattr__(self, "_pattern", re.compile(b"|".join(spelled)))
        two, three = self.document[:2], self.document[:3]
        starts = [self.email, *([three, *(two + mark for mark in " ./-")] if two else ())]
        object.__setattr__(self, "_starts", tuple(s.encode() for s in starts if s))
        # Nobody escapes letters and digits; what stands between them, some do.
        between = {c for c in f"./- {self.email}" if not (c.isascii() and c.isalnum())}
        escapes = [(b"\\u%04x" % ord(c), c.encode()) for c in between if ord(c) < 0x10000]
        object.__setattr__(self, "_escapes", (*escapes, (b"\\/", b"/")))

    def is_in(self, text: bytes) -> bool:
        """Whether the text names the person: as it stands, or as JSON or a form spells it."""
        lowered = text.lower()
        if self._is_spelled(lowered):
            return True
        if b"\\" in lowered:
            plain = lowered
            for escape, character in self._escapes:
                plain = plain.replace(escape, character)
            if self._is_spelled(plain):
                return True
        if b"%" in lowered:
            return self._is_spelled(unquote_to_bytes(lowered).lower())
        return False

    def _is_spelled(self, text: bytes) -> bool:
        """The pattern is slow where nothing of it stands: how it begins is looked for first."""
        return any(start in text for start in self._starts) and bool(self._pattern.search(text))


def without(person: Person, data: bytes) -> bytes:
    """An event's data without its person: an order keeps its ids, amounts and times; what has
    another shape, or would still name the person, goes whole.
    """
    value = codec.loads(data) if data else None
    if not isinstance(value, dict) or "customer" not in value:
        return NO_DATA
    value |= dict.fromkeys(_BUYERS) | {"partners": [], "extra": {}}
    for part, names in _OWN.items():
        held = value.get(part)
        for one in held if isinstance(held, list) else [held]:
            _blank(one, names)
    told = codec.dumps(value)
    return NO_DATA if person.is_in(told) else told


def _blank(part: Any, names: tuple[str, ...]) -> None:
    if isinstance(part, dict):
        part |= {name: [] if name in _LISTS else None for name in names}
