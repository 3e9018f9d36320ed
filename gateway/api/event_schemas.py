"""The JSON Schema of every commerce event, as the files that come with the program."""

from __future__ import annotations

from importlib.resources import files

from schemas.events import COMMERCE_NAMES

FOLDER = files("schemas") / "json"


def schema_of(name: str) -> bytes | None:
    """The schema of the event called `name`, as JSON; None when there is no such event."""
    return (FOLDER / f"{name}.json").read_bytes() if name in COMMERCE_NAMES else None
