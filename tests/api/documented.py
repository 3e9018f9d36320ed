"""Whether what the server does is what its OpenAPI document says."""

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from gateway.api.openapi import document
from gateway.api.route import Route
from gateway.api.router import ROUTES

ROOT = "urn:openapi"
SERVER = "https://hooks.example.com"


@cache
def openapi() -> dict[str, Any]:
    return document(ROUTES, SERVER)


@cache
def registry() -> Any:
    return Registry().with_resource(ROOT, DRAFT202012.create_resource(rooted(openapi())))


def rooted(node: Any) -> Any:
    """With references that do not depend on where they stand."""
    return json.loads(json.dumps(node).replace('"#/components/', f'"{ROOT}#/components/'))


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = openapi()["paths"][route.path][route.method.lower()]
    return found


def route_of(method: str, path: str) -> Route | None:
    """The route that serves a path, by the same order as the router's."""
    asked = path.partition("?")[0].rstrip("/")
    for route in ROUTES:
        pattern = re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(route.path))
        if route.method == method and re.fullmatch(pattern, asked):
            return route
    return None


def faults(route: Route, status: int, media: str, body: Any) -> list[str]:
    """What the document did not say of an answer."""
    said = operation(route)["responses"].get(str(status))
    if said is None:
        return [f"{route.method} {route.path} may not answer {status}: {body}"]
    if "$ref" in said:
        said = resolved(said["$ref"])
    content = said.get("content", {})
    if not content:
        return []
    kind = media.partition(";")[0]
    if kind not in content:
        return [f"{route.method} {route.path} {status} may not answer {media}"]
    if kind != "application/json":
        return []
    validator = schema_validator(route.path, route.method, str(status))
    found = validator.iter_errors(body)
    return [f"{route.path} {status} {e.json_path}: {e.message}" for e in found]


@cache
def schema_validator(path: str, method: str, status: str) -> Draft202012Validator:
    said = openapi()["paths"][path][method.lower()]["responses"][status]
    said = resolved(said["$ref"]) if "$ref" in said else said
    return validator_of(said["content"]["application/json"]["schema"])


def validator_of(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(rooted(schema), registry=registry())


def resolved(reference: str) -> dict[str, Any]:
    found: dict[str, Any] = openapi()
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found
