"""The OpenAPI 3.1 document, made from the routes that are served and the models that validate.

Nothing here is read while requests are served: whoever asks for the document has it built once.
https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from gateway.api import problems
from gateway.api.doc import JSON, Schema
from gateway.api.parameters import parameters_of
from gateway.api.route import ANY_KEY, PUBLIC, Route
from gateway.version import VERSION

Mode = Literal["validation", "serialization"]
REF = "#/components/schemas/{model}"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LICENSE: Schema = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
ABOUT = """\
A self-hosted event gateway for commerce: providers' webhooks in, canonical events out, nothing
lost.

Every path works with and without a slash at its end. JSON is UTF-8; times are ISO 8601 in UTC with
microseconds; ids are lower-case ULIDs. A good answer is `{"data": …}`, except on the sink endpoints
and the health pages. An error is always `{"error", "code", "message", "details"}`; the sink
endpoints add `status` and `response`, which Evolution API's clients read.

Whoever asks without a valid key gets 401 whether the thing exists or not; another tenant's things
are 404.
"""
TAGS = {
    "drivers": "What the gateway understands, and which of it the tenant uses.",
    "installations": "One customer's connection to one driver, feeding one instance.",
    "oauth": "Where providers send a shop's owner back to.",
    "instances": "Named streams of events: what installations feed and sinks read.",
    "webhook": "Events POSTed to a URL, signed as Standard Webhooks say.",
    "websocket": "Events pushed to who is connected, over WebSocket or Socket.IO.",
    "rabbitmq": "Events published to a topic exchange with durable queues.",
    "sqs": "Events sent to Amazon SQS, or what speaks like it.",
    "nats": "Events published to NATS, through JetStream unless told otherwise.",
    "pusher": "Events triggered on Pusher, or a server of its HTTP API.",
    "processing": "What happened: events, providers' deliveries, ours, and sending again.",
    "ingress": "Where providers deliver. Each has its own proof, none has an API key.",
    "api-keys": "Who may do what.",
    "operations": "Health, metrics, and these documents.",
}
SECURITY: Schema = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (`cmp_…`)."},
    "apikey": {"type": "apiKey", "in": "header", "name": "apikey", "description": "An API key."},
    "query": {
        "type": "apiKey",
        "in": "query",
        "name": "apikey",
        "description": "An API key, where a client can send no headers.",
    },
}


class _Names(GenerateJsonSchema):
    """`Page[DriverData]` is called Page.DriverData."""

    def normalize_name(self, name: str) -> str:
        return re.sub(r"\W+", ".", name.replace("gateway.api.", "")).strip(".")


class _Shape(NamedTuple):
    model: Any
    mode: Mode


def document(routes: Iterable[Route], server_url: str) -> Schema:
    """The whole document. `server_url`: where clients reach this server."""
    routes = tuple(routes)
    schema_of, schemas = _schemas(routes)
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    used = dict.fromkeys(route.tag for route in routes)
    known = [{"name": t, "description": TAGS[t]} for t in TAGS if t in used]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Comporta",
            "version": VERSION,
            "description": ABOUT,
            "license": LICENSE,
        },
        "jsonSchemaDialect": DIALECT,
        "servers": [{"url": server_url}],
        "tags": known + [{"name": t} for t in used if t not in TAGS],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": dict(_common_responses()),
            "securitySchemes": SECURITY,
        },
    }


def _schemas(routes: tuple[Route, ...]) -> tuple[Callable[[Any, Mode], Schema], Schema]:
    """How to refer to a model's schema, and every schema referred to."""
    models: list[Any] = [problems.Problem, problems.EvolutionProblem, problems.InternalProblem]
    wanted = [_Shape(model, "serialization") for model in models]
    wanted += [_Shape(r.body, "validation") for r in routes if r.body is not None]
    wanted += [_Shape(r.answer, "serialization") for r in routes if r.answer is not None]
    unique = list({(id(model), mode): _Shape(model, mode) for model, mode in wanted}.values())
    found, rest = TypeAdapter.json_schemas(
        [((id(s.model), s.mode), s.mode, TypeAdapter(s.model)) for s in unique],
        ref_template=REF,
        schema_generator=_Names,
    )
    schemas: Schema = _tidy(rest.get("$defs", {}), is_names=True)
    for made in _made_by_hand(routes):
        schemas[made["title"]] = made
    refs = {key: _tidy(schema) for (key, _), schema in found.items()}
    return (lambda model, mode: refs[id(model), mode]), dict(sorted(schemas.items()))


def _made_by_hand(routes: tuple[Route, ...]) -> Iterator[Schema]:
    for route in routes:
        yield from (make() for make in (route.doc.body, route.doc.answer) if make is not None)


def _tidy(node: Any, *, is_names: bool = False) -> Any:
    """Without the titles that only repeat a name. `is_names`: the keys are names, not keywords."""
    if isinstance(node, list):
        return [_tidy(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _tidy(value, is_names=key == "properties" and not is_names)
        for key, value in node.items()
        if is_names or key != "title"
    }


def _operation(route: Route, schema_of: Callable[[Any, Mode], Schema]) -> Schema:
    names = re.findall(r"\{(\w+)\}", route.path)
    body = _body(route, schema_of)
    made: Schema = {
        "operationId": operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": _about(route),
        "parameters": list(parameters_of(route, names)),
        "responses": dict(_responses(route, schema_of, has_body=body is not None)),
        "security": _security(route),
    }
    return made | ({"requestBody": body} if body is not None else {})


def operation_id(route: Route) -> str:
    """Unique and lasting: `post_webhook_set_instance`."""
    return re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")


def _about(route: Route) -> str:
    may = [route.permission, *route.instead]
    if route.permission == PUBLIC:
        key = "Needs no API key."
    elif route.permission == ANY_KEY:
        key = "Needs any valid API key."
    else:
        key = f"Needs {' or '.join(f'`{word}`' for word in may)}."
    return "\n\n".join(text for text in (route.doc.about.strip(), key) if text)


def _security(route: Route) -> list[Schema]:
    if route.permission == PUBLIC:
        return []
    ways = ("bearer", "apikey", *(("query",) if route.key_in_query else ()))
    roles = [() if route.permission == ANY_KEY else (route.permission,)]
    roles += [(word,) for word in route.instead]
    return [{way: list(role)} for role in roles for way in ways]


def _body(route: Route, schema_of: Callable[[Any, Mode], Schema]) -> Schema | None:
    if route.body is not None:
        schema = schema_of(route.body, "validation")
    elif route.doc.body is not None:
        schema = {"$ref": REF.format(model=route.doc.body()["title"])}
    else:
        return None
    shown: Schema = {"schema": schema}
    if route.doc.examples:
        shown["examples"] = {
            re.sub(r"\W+", "-", name): {"summary": name, "value": value}
            for name, value in route.doc.examples.items()
        }
    return {"required": not _is_optional(route), "content": dict.fromkeys(route.doc.takes, shown)}


def _is_optional(route: Route) -> bool:
    """Whether no body serves as well as an empty object."""
    if route.body is None:
        return route.doc.optional
    return not any(field.is_required() for field in route.body.model_fields.values())


def _responses(
    route: Route, schema_of: Callable[[Any, Mode], Schema], *, has_body: bool
) -> Iterator[tuple[str, Schema]]:
    good = _good(route, schema_of)
    more = {status: when for status, when in route.answers.items() if status < 400}
    for status, when in {route.status: more.get(route.status, ""), **more}.items():
        yield str(status), good | {"description": when or route.summary}
    for status, when in sorted(problems.statuses_of(route, has_body=has_body).items()):
        if status in route.doc.alike:
            yield str(status), _or_problem(good) | {"description": when}
        elif when:
            yield str(status), problems.response(status, when, evolution=route.evolution)
        else:
            name = _response_name(status, evolution=route.evolution)
            yield str(status), {"$ref": f"#/components/responses/{name}"}


def _or_problem(good: Schema) -> Schema:
    """The shape of a good answer, which a status also has, beside that of an error."""
    problem = {"$ref": REF.format(model="Problem")}
    return {
        "content": {
            media: {"schema": {"anyOf": [shown["schema"], problem]}}
            for media, shown in good["content"].items()
        }
    }


def _good(route: Route, schema_of: Callable[[Any, Mode], Schema]) -> Schema:
    if route.answer is not None:
        schema = schema_of(route.answer, "serialization")
    elif route.doc.answer is not None:
        schema = {"$ref": REF.format(model=route.doc.answer()["title"])}
    elif route.doc.media != (JSON,):
        schema = {"type": "string"}
    else:
        return {}
    return {"content": {media: {"schema": schema} for media in route.doc.media}}


def _common_responses() -> Iterator[tuple[str, Schema]]:
    for status in problems.BY_STATUS:
        for evolution in (False, True):
            name = _response_name(status, evolution=evolution)
            yield name, problems.response(status, "", evolution=evolution)


def _response_name(status: int, *, evolution: bool) -> str:
    kind = problems.BY_STATUS[status].__name__.removesuffix("Error")
    return f"Evolution{kind}" if evolution else kind
