"""The bundled sample deliveries, freshly signed: for `comporta send`, the demo and test events."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from drivers import BY_SLUG
from drivers.claim import Draft
from schemas.errors import UnparsableError


class UnknownSampleError(Exception):
    """There is no such sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One delivery as its provider sends it."""

    driver: str
    case: str
    note: str
    method: str
    headers: dict[str, str]
    query: dict[str, str]
    body: bytes
    secret: str
    settings: dict[str, Any]

    def signed(self, secret: str, now: int) -> Draft:
        """The delivery made genuine for `secret` at `now` (Unix seconds); as it is when nothing can
        be signed, which a few are about.
        """
        draft = Draft(dict(self.headers), dict(self.query), self.body, secret or self.secret, now)
        if draft.secret:
            with suppress(UnparsableError):
                BY_SLUG[self.driver].scheme.sign(draft)
        return draft


def names(driver: str | None = None) -> list[str]:
    """Every sample as `driver/case`."""
    root = files("drivers") / "samples"
    folders = [driver] if driver else sorted(BY_SLUG)
    found = []
    for slug in folders:
        folder = root / slug
        if folder.is_dir():
            cases = (f.name for f in folder.iterdir())
            found += [f"{slug}/{c[:-5]}" for c in sorted(cases) if _is_sample(c)]
    return found


def _is_sample(name: str) -> bool:
    return name.endswith(".json") and not name.endswith(".events.json")


def load(name: str) -> Sample:
    """The sample `driver/case`. Raises UnknownSampleError."""
    driver, _, case = name.partition("/")
    path = files("drivers") / "samples" / driver / f"{case}.json"
    if driver not in BY_SLUG or "/" in case or not path.is_file():
        raise UnknownSampleError(
            f"there is no sample {name}; `comporta send --list` names them all"
        )
    raw = json.loads(path.read_text())
    text = raw.get("body_raw")
    body = text if text is not None else json.dumps(raw.get("body"), ensure_ascii=False)
    return Sample(
        driver=driver,
        case=case,
        note=raw.get("note", ""),
        method=raw.get("method", "POST"),
        headers=dict(raw.get("headers") or {}),
        query=dict(raw.get("query") or {}),
        body=body.encode(),
        secret=raw.get("secret") or "",
        settings=dict(raw.get("settings") or {})
        | ({"jwks": raw["jwks"]} if raw.get("jwks") else {}),
    )
