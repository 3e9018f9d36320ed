"""What only the operator may do: make tenants, and seal what is stored with a newer key."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from gateway.bootstrap import Keys
from gateway.rotation import rotate
from gateway.security import SecretsError, Vault
from schemas.sink_config import NatsConfig, PusherConfig, RabbitmqConfig
from sinks.amqp_channel import Topology
from sinks.nats_stream import Subjects
from tests.api.rig import Api, serving
from tests.api.shop import opened
from tests.sinks.receiver import Receiver


async def tenant(api: Api, name: str) -> Api:
    return api.with_key((await api.post("/tenants", {"name": name})).data["key"])


async def test_a_tenant_is_made_with_a_key_that_is_shown_once(api: Api) -> None:
    made = await api.post("/tenants", {"name": "acme"})
    listed = await api.get("/tenants")

    assert made.status == 201
    assert made.data["name"] == "acme"
    assert [t["name"] for t in listed.data] == ["acme", "default"]
    assert made.data["key"] not in str(listed.body)
    assert (await api.with_key(made.data["key"]).get("/api-keys")).data[0]["name"] == "admin"
    assert (await api.post("/tenants", {"name": "acme"})).status == 409


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a.b", "a" * 33, "a\n", "é", 5])
async def test_a_tenants_name_is_part_of_other_names(api: Api, name: Any) -> None:
    assert "name" in (await api.post("/tenants", {"name": name})).faults


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/tenants"), ("POST", "/tenants"), ("POST", "/encryption/rotate")]
)
async def test_no_other_key_may_do_this(api: Api, method: str, path: str) -> None:
    everything = await api.limited("*")
    for client in (everything, await tenant(api, "acme")):
        answer = await client.call(method, path, {"name": "x"} if method == "POST" else None)
        assert answer.status == 403
        assert "operator" in answer.body["message"]


async def test_two_tenants_with_an_instance_of_one_name(api: Api, receiver: Receiver) -> None:
    """Each sees its own, wherever it looks."""
    acme = await tenant(api, "acme")
    ours = await opened(api, "loja", url=receiver.url + "/default")
    theirs = await opened(acme, "loja", url=receiver.url + "/acme")
    our_event, their_event = await ours.order(1), await theirs.order(1)
    await ours.dispatch(our_event, "succeeded")
    await theirs.dispatch(their_event, "succeeded")

    went = {(got.target, got.headers["webhook-id"]) for got in receiver.got}
    assert went == {("/hook/default", our_event), ("/hook/acme", their_event)}
    for path in (
        "/installations",
        "/instances",
        "/processing/events",
        "/processing/webhooks",
        "/processing/dispatches",
        "/webhook/list/loja",
        "/audit",
    ):
        mine, other = await api.get(path), await acme.get(path)
        ids = [{item["id"] for item in _items(answer.body)} for answer in (mine, other)]
        assert ids[0], path
        assert ids[1], path
        assert not ids[0] & ids[1], path
    assert (await api.get("/webhook/find/loja")).body["url"].endswith("/default")
    assert (await acme.get("/webhook/find/loja")).body["url"].endswith("/acme")
    assert (await acme.get(f"/processing/events/{our_event}")).status == 404
    assert (await acme.post(f"/processing/events/{our_event}/replay")).status == 404
    replay = await acme.post("/processing/replay", {"filter": {"status": "succeeded"}})
    assert replay.data["matched"] == 1
    assert (await acme.delete("/webhook/set/loja")).status == 204
    assert (await api.get("/webhook/find/loja")).body["enabled"] is True


def _items(body: Any) -> list[Any]:
    return list(body["data"] if isinstance(body, dict) else body)


async def test_two_tenants_with_a_room_of_one_name(api: Api) -> None:
    acme = await tenant(api, "acme")
    shops = [await opened(client, "loja") for client in (api, acme)]
    sockets = []
    for client in (api, acme):
        assert (await client.post("/websocket/set/loja", {"enabled": True})).status == 201
        url = client.url + "/ws/loja"
        sockets.append(await client.session.ws_connect(url, headers={"apikey": str(client.key)}))
    events = [await shop.order(1) for shop in shops]
    for socket, event in zip(sockets, events, strict=True):
        async with asyncio.timeout(20):
            heard = await socket.receive_json()
        assert heard["id"] == event
        await socket.close()


def test_the_names_of_brokers_are_told_apart() -> None:
    names: list[set[str]] = []
    for owner in ("default", "acme"):
        row: dict[str, Any] = {"id": "s", "tenant": owner, "instance": "loja", "name": "default"}
        rabbitmq = Topology.of(RabbitmqConfig(kind="rabbitmq", **row))
        subjects = Subjects.of(NatsConfig(kind="nats", **row))
        pusher = PusherConfig(kind="pusher", **row)
        names.append(
            {
                rabbitmq.exchange,
                rabbitmq.queue("order.paid"),
                subjects.subject("order.paid"),
                pusher.wire_channel,
            }
        )

    dead: dict[str, Any] = {"id": "s", "tenant": "acme", "instance": "loja"}
    dead["dead_letter_exchange"] = "loja"
    for uri, exchange in (("", "acme.loja"), ("amqp://mq.example", "loja")):
        shared = RabbitmqConfig(kind="rabbitmq", name="default", uri=uri, **dead)
        assert Topology.of(shared).arguments["x-dead-letter-exchange"] == exchange
    assert not names[0] & names[1]
    assert all(name.startswith("acme.") for name in names[1])


async def test_no_instance_looks_like_another_tenants(api: Api) -> None:
    """Their queues would have the same names."""
    await tenant(api, "acme")
    for name in ("acme.loja", "acme_loja"):
        assert (await api.post("/instances", {"name": name})).status == 409
        answer = await api.post(f"/webhook/set/{name}", {"url": "https://a.example"})
        assert answer.status == 409
    assert (await api.post("/instances", {"name": "acme-loja"})).status == 201
    assert (await api.post("/instances", {"name": "globex.loja"})).status == 201
    assert (await api.post("/tenants", {"name": "globex"})).status == 409


async def test_secrets_are_sealed_with_the_newest_key(api: Api) -> None:
    """With changes going on; afterwards the old key opens nothing any more."""
    services = api.services
    for number in range(20):
        await api.install("kiwify", instance=f"loja-{number}")
        url = {"url": "https://a.example"}
        assert (await api.post(f"/webhook/set/loja-{number}", url)).status == 201
    key = {"Idempotency-Key": "k"}
    await api.post("/api-keys", {"name": "k", "permissions": []}, headers=key)
    old = services.vault
    newest = Fernet.generate_key()
    both = Vault([newest.decode(), *(_text(k) for k in old._keys)])
    _use(services, both)

    async def change() -> None:
        for number in range(20):
            await api.post(f"/webhook/rotate-secret/loja-{number}", {"overlap_seconds": 1})

    answer, _ = await asyncio.gather(api.post("/encryption/rotate"), change())
    again = (await api.post("/encryption/rotate")).data

    assert answer.data["rotated"] >= 20
    assert again["rotated"] == 0
    assert again["current"] == 40
    alone = Vault([newest.decode()])
    for kind in ("installation", "sink"):
        for record in await services.registry.list(kind):
            alone.open(f"{kind}/{record.id}", record.doc["sealed"])
            with pytest.raises(SecretsError):
                old.open(f"{kind}/{record.id}", record.doc["sealed"])
    _use(services, alone)
    await services.directory.load()
    replayed = await api.post("/api-keys", {"name": "k", "permissions": []}, headers=key)
    assert replayed.headers["Idempotent-Replayed"] == "true"


async def test_several_processes_may_rotate_at_once(
    api_on_postgres: Api, tmp_path: Path, postgres_db: str
) -> None:
    """Two that share a store: each secret is sealed once, and both go on opening it."""
    first = api_on_postgres
    for number in range(30):
        await first.post(f"/webhook/set/loja-{number}", {"url": "https://a.example"})
    newest = Fernet.generate_key().decode()
    keys = [newest, *(_text(k) for k in first.services.vault._keys)]
    _use(first.services, Vault(keys))
    (tmp_path / "second").mkdir()
    sealed = Keys(Vault(keys), str(first.key), is_new=False)
    async with serving(tmp_path / "second", sealed, store=SecretStr(postgres_db)) as second:
        told = await asyncio.gather(*(one.post("/encryption/rotate") for one in (first, second)))
        assert sum(answer.data["rotated"] for answer in told) == 30
        assert sum(answer.data["current"] for answer in told) == 30
        _use(first.services, Vault([newest]))
        for one in (first, second):
            await one.services.directory.load()
            assert len((await one.get("/instances?limit=100")).data) == 30


async def test_what_no_key_opens_is_told(api: Api) -> None:
    await api.install("kiwify")
    services = api.services
    stranger = Vault([Fernet.generate_key().decode()])

    with pytest.raises(SecretsError, match="COMPORTA_SECRET_KEYS"):
        await rotate(services.registry, services.store.database, stranger)


def _text(key: bytes) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(key).decode()


def _use(services: Any, vault: Vault) -> None:
    services.vault = services.directory._vault = services.callers.idempotency._vault = vault
