"""Socket.IO on the real program, by unmodified clients: python-socketio, socket.io-client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from tests.e2e.deliveries import SECRET, kiwify, post_all
from tests.e2e.node_client import node_client
from tests.e2e.program import KEY, Program
from tests.sinks.receiver import until

UPSTREAM = {"event", "instance", "data", "server_url", "date_time", "sender", "apikey"}
JID = "5511988887777@s.whatsapp.net"


def _client() -> Any:
    return socketio.AsyncClient(reconnection=False)  # type: ignore[no-untyped-call]  # it has no types


class Client:
    """python-socketio, listening to one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.events: list[tuple[str, Any]] = []
        self.left: list[str] = []
        self.sio = _client()
        self.sio.on("*", self._hear, namespace=namespace)
        self.sio.on("disconnect", self.left.append, namespace=namespace)

    async def _hear(self, name: str, payload: Any) -> None:
        self.events.append((name, payload))

    @property
    def ids(self) -> list[str]:
        return [payload["id"] for _, payload in self.events]

    async def heard(self, count: int) -> list[tuple[str, Any]]:
        await until(lambda: len(self.events) >= count)
        return self.events


@contextlib.asynccontextmanager
async def connected(
    program: Program, instance: str = "loja-1", *, query: str = f"?apikey={KEY}", **options: Any
) -> AsyncIterator[Client]:
    client = Client(f"/{instance}")
    given = {"transports": ["websocket"], "wait_timeout": 10} | options
    await client.sio.connect(program.url + query, namespaces=[client.namespace], **given)
    try:
        yield client
    finally:
        await client.sio.disconnect()


async def refused(program: Program, instance: str, **options: Any) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        async with connected(program, instance, **options):
            pass


async def post(program: Program, event: str, data: Any, instance: str = "loja-1") -> str:
    body = {"event": event, "data": data}
    answer = await program.call("POST", f"/webhook/evolution/{instance}", body)
    assert answer.status == 200, answer.body
    return str(answer.json["id"])


@pytest.fixture
async def line(comporta: Program) -> Program:
    """The program with an instance whose websocket sink is on, as upstream's v1 sets it."""
    answer = await comporta.call("POST", "/websocket/set/loja-1", {"enabled": True})
    assert answer.status == 201
    return comporta


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_payload_is_what_upstreams_clients_know(line: Program, transport: str) -> None:
    message = {"key": {"remoteJid": JID, "fromMe": False, "id": "W1"}, "status": "PENDING"}
    async with connected(line, transports=[transport]) as client:
        await client.sio.emit("subscribe", {"instance": "loja-1"}, namespace="/loja-1")
        event_id = await post(line, "MESSAGES_UPSERT", message)
        await post(line, "GROUP_PARTICIPANTS_UPDATE", {"id": "1"})
        (first, second) = await client.heard(2)
    name, payload = first
    assert name == payload["event"] == "messages.upsert"
    assert payload.keys() >= UPSTREAM
    assert payload["data"] == message
    assert (payload["instance"], payload["id"]) == ("loja-1", event_id)
    assert (payload["server_url"], payload["apikey"]) == (line.url, None)
    assert second[0] == "group-participants.update"


async def test_many_events_arrive_once_and_in_order(line: Program) -> None:
    shop = (await line.install("kiwify", "loja-1", SECRET))["ingest_url"]
    async with connected(line) as live, connected(line, transports=["polling"]) as polling:
        answered = await post_all(line, shop, range(200), at_once=20)
        await asyncio.gather(live.heard(200), polling.heard(200))
        assert live.ids == polling.ids
        assert sorted(live.ids) == sorted(answered.values())
        async with connected(line, auth={"apikey": KEY, "since": live.ids[49]}, query="") as late:
            await late.heard(150)
            assert late.ids == live.ids[50:]


async def test_the_key_may_be_in_three_places(line: Program) -> None:
    for options in (
        {"query": f"?apikey={KEY}"},
        {"query": "", "headers": {"apikey": KEY}},
        {"query": "", "headers": {"Authorization": f"Bearer {KEY}"}},
        {"query": "", "auth": {"apikey": KEY}},
    ):
        async with connected(line, **options) as client:
            event_id = await post(line, "connection.update", {"state": "open"})
            await until(lambda client=client, ident=event_id: ident in client.ids)  # type: ignore[misc]  # default arguments bind them


async def test_strangers_and_foreign_namespaces_are_refused(line: Program) -> None:
    wishes = [
        {"name": "other", "permissions": ["EVENTS_READ"], "instance": "outra"},
        {"name": "unable", "permissions": ["SINKS_MANAGE"]},
    ]
    keys = [(await line.data("POST", "/api-keys", wish))["key"] for wish in wishes]
    await refused(line, "loja-1", query="")
    await refused(line, "loja-1", query="?apikey=cmp_wrong")
    await refused(line, "nobody")
    for key in keys:
        await refused(line, "loja-1", query=f"?apikey={key}")
    for auth in ({"since": "01hm6z00000000000000000000"}, {"events": ["nope"]}):
        await refused(line, "loja-1", auth=auth)


async def test_a_namespace_exists_as_soon_as_its_instance(comporta: Program) -> None:
    """Upstream's is there from the first event on: who came before was told `Invalid namespace`."""
    await comporta.call("POST", "/instances", {"name": "nova"})
    async with connected(comporta, "nova") as client:
        await comporta.call("POST", "/websocket/set/nova", {"websocket": {"enabled": True}})
        first = await post(comporta, "call", {"id": "1"}, "nova")
        await client.heard(1)
        await comporta.call("POST", "/websocket/set/nova", {"websocket": {"enabled": False}})
        second = await post(comporta, "call", {"id": "2"}, "nova")
        await comporta.call("POST", "/websocket/set/nova", {"websocket": {"enabled": True}})
        await client.heard(2)
        assert client.ids == [first, second]
        assert client.left == []


async def test_the_first_set_shows_its_key_only_when_asked(line: Program) -> None:
    wish = {"name": "shown", "permissions": ["SINKS_MANAGE"]}
    key = (await line.data("POST", "/api-keys", wish))["key"]
    path = "/websocket/set/loja-1"
    shown = await line.call("POST", path, {"include_apikey": True}, key=key)
    assert shown.json["apikey"].startswith("*")
    assert key.encode() not in shown.body
    async with connected(line) as client:
        await post(line, "call", {"id": "1"})
        ((_, payload),) = await client.heard(1)
        assert payload["apikey"] == key
        found = (await line.call("GET", "/websocket/find/loja-1")).json
        again = await line.call("POST", path, found, key=key)
        assert "warnings" not in again.json
        await line.call("POST", path, {"include_apikey": False})
        await post(line, "call", {"id": "2"})
        assert (await client.heard(2))[1][1]["apikey"] is None


async def test_a_revoked_key_is_sent_away(line: Program) -> None:
    made = await line.data("POST", "/api-keys", {"name": "k", "permissions": ["EVENTS_READ"]})
    async with connected(line, query=f"?apikey={made['key']}") as client:
        await line.call("DELETE", f"/api-keys/{made['id']}")
        await until(lambda: bool(client.left))


async def test_pages_of_other_origins_are_refused(embedded: Program) -> None:
    await embedded.start(CORS_ORIGINS="https://shop.example.com")
    await embedded.call("POST", "/websocket/set/loja-1", {"enabled": True})
    for origin, status in (("https://shop.example.com", 200), ("https://evil.example", 400)):
        target = f"{embedded.url}/socket.io/?EIO=4&transport=polling&apikey={KEY}"
        async with embedded.session.get(target, headers={"Origin": origin}) as answer:
            assert answer.status == status


async def test_a_stop_sends_clients_away_and_ends_in_time(embedded: Program) -> None:
    await embedded.start()
    await embedded.call("POST", "/websocket/set/loja-1", {"enabled": True})
    async with connected(embedded) as client, connected(embedded, transports=["polling"]) as other:
        async with asyncio.timeout(15):
            assert await embedded.end() == 0
        await until(lambda: bool(client.left) and bool(other.left))


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"], ["polling"]])
async def test_the_javascript_client(line: Program, transports: list[str]) -> None:
    url = f"{line.url}/loja-1"
    async with node_client(url, transports=transports, query={"apikey": KEY}) as client:
        await client.heard("connect")
        if "websocket" in transports:
            await until(lambda: any(told.get("transport") == "websocket" for told in client.told))
        message = {"key": {"remoteJid": JID, "fromMe": False, "id": "JS1"}, "text": "ção \u2028"}
        await post(line, "messages.upsert", message)
        await client.heard("event")
        ((name, payload),) = client.events
    assert name == "messages.upsert"
    assert payload.keys() >= UPSTREAM
    assert payload["data"] == message


async def test_the_javascript_client_is_told_why_it_is_refused(line: Program) -> None:
    async with node_client(f"{line.url}/loja-1", auth={"apikey": "cmp_wrong"}) as client:
        (told,) = await client.heard("refused")
    assert told["message"].startswith("this API key is not valid")
    assert told["data"] == {"code": "unauthorized"}
    async with node_client(f"{line.url}/nobody", auth={"apikey": KEY}) as client:
        (told,) = await client.heard("refused")
    assert told["data"] == {"code": "not_found"}


async def test_the_javascript_client_hears_orders_and_replays(line: Program) -> None:
    shop = (await line.install("kiwify", "loja-1", SECRET))["ingest_url"]
    first = (await kiwify(1).post(line, shop)).json["events"][0]["id"]
    second = (await kiwify(2).post(line, shop)).json["events"][0]["id"]
    auth = {"apikey": KEY, "since": first, "events": ["order.*"]}
    async with node_client(f"{line.url}/loja-1", auth=auth) as client:
        await client.heard("event")
        await post(line, "call", {"id": "1"})
        third = (await kiwify(3).post(line, shop)).json["events"][0]["id"]
        await client.heard("event", 2)
        assert [(name, payload["id"]) for name, payload in client.events] == [
            ("order.paid", second),
            ("order.paid", third),
        ]
