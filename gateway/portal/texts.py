"""The portal's words in both languages: English in the code, Portuguese beside it in a catalogue.

A test holds the catalogue to the texts that are used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from typing import Any, Protocol

from aiohttp import web

from gateway.api.language import Language, language_of

COOKIE = "comporta_language"
LOCALES: Mapping[Language, str] = {"pt": "pt-BR", "en": "en"}


class Say(Protocol):
    """Says an English text in one language, with values in its `{places}`."""

    def __call__(self, text: str, /, **values: Any) -> str:
        """The text."""


def load() -> Mapping[str, str]:
    """English text -> Portuguese."""
    catalogue = files("gateway") / "portal" / "locale" / "pt.json"
    found: dict[str, str] = json.loads(catalogue.read_text(encoding="utf-8"))
    return found


def say_in(language: Language, portuguese: Mapping[str, str]) -> Say:
    """How texts are said in this language."""
    return partial(_say, portuguese if language == "pt" else {})


def _say(catalogue: Mapping[str, str], text: str, /, **values: Any) -> str:
    said = catalogue.get(text, text)
    return said.format(**values) if values else said


def chosen_language(request: web.Request) -> Language:
    """What the visitor chose, else what the browser asks for."""
    match request.cookies.get(COOKIE):
        case "pt":
            return "pt"
        case "en":
            return "en"
    return language_of(request)


def later(text: str) -> str:
    """Marks a text that is said later, when the language is known."""
    return text
