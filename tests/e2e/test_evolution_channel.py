"""The Evolution channel on the real program: bodies in, events out, nothing taken twice."""

import asyncio
import json
from typing import Any

import pytest

from schemas.events import MESSAGING
from tests.e2e.program import KEY, Answer, Program
from tests.sinks.receiver import Receiver, until

CHAT = "5511988887777@s.whatsapp.net"
NUMBER = "5511977776666"


def channel(ident: str | None = "3EB0", **more: Any) -> dict[str, Any]:
    """The body that upstream's channel takes."""
    key = {"remoteJid": CHAT, "fromMe": False} | ({"id": ident} if ident else {})
    return {
        "numberId": NUMBER,
        "key": key,
        "pushName": "Luana",
        "message": {"conversation": "Quero comprar"},
        "messageType": "conversation",
    } | more


def envelope(event: str, data: Any, **more: Any) -> dict[str, Any]:
    """What an Evolution API's own webhook posts."""
    return {
        "event": event,
        "instance": "linha-1",
        "data": data,
        "destination": "https://example.com/hooks",
        "date_time": "2026-01-01T00:00:00.000Z",
        "sender": CHAT,
        "server_url": "https://evolution.example.com",
        "apikey": "instance-token-of-upstream",
    } | more


async def post(program: Program, body: Any, path: str = "/linha-1") -> Answer:
    if isinstance(body, bytes):
        headers = {"Content-Type": "application/json", "apikey": KEY}
        return await program.post(f"{program.url}/webhook/evolution{path}", body, headers)
    return await program.call("POST", f"/webhook/evolution{path}", body)


async def accepted(program: Program, body: Any, path: str = "/linha-1") -> Any:
    answer = await post(program, body, path)
    assert answer.status == 200, answer.body
    assert answer.json["status"] == "success"
    return answer.json


def bodies(receiver: Receiver) -> list[Any]:
    return [json.loads(got.body) for got in receiver.got]


@pytest.fixture
async def line(comporta: Program, receiver: Receiver) -> Program:
    """The program with an instance of a number, whose webhook gets everything."""
    made = await comporta.call("POST", "/instances", {"name": "linha-1", "number": NUMBER})
    assert made.status == 201, made.body
    await comporta.webhook("linha-1", receiver.url)
    return comporta


async def test_a_message_becomes_the_events_of_upstream(line: Program, receiver: Receiver) -> None:
    told = await accepted(line, channel("A1", profilePicUrl="https://example.com/luana.jpg"))
    await until(lambda: len(receiver.got) == 3)
    by_event = {body["event"]: body for body in bodies(receiver)}
    assert set(by_event) == {"MESSAGES_UPSERT", "CONTACTS_UPSERT", "CHATS_UPSERT"}
    message = by_event["MESSAGES_UPSERT"]
    assert message["id"] == told["id"]
    assert message["instance"] == "linha-1"
    assert message["driver"] == "evolution"
    assert message["installation_id"] is None
    data = message["data"]
    assert data["key"] == {
        "remoteJid": CHAT,
        "fromMe": False,
        "id": "A1",
        "profilePicUrl": "https://example.com/luana.jpg",
    }
    assert (data["message"], data["source"]) == ({"conversation": "Quero comprar"}, "unknown")
    assert by_event["CONTACTS_UPSERT"]["data"]["pushName"] == "Luana"
    assert by_event["CHATS_UPSERT"]["data"]["remoteJid"] == CHAT

    receiver.got.clear()
    await accepted(line, channel("A2"))
    await until(lambda: len(receiver.got) == 4)
    names = {body["event"] for body in bodies(receiver)}
    assert names == {"MESSAGES_UPSERT", "CONTACTS_UPSERT", "CHATS_UPDATE", "CHATS_UPSERT"}


async def test_a_chat_is_still_known_after_a_restart(line: Program) -> None:
    await accepted(line, channel("A1"))
    await line.end()
    await line.start()

    told = await accepted(line, channel("A2"))

    assert [e["event"] for e in told["events"]].count("chats.update") == 1


async def test_every_event_passes_with_its_data_as_it_came(
    line: Program, receiver: Receiver
) -> None:
    sent: dict[str, Any] = {}
    for number, (key, name) in enumerate(MESSAGING.items()):
        data = {"key": {"id": f"M{number}", "remoteJid": CHAT}, "n": 10**30 + number, "x": 10.50}
        body = json.dumps(envelope(name if number % 2 else key, data)).replace("10.5}", "10.50}")
        told = await accepted(line, body.encode())
        assert [e["event"] for e in told["events"]] == [name]
        sent[told["id"]] = (key, str(10**30 + number).encode())
    await until(lambda: len(receiver.got) == len(MESSAGING))
    got = {g.headers["webhook-id"]: g.body for g in receiver.got}
    assert got.keys() == sent.keys()
    for ident, (key, digits) in sent.items():
        assert json.loads(got[ident])["event"] == key
        assert digits in got[ident]
        assert b'"x":10.50' in got[ident]


@pytest.mark.parametrize("data", [None, [], [{"id": CHAT}], "text", 7])
async def test_data_need_not_be_an_object(line: Program, receiver: Receiver, data: Any) -> None:
    await accepted(line, envelope("logout.instance", data))
    await until(lambda: bool(receiver.got))
    assert bodies(receiver)[0]["data"] == data


async def test_a_duplicate_is_the_same_event_message_and_status(line: Program) -> None:
    message = {"key": {"id": "D1", "remoteJid": CHAT}, "status": "PENDING"}
    first = await accepted(line, envelope("messages.upsert", message))

    again = await accepted(line, envelope("MESSAGES_UPSERT", message | {"pushName": "other"}))
    assert (again["id"], again["duplicate"]) == (first["id"], True)
    for other in (
        envelope("messages.upsert", message | {"status": "READ"}),
        envelope("messages.update", message),
        envelope("messages.upsert", message | {"key": {"id": "D2", "remoteJid": CHAT}}),
    ):
        told = await accepted(line, other)
        assert (told["id"] != first["id"], told["duplicate"]) == (True, False)
    through_channel = await accepted(line, channel("D9"))
    assert (await accepted(line, channel("D9")))["id"] == through_channel["id"]


async def test_without_a_message_id_nothing_is_a_duplicate(line: Program) -> None:
    same = [envelope("connection.update", {"state": "open"}), channel(None)] * 5
    told = await asyncio.gather(*(accepted(line, body) for body in same))
    assert len({answer["id"] for answer in told}) == 10
    assert not any(answer["duplicate"] for answer in told)


async def test_instances_do_not_share_duplicates(line: Program) -> None:
    await line.call("POST", "/instances", {"name": "linha-2"})
    first = await accepted(line, channel("S1"))
    second = await accepted(line, channel("S1"), "/linha-2")
    assert first["id"] != second["id"]
    assert not second["duplicate"]


async def test_the_body_finds_the_instance(line: Program) -> None:
    by_number = await accepted(line, channel("N1"), "")
    event = await line.data("GET", f"/processing/events/{by_number['id']}")
    assert event["instance"] == "linha-1"
    as_integer = await accepted(line, channel("N2", numberId=int(NUMBER)), "/")
    assert not as_integer["duplicate"]
    by_name = await accepted(line, envelope("messages.upsert", {"key": {"id": "N3"}}), "")
    event = await line.data("GET", f"/processing/events/{by_name['id']}")
    assert event["instance"] == "linha-1"


async def test_a_sender_by_event_adds_to_the_path(line: Program) -> None:
    body = envelope("messages.upsert", {"key": {"id": "P1"}})
    await accepted(line, body, "/linha-1/messages-upsert")


async def test_the_key_may_be_in_the_query(line: Program) -> None:
    path = f"/webhook/evolution/linha-1?apikey={KEY}"
    answer = await line.call("POST", path, channel("Q1"), key=None)
    assert answer.status == 200
    kept = await line.call("GET", f"/processing/webhooks/{answer.json['inbound_id']}")
    assert KEY.encode() not in kept.body


async def test_credentials_are_not_kept(line: Program, receiver: Receiver) -> None:
    body = json.dumps(envelope("connection.update", {"state": "open"}))
    told = await accepted(line, body.encode())  # with the key in a header of its own
    kept = await line.call("GET", f"/processing/webhooks/{told['inbound_id']}")
    assert kept.status == 200
    files = [path.read_bytes() for path in (line.folder / "data").glob("comporta.db*")]
    for secret in (KEY, "instance-token-of-upstream"):
        assert not [shown for shown in (kept.body, *files) if secret.encode() in shown]
    await until(lambda: bool(receiver.got))
    assert bodies(receiver)[0]["apikey"] is None


BAD: list[tuple[Any, str]] = [
    (b"{", "JSON"),
    ([1], "send"),
    ({}, "event is missing"),
    ({"event": ""}, "event is missing"),
    ({"event": 5.5}, "event"),
    (envelope("no.such-event", {}), "no.such-event"),
    (envelope("order.paid", {}), "order.paid"),
    (channel(message={}), "message is missing"),
    (channel(message="text"), "message is missing"),
    (channel(key={"id": "X"}), "key.remoteJid is missing"),
    (channel(key=None), "key.remoteJid is missing"),
]


async def test_a_bad_body_is_told_as_upstream_tells_it(embedded: Program) -> None:
    await embedded.start()
    await embedded.call("POST", "/instances", {"name": "linha-1"})
    for body, words in BAD:
        answer = await post(embedded, body)
        assert answer.status == 400, (body, answer.body)
        told = answer.json
        assert (told["status"], told["error"]) == (400, "Bad request")
        assert words in told["response"]["message"][0][0], (body, told)
    assert await embedded.data("GET", "/processing/webhooks") == []


async def test_what_is_refused(embedded: Program) -> None:
    await embedded.start()
    await embedded.call("POST", "/instances", {"name": "linha-1"})
    assert (await post(embedded, channel(), "/nobody")).status == 404
    assert (await post(embedded, channel(), "")).status == 404
    assert (await post(embedded, {"message": {"a": 1}}, "")).status == 400
    wrong = await embedded.call("POST", "/webhook/evolution/linha-1", channel(), key="cmp_wrong")
    assert wrong.status == 401
    missing = await embedded.call("POST", "/webhook/evolution/nobody", channel(), key=None)
    assert missing.status == 401
    reader = await embedded.data(
        "POST", "/api-keys", {"name": "reader", "permissions": ["EVENTS_READ"]}
    )
    path = "/webhook/evolution/linha-1"
    assert (await embedded.call("POST", path, channel(), key=reader["key"])).status == 403
    for permission in ("EVENTS_WRITE", "INSTALLATIONS_MANAGE"):
        made = await embedded.data(
            "POST", "/api-keys", {"name": permission, "permissions": [permission]}
        )
        answer = await embedded.call("POST", path, channel(permission), key=made["key"])
        assert answer.status == 200


async def test_an_installation_takes_the_same_by_its_url(line: Program, receiver: Receiver) -> None:
    installed = await line.install("evolution", "linha-1", "key-of-upstream")
    body = json.dumps(envelope("messages.upsert", {"key": {"id": "H1"}}, apikey="key-of-upstream"))
    headers = {"Content-Type": "application/json"}
    answer = await line.post(installed["ingest_url"], body.encode(), headers)
    assert answer.status == 200, answer.body
    await until(lambda: bool(receiver.got))
    assert bodies(receiver)[0]["installation_id"] == installed["id"]
    forged = body.replace("key-of-upstream", "another")
    refused = await line.post(installed["ingest_url"], forged.encode(), headers)
    assert refused.status == 401
