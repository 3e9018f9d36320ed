"""What a receiver gets, byte for byte where it matters."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis.strategies import datetimes, just

from schemas.envelope import claim, envelope, frame, path_suffix, trace_parent, wire_name
from schemas.events import COMMERCE_NAMES, MESSAGING
from tests.sinks.given import an_event

SERVER = "https://gate.example"


def body(event: Any, **options: Any) -> dict[str, Any]:
    options = {"naming": "canonical", "server_url": SERVER} | options
    parsed: dict[str, Any] = json.loads(envelope(event, **options))
    return parsed


def test_a_webhook_gets_every_field_of_the_contract() -> None:
    assert body(an_event(7), destination="https://a.example/hook?x=1") == {
        "event": "order.paid",
        "instance": "loja-1",
        "data": {"order": {"id": "7", "total": 12345}},
        "destination": "https://a.example/hook?x=1",
        "date_time": "2024-01-15T10:45:00.123Z",
        "sender": "Comporta",
        "server_url": SERVER,
        "apikey": None,
        "id": "01hm6z00000000000000000007",
        "seq": 7,
        "driver": "shopify",
        "installation_id": "01hm6y00000000000000000000",
        "occurred_at": "2024-01-15T10:44:59.000000Z",
        "version": 1,
        "test": False,
    }


@pytest.mark.parametrize("strange", ['"', "\\", "\x00\n\u2028", "ç%b%d", "😀", ""])
def test_a_text_that_json_escapes_stays_a_text(strange: str) -> None:
    event = an_event(
        1, instance=strange, id=strange, driver=strange, installation_id=strange, name=strange
    )
    raw = envelope(
        event, naming="evolution", server_url=strange, apikey=strange, destination=strange
    )
    found = json.loads(raw)
    names = ("event", "instance", "destination", "server_url", "apikey", "id", "driver")
    assert {name: found[name] for name in names} == dict.fromkeys(names, strange)
    assert found["installation_id"] == strange
    assert raw == orjson.dumps(orjson.loads(raw))  # as compact, and escaped as sparingly
    assert body(an_event(installation_id=None))["installation_id"] is None


@given(datetimes(timezones=just(UTC)))
def test_times_are_as_isoformat_writes_them(moment: datetime) -> None:
    found = body(an_event(received_at=moment, occurred_at=moment))
    assert found["date_time"] == moment.isoformat(timespec="milliseconds")[:-6] + "Z"
    assert found["occurred_at"] == moment.isoformat(timespec="microseconds")[:-6] + "Z"


def test_the_rest_is_there_when_asked_for() -> None:
    assert "destination" not in body(an_event())
    assert "gap" not in body(an_event())
    assert body(an_event(), gap=True)["gap"] is True
    assert body(an_event(), apikey="cmp_1")["apikey"] == "cmp_1"
    assert body(an_event(test=True))["test"] is True
    assert body(an_event(), data=claim("https://c", 9))["data"] == {
        "claim_url": "https://c",
        "bytes": 9,
    }


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b'{"id":' + b"9" * 30 + b',"a":10.00}',
        b'{"s":"\\ud800","n":"\\u0000"}',
        '"ç\u2028"'.encode(),
    ],
)
def test_data_goes_through_untouched(data: bytes) -> None:
    event = an_event(data=data)
    assert b'"data":' + data + b"," in envelope(event, naming="canonical", server_url=SERVER)
    assert b'"data":' + data + b"," in frame(event, naming="canonical")


def test_a_websocket_message_is_the_seeds_with_ours_on_top() -> None:
    event = an_event(3, name="connection.update", data=b'{"state":"open"}')
    assert json.loads(frame(event, naming="canonical")) == {
        "event": "CONNECTION_UPDATE",
        "instance": "loja-1",
        "data": {"state": "open"},
        "id": event.id,
        "seq": 3,
        "occurred_at": "2024-01-15T10:44:59.000000Z",
    }


@pytest.mark.parametrize(
    ("name", "canonical", "evolution", "seed_path", "upstream_path"),
    [
        ("messages.upsert", "MESSAGES_UPSERT", "messages.upsert",
         "messages_upsert", "messages-upsert"),
        ("group-participants.update", "GROUP_PARTICIPANTS_UPDATE", "group-participants.update",
         "group_participants_update", "group-participants-update"),
        ("send.message.update", "SEND_MESSAGE_UPDATE", "send.message.update",
         "send_message_update", "send-message-update"),
        ("typebot.change-status", "TYPEBOT_CHANGE_STATUS", "typebot.change-status",
         "typebot_change_status", "typebot-change-status"),
        ("groups.update", "GROUP_UPDATE", "groups.update", "group_update", "groups-update"),
        ("call", "CALL", "call", "call", "call"),
        ("order.partially_refunded", "order.partially_refunded", "order.partially_refunded",
         "order_partially_refunded", "order-partially-refunded"),
        ("provider.event", "provider.event", "provider.event", "provider_event", "provider-event"),
    ],
)  # fmt: skip  # a table
def test_names(
    name: str, canonical: str, evolution: str, seed_path: str, upstream_path: str
) -> None:
    assert wire_name(name, "canonical") == canonical
    assert wire_name(name, "evolution") == evolution
    assert path_suffix(name, "canonical") == seed_path
    assert path_suffix(name, "evolution") == upstream_path


def test_every_name_has_one_path_of_its_own() -> None:
    names = (*COMMERCE_NAMES, *MESSAGING.values())
    for naming in ("canonical", "evolution"):
        paths = {path_suffix(name, naming) for name in names}
        assert len(paths) == len(names)
        assert not [path for path in paths if "/" in path or "." in path]


@pytest.mark.parametrize(
    ("data", "sender"),
    [
        (b'{"sender":"5511999999999@s.whatsapp.net"}', "5511999999999@s.whatsapp.net"),
        (b'{"key":{"sender":"x"}}', "Evolution API"),
        (b'{"sender":5}', "Evolution API"),
        (b'{"sender":""}', "Evolution API"),
        (b'{"sender":"\\ud800"}', "Evolution API"),
        (b'[{"sender":"x"}]', "Evolution API"),
        (b"{}", "Evolution API"),
    ],
)
def test_a_messaging_event_speaks_for_its_account(data: bytes, sender: str) -> None:
    assert body(an_event(name="messages.upsert", data=data))["sender"] == sender
    assert body(an_event(data=data))["sender"] == "Comporta"


def test_times_are_utc_with_fixed_digits() -> None:
    whole = datetime(2024, 1, 1, 12, tzinfo=UTC)
    found = body(an_event(received_at=whole, occurred_at=whole))
    assert found["date_time"] == "2024-01-01T12:00:00.000Z"
    assert found["occurred_at"] == "2024-01-01T12:00:00.000000Z"


def test_a_trace_belongs_to_the_event_and_a_span_to_the_attempt() -> None:
    first, second = trace_parent("e1", "d1/1").split("-"), trace_parent("e1", "d1/2").split("-")
    assert [len(part) for part in first] == [2, 32, 16, 2]
    assert first[1] == second[1]
    assert first[2] != second[2]
