"""The files that pages load: read once, named by their content, so that browsers keep them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

TYPES: Mapping[str, str] = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `tag`: changes with its content."""

    body: bytes
    content_type: str
    tag: str


def load() -> dict[str, Asset]:
    """Every file by its name."""
    folder = files("gateway") / "portal" / "static"
    found: dict[str, Asset] = {}
    for file in folder.iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None and file.is_file():
            body = file.read_bytes()
            found[file.name] = Asset(body, kind, sha256(body).hexdigest()[:12])
    return found
