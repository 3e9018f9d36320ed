"""Which language an answer is in: Portuguese, unless the caller would rather read English."""

from __future__ import annotations

from typing import Literal

from aiohttp import web

Language = Literal["pt", "en"]


def language_of(request: web.Request) -> Language:
    """What `Accept-Language` asks for (RFC 9110, section 12.5.4)."""
    wanted: dict[str, float] = {}
    for part in request.headers.get("Accept-Language", "").split(","):
        tag, _, parameter = part.strip().lower().partition(";")
        wanted.setdefault(tag.partition("-")[0], _weight(parameter))
    return "en" if wanted.get("en", 0.0) > wanted.get("pt", 0.0) else "pt"


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
