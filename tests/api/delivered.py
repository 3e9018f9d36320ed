"""Whether what receivers get is what the AsyncAPI document says."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from gateway.api.asyncapi import document

ROOT = "urn:asyncapi"


@cache
def asyncapi() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(document("https://hooks.example.com/gw")))
    return made


def rooted(node: Any) -> Any:
    return json.loads(json.dumps(node).replace('"#/components/', f'"{ROOT}#/components/'))


def faults(kind: str, name: str, part: str, value: Any) -> list[str]:
    """What is wrong with a message's payload or headers."""
    schema = asyncapi()["channels"][kind]["messages"][name][part]
    resource = DRAFT202012.create_resource(rooted(asyncapi()))
    registry: Any = Registry().with_resource(ROOT, resource)
    validator = Draft202012Validator(rooted(schema), registry=registry)
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(value)]


def assert_as_described(kind: str, body: str | bytes, headers: dict[str, Any] | None) -> str:
    """The id of a message of an order, whose body and headers are as the document says."""
    message = json.loads(body)
    name = message["event"]
    assert faults(kind, name, "payload", message) == []
    said = asyncapi()["channels"][kind]["messages"][name].get("headers", {}).get("properties", {})
    assert bool(said) is (headers is not None)
    if headers is not None:
        known = {key.lower(): value for key, value in headers.items()}
        assert {key.lower() for key in said} <= set(known), (kind, known)
        got = {key: known[key.lower()] for key in said}
        assert faults(kind, name, "headers", got) == []
    ident: str = message["id"]
    return ident
