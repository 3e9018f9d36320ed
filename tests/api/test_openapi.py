"""The OpenAPI document is complete and true: held against the router, the models, real answers."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.fernet import Fernet

import gateway
from gateway.api import problems
from gateway.api.openapi import document
from gateway.api.route import PUBLIC, Route
from gateway.api.router import ROUTES
from gateway.app import build
from gateway.bootstrap import Keys
from gateway.security import Vault
from gateway.settings import Settings
from tests.api.documented import faults, openapi, operation, resolved, validator_of
from tests.api.rig import PUBLIC as URL
from tests.api.rig import Api
from tests.sinks.receiver import Receiver

# Pages for people, which no program calls.
PAGES = ("/portal",)
BODIES = [r for r in ROUTES if r.method != "GET" and (r.body or r.doc.body)]
EXAMPLES = [(route, name) for route in BODIES for name in route.doc.examples]


def name_of(route: Any) -> str:
    return f"{route.method} {route.path}" if isinstance(route, Route) else str(route)


def served(tmp_path: Path) -> set[tuple[str, str]]:
    """Every route of the program's router, without the slash at its end."""
    keys = Keys(Vault([Fernet.generate_key().decode()]), "cmp_admin", is_new=True)
    app: web.Application = build(Settings(data_dir=tmp_path), keys)
    found = set()
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if path != "/" and not path.startswith(PAGES):  # `/` leads to the portal
            found.add((route.method, path.rstrip("/") or "/"))
    return found


def described(spec: dict[str, Any]) -> set[tuple[str, str]]:
    return {(m.upper(), path) for path, item in spec["paths"].items() for m in item}


def test_every_route_has_an_operation_and_every_operation_a_route(tmp_path: Path) -> None:
    assert served(tmp_path) == described(openapi())


def test_a_route_that_is_not_described_would_be_seen(tmp_path: Path) -> None:
    assert served(tmp_path) - described(document(ROUTES[1:], URL)) == {
        (ROUTES[0].method, ROUTES[0].path)
    }


def test_no_schema_is_dangling_or_idle() -> None:
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(openapi())))

    assert used == set(openapi()["components"]["schemas"])


def test_operations_are_told_apart() -> None:
    ids = [op["operationId"] for item in openapi()["paths"].values() for op in item.values()]

    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", ident) for ident in ids)


def test_every_kind_of_sink_is_listed_by_its_own_path() -> None:
    for kind in ("webhook", "websocket", "rabbitmq", "sqs", "nats", "pusher"):
        assert "post" in openapi()["paths"][f"/{kind}/set/{{instance}}"]
        assert "get" in openapi()["paths"][f"/{kind}/find/{{instance}}"]


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_good_answer_is_described(route: Route) -> None:
    said = operation(route)["responses"][str(route.status)]

    assert said["description"]
    empty = route.status in {101, 204, 302} or route.path == "/socket.io"
    assert bool(said.get("content")) is not empty
    if route.permission != PUBLIC:
        assert "401" in operation(route)["responses"]
        assert operation(route)["security"]


@pytest.mark.parametrize("route", [r for r in BODIES if r.path[:7] != "/hooks/"], ids=name_of)
def test_a_body_has_an_example(route: Route) -> None:
    assert route.doc.examples, f"give {name_of(route)} Route(doc=Doc(examples={{…}}))"


@pytest.mark.parametrize("route", BODIES, ids=name_of)
def test_an_example_fits_its_schema_and_its_model(route: Route) -> None:
    validator = validator_of(
        operation(route)["requestBody"]["content"]["application/json"]["schema"]
    )

    for example in route.doc.examples.values():
        assert list(validator.iter_errors(example)) == []
        if route.body is not None:
            route.body.model_validate(json.loads(json.dumps(example)))


def test_every_code_of_the_program_is_told() -> None:
    told = {code for codes in problems.CODES.values() for code in codes}
    told |= {kind.code for kind in problems.CLASSES}

    assert set(codes_in(Path(gateway.__file__).parent)) <= told


def codes_in(folder: Path) -> Iterator[str]:
    """Every `code="…"` of a call."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.keyword(arg="code", value=ast.Constant(value=str(code))):
                    yield code


def test_examples_of_errors_fit() -> None:
    for name, said in openapi()["components"]["responses"].items():
        content = said["content"]["application/json"]
        found = list(validator_of(content["schema"]).iter_errors(content["example"]))
        assert found == [], name


async def test_the_server_shows_it_to_anybody(api: Api) -> None:
    answer = await api.with_key(None).get("/openapi.json")

    assert answer.status == 200
    assert answer.body["servers"] == [{"url": URL}]
    assert described(answer.body) == described(openapi())


async def test_the_server_accepts_every_example(api: Api, receiver: Receiver) -> None:
    """In the order of the routes, so that what is changed was made before."""
    made = await prepared(api, receiver)
    for route, name in EXAMPLES:
        example = route.doc.examples[name]
        if route.path.endswith("send-test-event"):
            example = example | {"webhook_url": receiver.url}
        for wanted, ident in made.items():
            path = route.path.replace("{id}", ident).replace("{instance}", "loja-1")
            path = path.replace("{name}", "backup").replace("{event}", "messages-upsert")
            if route.path.startswith(wanted):
                break
        else:
            raise AssertionError(f"nothing is prepared for {route.path}")
        answer = await api.call(route.method, path, example)
        assert answer.status == route.status, (name_of(route), name, answer.body)


async def prepared(api: Api, receiver: Receiver) -> dict[str, str]:
    """Path -> the id of something there, the longest paths first."""
    await api.put("/drivers/hotmart/settings", {"enabled": True})
    hotmart = {"driver": "hotmart", "instance": "loja-1", "credentials": {"secret": "x"}}
    installation = (await api.post("/installations", hotmart)).data
    listed = hotmart | {
        "driver": "pagarme",
        "credentials": {"secret": "u:p", "secret_key": "sk_1"},
        "settings": {"api_base_url": receiver.url},
    }
    comparable = (await api.post("/installations", listed)).data
    key = (await api.post("/api-keys", {"name": "k", "permissions": ["EVENTS_READ"]})).data
    await api.post("/webhook/set/loja-1", {"url": receiver.url})
    await api.post("/webhook/set/loja-1/backup", {"url": receiver.url})
    await api.post("/instances", {"name": "from-a-phone", "number": "5511999990000"})
    channel = {"event": "messages.upsert", "data": {"key": {"id": "1"}}}
    told = await api.post("/webhook/evolution/loja-1", channel)
    return {
        "/installations/{id}/reconcile": comparable["id"],
        "/drivers/{id}": "bling",
        "/installations": installation["id"],
        "/api-keys": key["id"],
        "/processing/events": told.body["id"],
        "/": "loja-1",
    }


def test_what_the_document_does_not_say_is_a_fault() -> None:
    route = next(r for r in ROUTES if r.path == "/drivers/names")

    assert faults(route, 200, "application/json", {"data": [{"name": "x", "slug": "x"}]}) == []
    assert faults(route, 200, "application/json", {"data": [{"name": "x"}]})
    assert faults(route, 200, "text/html", "")
    assert faults(route, 418, "application/json", {})
    assert faults(route, 401, "application/json", {"error": "Unauthorized"})


def test_the_command_prints_it() -> None:
    command = [str(Path(sys.executable).with_name("comporta")), "openapi"]
    done = subprocess.run(command, capture_output=True, check=True, env={}, text=True)

    assert described(json.loads(done.stdout)) == described(openapi())
    assert json.loads(done.stdout)["servers"] == [{"url": "http://127.0.0.1:8080"}]
    assert resolved("#/components/schemas/Problem")["required"]
