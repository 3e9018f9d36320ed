"""The bodies of Evolution API's clients over HTTP: what is stored is what find tells, in the types
those clients read.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from schemas.sink_config import KINDS
from tests.api.rig import Api, serving
from tests.gateway.sink_bodies import CLIENTS

SHOWN_ANEW = {"updatedAt", "warnings"}
MASKED = {"uri", "secret"}  # told once, or never


@pytest.fixture
async def wide(tmp_path: Path) -> AsyncIterator[Api]:
    """With a connection for every kind, as a server that its clients know has."""
    connections = {
        "rabbitmq_uri": SecretStr("amqp://mq.example"),
        "nats_url": SecretStr("nats://nats.example"),
        "sqs_region": "sa-east-1",
        "pusher_app_id": "1",
        "pusher_key": "k",
        "pusher_secret": SecretStr("s"),
        "pusher_cluster": "sa1",
    }
    async with serving(tmp_path, **connections) as api:
        yield api


def told(row: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """What a row says of the expected fields."""
    shown = {name: row[name] for name in expected if name not in MASKED}
    return {n: tuple(v) if isinstance(v, list) else v for n, v in shown.items()}


async def test_each_body_is_set_found_and_posted_back(wide: Api) -> None:
    for number, (client, (kind, body, expected, warnings)) in enumerate(CLIENTS.items()):
        wanted = {n: v for n, v in expected.items() if n not in MASKED}
        path = f"{kind}/set/linha-{number}/"  # one client's URLs end so
        first = await wide.post(f"/{path}", body)
        assert first.status == 201, (client, first.body)
        assert told(first.body, expected) == wanted, client
        assert len(first.body.get("warnings", [])) == len(warnings), client
        found = (await wide.get(f"/{kind}/find/linha-{number}")).body
        assert told(found, expected) == wanted, client
        again = await wide.put(f"/{path}", found)
        assert again.status == 201, (client, again.body)
        kept = {n: v for n, v in found.items() if n not in SHOWN_ANEW}
        assert {n: v for n, v in again.body.items() if n in kept and n != "secret"} == {
            n: v for n, v in kept.items() if n != "secret"
        }, client


async def test_what_was_never_set_has_the_types_that_clients_read(wide: Api) -> None:
    for kind in KINDS:
        body = CLIENTS["seed" if kind == "webhook" else f"seed {kind}"][1]
        before = (await wide.get(f"/{kind}/find/nobody")).body
        after = (await wide.post(f"/{kind}/set/somebody", body)).body
        assert (before["enabled"], before["events"]) == (False, [])
        assert None not in before.values()
        assert {n: type(v) for n, v in before.items()} == {n: type(after[n]) for n in before}, kind
