"""The JSON Schema (draft 2020-12) of every commerce event as its receivers get it.

Made from the dataclasses of `schemas.order`; the committed files `schemas/json/{event}.json` are
what `document` gives, and a test fails when one is stale. Nothing forbids further fields: within a
version fields are only ever added.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from schemas.events import COMMERCE_NAMES, FAMILIES, family_of
from schemas.order import CommerceData

BASE = "https://comporta.dev/schemas/"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Envelope(TypedDict):
    """What surrounds `data`. A websocket gets the required ones, every other sink nearly all.
    `gap`: an earlier event of the key was given up. `traceparent`: where a transport has no
    headers.
    """

    id: str
    seq: int
    event: str
    instance: str
    occurred_at: datetime
    data: dict[str, Any]
    version: NotRequired[int]
    test: NotRequired[bool]
    driver: NotRequired[str]
    installation_id: NotRequired[str | None]
    date_time: NotRequired[datetime]
    destination: NotRequired[str | None]
    sender: NotRequired[str | None]
    server_url: NotRequired[str | None]
    apikey: NotRequired[str | None]
    gap: NotRequired[bool]
    traceparent: NotRequired[str]


class RawData(TypedDict):
    """The payload of a `provider.event`, as the provider sent it (without its secrets)."""

    raw: Any


class Sink(TypedDict):
    """A sink of the instance. `name`: its kind and name, as `webhook/default`."""

    id: str
    name: str


class SinkNews(TypedDict):
    """What became of a sink, told to the others of its instance. `since`: when it began."""

    sink: Sink
    reason: str
    since: datetime


# The part that an event of a family cannot do without, and the one it never has. (A subscription
# has none where the provider names no subscription, only the order that pays for it.)
PRESENT = {"order": "Order", "checkout": "Checkout", "return": "Return"}
ABSENT = {"checkout": "order"}
KINDS: dict[str, Any] = {
    "provider.event": RawData,
    "installation.updated": dict[str, Any],
    **dict.fromkeys(FAMILIES["sink"], SinkNews),
}


@cache
def document(name: str) -> dict[str, Any]:
    """The schema of the event called `name`. Raises KeyError for a name that is none of ours."""
    if name not in COMMERCE_NAMES:
        raise KeyError(name)
    whole = _schema(Envelope)
    data = _schema(KINDS.get(name, CommerceData))
    parts = data.pop("$defs", {})
    if name not in KINDS:
        _narrow(data["properties"], family_of(name))
    whole["properties"]["event"] = {"const": name}
    whole["properties"]["data"] = data
    return (
        {"$schema": DIALECT, "$id": f"{BASE}{name}.json"} | whole | {"$defs": parts, "title": name}
    )


def _narrow(properties: dict[str, Any], family: str) -> None:
    if family in PRESENT:
        properties[family] = {"$ref": f"#/$defs/{PRESENT[family]}"}
    if family in ABSENT:
        properties[ABSENT[family]] = {"type": "null"}


def _schema(of: Any) -> dict[str, Any]:
    made: dict[str, Any] = _tidy(TypeAdapter(of).json_schema(mode="serialization"))
    return made


def _tidy(node: Any) -> Any:
    """Plain types for nullable values, no titles that repeat the name, nothing left out."""
    if isinstance(node, list):
        return [_tidy(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    kept = {k: _tidy(v) for k, v in node.items() if k not in {"title", "default"}}
    if "properties" in node:
        kept["properties"] = {k: _tidy(v) for k, v in node["properties"].items()}
        kept.setdefault("required", list(node["properties"]))
    nullable = kept.get("anyOf", [])
    if nullable[1:] == [{"type": "null"}] and set(nullable[0]) <= {"type", "format"}:
        kept.pop("anyOf")
        kept |= nullable[0] | {"type": [nullable[0]["type"], "null"]}
    return kept
