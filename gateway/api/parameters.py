"""The parameters of paths and queries by their names, said once for every route that has them."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.api.changing import takes_key
from gateway.api.doc import Schema
from gateway.api.route import INSTANCE_NAME, Route
from gateway.idempotency import HEADER, LONGEST

ULID = "^[0-7][0-9a-hjkmnp-tv-z]{25}$"
NAME = f"^{INSTANCE_NAME.pattern}$"
IDENT: Schema = {"type": "string", "pattern": ULID, "examples": ["01jd2m3x4y5z6a7b8c9d0e1f2g"]}
INSTANCE: Schema = {"type": "string", "pattern": NAME, "examples": ["loja-1"]}
TIME: Schema = {"type": "string", "format": "date-time", "examples": ["2024-01-15T10:45:00Z"]}
TEXT: Schema = {"type": "string"}

PATH: dict[str, Schema] = {
    "instance": INSTANCE | {"description": "The instance's name."},
    "name": INSTANCE
    | {"description": "The sink's name among those of its kind.", "examples": ["backup"]},
    "id": {"description": "The ULID that an answer gave.", **IDENT, "pattern": "^[^/]+$"},
    "driver": TEXT | {"description": "The driver's slug.", "examples": ["hotmart"]},
    "token": TEXT | {"description": "The installation's unguessable part of its ingest URL."},
    "event": TEXT | {"description": "An event's name.", "examples": ["order.paid"]},
    "event_id": IDENT | {"description": "The event's id.", "pattern": "^[^/]+$"},
    "file": TEXT | {"description": "A file of the page."},
}
DRIVER_ID = TEXT | {"description": "The driver's slug or id.", "examples": ["hotmart"]}

_WHOLE: Schema = {"type": "integer", "minimum": 1}
QUERY: dict[str, Schema] = {
    "limit": _WHOLE | {"description": "How many at once.", "maximum": 100},
    "page": _WHOLE | {"description": "Which page.", "maximum": 999_999_999, "default": 1},
    "cursor": TEXT | {"description": "`meta.next_cursor` of the answer before: older ones."},
    "sort": TEXT | {"description": "Names separated by commas, `-` before one for descending."},
    "confirm": TEXT | {"description": "The instance's name once more."},
    "created_at_greater_than": TIME | {"description": "Only what came after this time."},
    "created_at_less_than": TIME | {"description": "Only what came before this time."},
    "apikey": TEXT | {"description": "The API key, for clients that cannot send headers."},
    "events": TEXT
    | {"description": "Comma list of event names; all when left out.", "examples": ["order.paid"]},
    "since": TEXT | {"description": "An event's id: first what came after it, then live."},
    "state": TEXT | {"description": "What the authorization URL carried."},
    "code": TEXT | {"description": "What the provider gives in exchange for the owner's consent."},
    "error": TEXT | {"description": "Why the provider refused."},
    "tenant": TEXT | {"description": "Part of the signed URL."},
    "expires": {"type": "integer", "description": "Part of the signed URL: Unix seconds."},
    "signature": TEXT | {"description": "Part of the signed URL."},
    "filter[name]": TEXT | {"description": "An event's name, in any spelling."},
    "filter[instance]": TEXT | {"description": "Of this instance."},
    "filter[installation_id]": TEXT | {"description": "Of this installation."},
    "filter[driver]": DRIVER_ID | {"description": "Of this driver: its slug or id."},
    "filter[key]": TEXT | {"description": "The key: an order's id, a delivery's."},
    "filter[sink]": TEXT | {"description": "A kind, `kind/name`, or a sink's id."},
    "filter[action]": TEXT | {"description": "A method and route.", "examples": ["POST /api-keys"]},
    "filter[source]": TEXT | {"description": "The address it came from."},
    "filter[status]": TEXT | {"description": "With this status."},
    "filter[outcome]": TEXT | {"description": "With this outcome."},
}
# Without these the request is refused.
REQUIRED = frozenset({"confirm", "tenant", "expires", "signature"})

IDEMPOTENCY_KEY: Schema = {
    "description": "Sent again with the same key within a day, a request is answered as the first"
    " time and not carried out again.",
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST,
    "pattern": "^[!-~]([ -~]*[!-~])?$",
}


def parameters_of(route: Route, path_names: list[str]) -> Iterator[Schema]:
    """The OpenAPI parameter objects of a route."""
    for name in path_names:
        yield _shown(name, "path", _schema(route, name, PATH)) | {"required": True}
    if takes_key(route):
        yield _shown(HEADER, "header", IDEMPOTENCY_KEY)
    for name in route.query:
        shown = _shown(name, "query", _schema(route, name, QUERY))
        yield shown | ({"required": True} if name in REQUIRED else {})


def _schema(route: Route, name: str, known: dict[str, Schema]) -> Schema:
    if name in route.doc.parameters:
        return known.get(name, {}) | route.doc.parameters[name]
    if name == "id" and route.path.startswith("/drivers/"):
        return DRIVER_ID
    return known.get(name, TEXT)


def _shown(name: str, place: str, schema: Schema) -> Schema:
    rest = {key: value for key, value in schema.items() if key != "description"}
    said = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": place, **said, "schema": rest}
