"""Words that clients send: what a name may look like, and text that every store takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from gateway.api.route import INSTANCE_NAME

MAX_OVERLAP = int(timedelta(days=30).total_seconds())


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not hold control characters")
    return text


def _instance_name(text: str) -> str:
    if not INSTANCE_NAME.fullmatch(text):
        raise ValueError("must be a letter or digit, then up to 63 of A-Z a-z 0-9 . - _")
    return text


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_printable),
]
InstanceName = Annotated[str, AfterValidator(_instance_name)]
Overlap = Annotated[
    int,
    Field(ge=0, le=MAX_OVERLAP, description="seconds during which the old one still works"),
]


class Body(BaseModel):
    """A request body: a field that does not exist is an error, not silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def storable(value: Any) -> bool:
    """Whether every text in a JSON value can be kept by any store: no NUL, no lone surrogate."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return all(storable(k) and storable(v) for k, v in value.items())
    return all(map(storable, value)) if isinstance(value, list) else True
