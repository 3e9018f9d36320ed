"""The documents that describe us keep to the standards they name; `make check` runs this."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import schemas
from gateway.api import asyncapi, openapi
from gateway.api.router import ROUTES

SERVER = "https://hooks.example.com/gw"
EVENTS = sorted((Path(schemas.__file__).parent / "json").glob("*.json"))
# https://github.com/asyncapi/spec-json-schemas (Apache-2.0), without its descriptions.
ASYNCAPI = Draft7Validator(json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_text()))


def as_served(document: dict[str, Any]) -> dict[str, Any]:
    served: dict[str, Any] = json.loads(json.dumps(document))
    return served


def test_the_api_is_described_in_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(as_served(openapi.document(ROUTES, SERVER))).validate()


def test_deliveries_are_described_in_asyncapi_3() -> None:
    document = as_served(asyncapi.document(SERVER))

    assert [f"{e.json_path}: {e.message}" for e in ASYNCAPI.iter_errors(document)] == []


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_events_are_described_in_json_schema(path: Path) -> None:
    schema = json.loads(path.read_text())

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)


def test_what_breaks_a_standard_is_seen() -> None:
    broken = as_served(openapi.document(ROUTES, SERVER))
    broken["paths"]["/drivers"]["get"]["responses"] = {"fine": {}}
    assert not OpenAPIV31SpecValidator(broken).is_valid()

    shouting = as_served(asyncapi.document(SERVER)) | {
        "operations": {"deliver": {"action": "shout"}}
    }
    assert not ASYNCAPI.is_valid(shouting)
