"""An account connected by OAuth, from the first URL to the day access is taken back."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import samples
from gateway.directory import Directory
from gateway.ids import Ulids
from gateway.models import DriverSettings, Installation
from gateway.oauth_refresh import LOST, Held
from gateway.security import Vault, digest
from gateway.store import open_store
from gateway.store.registry import Registry
from tests.api.rig import eventually
from tests.e2e.program import SECRET_KEYS, Answer, Program, program
from tests.provider_apis.oauth import CLIENT_ID, CLIENT_SECRET, Bling, Grant, authority
from tests.sinks.given import wall_clock
from tests.sinks.receiver import Receiver, until

REDIRECT = "https://sua-app.com/oauth/callback"
OAUTH = {"redirect_url": REDIRECT, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
MANY = 200
MICROSECONDS = 1_000_000


@pytest.fixture
async def bling() -> AsyncIterator[Bling]:
    async with authority(Bling) as provider:
        assert isinstance(provider, Bling)
        yield provider


async def installed(server: Program, bling: Bling) -> Any:
    settings = {"oauth_settings": OAUTH}
    assert (await server.call("PUT", "/drivers/bling/settings", settings)).status == 200
    made = await server.install("bling", "loja-1", settings={"api_base_url": bling.url})
    assert made["status"] == "pending_auth"
    return made


async def come_back(server: Program, query: str) -> Answer:
    url = f"{server.url}/oauth/bling/callback?{query}"
    async with server.session.get(url, allow_redirects=False) as answer:
        return Answer(answer.status, dict(answer.headers), await answer.read())


async def delivered(server: Program, made: Any, order: int) -> Answer:
    """A thin delivery about an order of its own."""
    sample = samples.load("bling/order_created")
    value = json.loads(sample.body)
    value |= {"eventId": f"event-{order}", "data": value["data"] | {"id": order}}
    draft = samples.Sample(
        **{name: getattr(sample, name) for name in sample.__slots__}
        | {"body": json.dumps(value).encode()}
    ).signed(CLIENT_SECRET, 0)
    return await server.post(made["ingest_url"], draft.body, draft.headers)


def answers_about(bling: Bling, order: int) -> None:
    """What the API tells of an order, as its sample has it."""
    path = Path(samples.__file__).parents[1] / "drivers/samples/bling/order_created.json"
    for asked, answer in json.loads(path.read_text())["enrichment_responses"].items():
        if "vendas" in asked:
            answer["data"]["id"] = order
        bling.api[asked.removeprefix("GET ").replace("23871450912", str(order))] = answer


def bodies(receiver: Receiver, event: str) -> list[Any]:
    return [b for b in (json.loads(got.body) for got in receiver.got) if b["event"] == event]


async def test_from_the_first_url_to_the_day_access_is_taken_back(
    comporta: Program, bling: Bling, receiver: Receiver
) -> None:
    await comporta.webhook("loja-1", receiver.url)
    made = await installed(comporta, bling)
    bling.short = [2]

    back = await come_back(comporta, bling.grant(made["auth_url"]))
    assert (back.status, back.headers["Location"]) == (302, REDIRECT)
    first = next(iter(bling.access))
    await until(lambda: bool(bodies(receiver, "CONNECTION_UPDATE")))
    assert bodies(receiver, "installation.updated")[0]["data"]["status"] == "active"
    assert bodies(receiver, "CONNECTION_UPDATE")[0]["data"]["state"] == "open"

    answers_about(bling, 1001)
    assert (await delivered(comporta, made, 1001)).json["enriching"] is True
    await until(lambda: bool(bodies(receiver, "order.created")))
    (event,) = bodies(receiver, "order.created")
    assert event["data"]["customer"]["name"] == "Patrícia Galvão Reis"
    assert len(event["data"]["items"]) == 2

    await until(lambda: bool(bling.refreshed))
    await until(lambda: len(bling.access) == 2)
    del bling.access[first]
    answers_about(bling, 1002)
    assert (await delivered(comporta, made, 1002)).status == 200
    await until(lambda: len(bodies(receiver, "order.created")) == 2)
    assert len(bling.refreshed) == 1

    bling.revoke()
    assert (await delivered(comporta, made, 1003)).status == 200
    await until(lambda: len(bodies(receiver, "CONNECTION_UPDATE")) == 2)
    told = bodies(receiver, "installation.updated")[-1]
    assert told["data"]["status"] == "error"
    assert told["data"]["previous_status"] == "active"
    assert told["installation_id"] == made["id"]
    assert bodies(receiver, "CONNECTION_UPDATE")[-1]["data"]["state"] == "close"
    shown = await comporta.data("GET", f"/installations/{made['id']}")
    assert (shown["status"], bool(shown["auth_url"])) == ("error", True)
    for secret in (CLIENT_SECRET, "access-", "refresh-", "code-1"):
        assert secret not in comporta.log


async def test_what_was_begun_before_a_restart_is_completed_after_it(
    embedded: Program, bling: Bling
) -> None:
    await embedded.start()
    made = await installed(embedded, bling)
    query = bling.grant(made["auth_url"])
    await embedded.kill()
    await embedded.start()

    assert (await come_back(embedded, query)).status == 302
    assert (await embedded.data("GET", f"/installations/{made['id']}"))["status"] == "active"
    assert (await come_back(embedded, query)).status == 400


async def test_a_stop_in_the_middle_of_a_refresh_keeps_what_it_brings(
    embedded: Program, bling: Bling
) -> None:
    """The provider rotates: the answer that is on its way is the only token left."""
    await embedded.start()
    made = await installed(embedded, bling)
    bling.lifetime = 1
    await come_back(embedded, bling.grant(made["auth_url"]))
    bling.gate.clear()
    await until(lambda: bling.waiting == 1)
    stopping = asyncio.create_task(embedded.end())
    await until(lambda: "gateway.stopping" in embedded.log)
    bling.gate.set()
    assert await stopping == 0
    assert len(bling.refreshed) == 1
    await embedded.start()

    await until(lambda: len(bling.refreshed) >= 2)
    assert bling.refreshed[0] != bling.refreshed[1]
    await until(lambda: len(bling.access) >= 3)
    shown = await embedded.data("GET", f"/installations/{made['id']}")
    assert shown["status"] == "active"


async def test_a_kill_in_the_middle_of_a_refresh_is_told(embedded: Program, bling: Bling) -> None:
    """What was on its way is lost: whoever has to authorise again learns why."""
    await embedded.start()
    made = await installed(embedded, bling)
    bling.lifetime = 1
    await come_back(embedded, bling.grant(made["auth_url"]))
    bling.gate.clear()
    await until(lambda: bling.waiting == 1)
    await embedded.kill()
    bling.gate.set()
    await until(lambda: len(bling.refreshed) == 1)
    await embedded.start()

    async def look() -> Any:
        shown = await embedded.data("GET", f"/installations/{made['id']}")
        return shown if shown["status"] == "error" else None

    shown = await eventually(look)
    assert "invalid_grant" in shown["reason"]
    assert shown["reason"].endswith(LOST)
    assert shown["auth_url"]
    assert bling.refreshed[0] == bling.refreshed[1]


async def connected(url: str, bling: Bling) -> Directory:
    """Another process's view, which connects many accounts at once: their tokens end soon."""
    store = await open_store(url, node="of-the-test", lease_seconds=10)
    directory = Directory(Registry(store.database, store.notify), Vault([SECRET_KEYS]))
    ids, now = Ulids(wall_clock, os.urandom), wall_clock()
    settings = DriverSettings(
        id=ids(),
        tenant="default",
        driver="bling",
        enabled=True,
        redirect_url=REDIRECT,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )
    await directory.save("driver_settings", settings)
    await directory.ensure_instance("default", "loja-1", ids)
    for number in range(MANY):
        refresh_token = f"first-{number}"
        bling.refresh[refresh_token] = Grant("", None)
        bling.access[f"old-{number}"] = (bling.refresh[refresh_token], time.time() + 60)
        oauth = {
            "access_token": f"old-{number}",
            "refresh_token": refresh_token,
            "obtained_at": now,
            "expires_at": now + MICROSECONDS,
        }
        made = Installation(
            id=ids(),
            tenant="default",
            driver="bling",
            instance="loja-1",
            name="Bling",
            settings={"api_base_url": bling.url},
            tokens=((digest(refresh_token), None),),
            oauth=oauth,
        )
        await directory.save("installation", made)
    return directory


async def test_two_processes_renew_each_of_200_tokens_once(
    tmp_path: Path, postgres_db: str, bling: Bling
) -> None:
    bling.api["/Api/v3/pedidos/vendas"] = {"data": []}
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    async with (
        program(folders[0], STORE=postgres_db) as one,
        program(folders[1], STORE=postgres_db) as other,
    ):
        await asyncio.gather(one.start(), other.start())
        bling.gate.clear()
        directory = await connected(postgres_db, bling)
        # More at once than one process asks: both are at it.
        await until(lambda: bling.waiting > 48)
        bling.gate.set()

        async def renewed() -> bool:
            await directory.load()
            held = [Held.of(i) for i in directory.installations()]
            return all(h and h.text.startswith("access-") for h in held)

        await eventually(renewed, 30)
        assert sorted(bling.refreshed) == sorted(f"first-{n}" for n in range(MANY))
        statuses = {i.status for i in directory.installations()}
        assert statuses == {"active"}
