"""What the OpenAPI document says of a route beyond its path, permission and models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doc:
    """Stands beside a route; most need no more than examples of what they take.

    `about`: Markdown under the summary. `examples`: name -> a body that the route accepts as it
    stands (a test sends every one). `body`, `answer`: make a JSON Schema where the route has no
    model of it; their names are those of the schemas. `optional`: it works without a body, too.
    `parameters`: name -> schema of a parameter that differs from the usual one of that name.
    `media`, `takes`: content types of its good answer and of its body. `alike`: statuses of 400
    and above whose answer has the shape of the good one, not of an error.
    """

    about: str = ""
    examples: Mapping[str, Any] = field(default_factory=dict)
    body: Callable[[], Schema] | None = None
    answer: Callable[[], Schema] | None = None
    optional: bool = False
    parameters: Mapping[str, Schema] = field(default_factory=dict)
    media: tuple[str, ...] = (JSON,)
    takes: tuple[str, ...] = (JSON,)
    alike: tuple[int, ...] = ()


def words(*known: str, about: str = "") -> Schema:
    """The schema of a parameter that is one of a few words."""
    said: Schema = {"description": about} if about else {}
    return said | {"type": "string", "enum": list(known)}
