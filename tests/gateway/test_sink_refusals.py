"""Set bodies that are refused, and how that is told."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.sink_body import merge_body
from gateway.api.sink_row import row
from gateway.api.sink_rules import Rules
from schemas.errors import BadRequestError, ConflictError
from schemas.sink_config import KINDS, Kind
from schemas.target import AllowList
from tests.gateway.sink_bodies import (
    ME,
    RULES,
    SECRET,
    SEED_WEBHOOK,
    URL,
    merge,
    refusal,
    stored,
    webhook,
)


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example", "ftp://hooks.example", "hooks.example", "https://10.0.0.1/", "",
     "https://localhost", "https://u:p@hooks.example", "https://hooks.example:22", "https://a b",
     "https://2130706433/", "https://gate.example/hooks/x", "https://a/".ljust(3000, "a"), 5, [],
     "https://hooks.example/\r\nX: y", "https://[::1]/", "https://169.254.169.254/"],
)  # fmt: skip  # a table
@pytest.mark.parametrize("nested", [False, True])
def test_a_bad_url_is_refused(url: Any, nested: bool) -> None:
    body: dict[str, Any] = {"url": url, "enabled": True}
    refused = refusal("webhook", {"webhook": body} if nested else body)
    assert refused.details[0].path == ("webhook.url" if nested else "url")
    if "10.0.0.1" in str(url):
        assert refused.code == "ssrf_blocked"


def test_a_dangerous_url_is_refused_even_while_disabled() -> None:
    refusal("webhook", {"url": "http://169.254.169.254/", "enabled": False})
    assert stored("webhook", {"enabled": False}).enabled is False


@pytest.mark.parametrize(
    "headers",
    [{"Host": "x"}, {"content-length": "1"}, {"Transfer-Encoding": "chunked"}, {"Connection": "x"},
     {"webhook-signature": "v1,x"}, {"Webhook-Id": "x"}, {"traceparent": "x"}, {"ce-id": "x"},
     {"X-A": "a\r\nb"}, {"X-A": "a\nb"}, {"X-A": "a\0b"}, {"X\r\nA": "b"}, {"": "b"}, {"X A": "b"},
     {"X-Ä": "b"}, {"X-A": ["b"]}, {"X-A": {"b": 1}}, {"X-A": "1", "x-a": "2"}, {"X-A": "\ud800"},
     {f"X-{i}": "1" for i in range(65)}, {"X-A": "b" * 20_000}, ["X-A"], "X-A: b", 5,
     {"X-Attempt": "1"}],
)  # fmt: skip  # a table
def test_a_bad_header_is_refused(headers: Any) -> None:
    refused = refusal("webhook", {"url": URL, "headers": headers})
    assert refused.details[0].path.startswith("headers")


def test_numbers_and_switches_may_be_header_values() -> None:
    assert webhook(headers={"X-A": 5, "X-B": True, "X-C": None}).headers == {
        "X-A": "5",
        "X-B": "true",
    }
    assert webhook(headers={"content-type": "text/plain"}).headers == {"content-type": "text/plain"}


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        ("webhook", {"enabled": "yes"}, "enabled"),
        ("webhook", {"enabled": 1}, "enabled"),
        ("webhook", {"gzip": "1"}, "gzip"),
        ("webhook", {"webhook_base64": []}, "webhook_base64"),
        ("webhook", {"events": "MESSAGES_UPSERT"}, "events"),
        ("webhook", {"events": [5]}, "events"),
        ("webhook", {"events": {"a": 1}}, "events"),
        ("webhook", {"events": ["order.paid"] * 501}, "events"),
        ("webhook", {"naming": "mine"}, "naming"),
        ("webhook", {"method": "GET"}, "method"),
        ("webhook", {"timeout": 0}, "timeout"),
        ("webhook", {"timeout": 1e9}, "timeout"),
        ("webhook", {"timeout": True}, "timeout"),
        ("webhook", {"timeout": float("nan")}, "timeout"),
        ("webhook", {"retry": [-1]}, "retry.0"),
        ("webhook", {"retry": 5}, "retry"),
        ("webhook", {"retry": [1] * 51}, "retry"),
        ("webhook", {"concurrency": 0}, "concurrency"),
        ("webhook", {"rate_limit": -1}, "rate_limit"),
        ("webhook", {"filter": "a["}, "filter"),
        ("webhook", {"filter": 5}, "filter"),
        ("webhook", {"filter": "a" * 5000}, "filter"),
        ("webhook", {"template": "{a: }"}, "template"),
        ("webhook", {"template": "'\0'"}, "template"),
        ("webhook", {"query": {"a": []}}, "query.a"),
        ("webhook", {"query": {"a": "\ud800"}}, "query"),
        ("pusher", {"cluster": "x.evil.com/#"}, "cluster"),
        ("pusher", {"cluster": "sa1\n"}, "cluster"),
        ("pusher", {"app_id": "1"}, "key"),
        ("pusher", {"key": "k", "app_id": "1", "secret": "s"}, "cluster"),
        ("pusher", {"host": "10.0.0.1:6001"}, "host"),
        ("pusher", {"host": "localhost"}, "host"),
        ("pusher", {"host": "a/b@c"}, "host"),
        ("pusher", {"channel": "a b"}, "channel"),
        ("pusher", {"channel": "private-encrypted-a"}, "channel"),
        ("pusher", {"channel": "private-encrypted-a", "enabled": False}, "channel"),
        ("nats", {"subject_prefix": "a.*"}, "subject_prefix"),
        ("nats", {"subject_prefix": "a >"}, "subject_prefix"),
        ("nats", {"stream": "a b"}, "stream"),
        ("nats", {"url": "nats://10.0.0.1"}, "url"),
        ("nats", {"url": "nats://n.example,nats://127.0.0.1"}, "url"),
        ("nats", {"url": "http://n.example"}, "url"),
        ("nats", {"password": "a\0b"}, "password"),
        ("rabbitmq", {"uri": "amqp://127.0.0.1"}, "uri"),
        ("rabbitmq", {"uri": "amqp://u:p@mq.example:25"}, "uri"),
        ("rabbitmq", {"uri": "mq.example"}, "uri"),
        ("rabbitmq", {"exchange": "amq.x"}, "exchange"),
        ("rabbitmq", {"exchange": "a" * 256}, "exchange"),
        ("rabbitmq", {"exchange_type": "x"}, "exchange_type"),
        ("rabbitmq", {"max_length": 0}, "max_length"),
        ("sqs", {"queue_name": "a" * 81}, "queue_name"),
        ("sqs", {"queue_name": "a b"}, "queue_name"),
        ("sqs", {"queue_url": "http://169.254.169.254/q"}, "queue_url"),
        ("sqs", {"endpoint_url": "https://localhost:4566"}, "endpoint_url"),
        ("sqs", {"region": "../x"}, "region"),
        ("websocket", {"max_connections": 0}, "max_connections"),
    ],
)
def test_a_bad_value_is_refused_where_it_stands(kind: str, body: dict[str, Any], path: str) -> None:
    base = {"url": URL} if kind == "webhook" else {}
    for shape, prefix in ((base | body, ""), ({kind: base | body}, f"{kind}.")):
        refused = refusal(kind, shape)
        assert refused.details[0].path == prefix + path
        assert refused.details[0].message.startswith(prefix + path)


def test_every_fault_is_told_at_once() -> None:
    body = {"events": ["NOPE"], "enabled": "yes", "headers": {"Host": "x"}, "filter": "["}
    paths = {detail.path for detail in refusal("webhook", {"url": URL} | body).details}
    assert paths == {"events.0", "enabled", "headers.Host", "filter"}


@pytest.mark.parametrize("body", [None, [], "x", 5, True, [{}]])
@pytest.mark.parametrize("kind", KINDS)
def test_a_body_is_an_object(kind: str, body: Any) -> None:
    assert "object" in refusal(kind, body).message


@pytest.mark.parametrize(
    ("kind", "own", "names"),
    [
        ("rabbitmq", {"uri": "amqp://mq.example"}, ["uri", "RABBITMQ_URI"]),
        ("nats", {"url": "nats://n.example"}, ["url", "NATS_URL"]),
        ("sqs", {"region": "sa-east-1"}, ["region", "SQS_REGION"]),
        (
            "pusher",
            {"app_id": "1", "key": "k", "secret": "s", "cluster": "sa1"},
            ["app_id", "PUSHER_GLOBAL_APP_ID"],
        ),
    ],
)
def test_a_broker_is_needed_somewhere(kind: str, own: dict[str, Any], names: list[str]) -> None:
    alone = Rules(new_secret=lambda: SECRET, server_wide={kind: {"host": "x", "uri": ""}})
    with pytest.raises(ConflictError) as conflict:
        merge(kind, {"enabled": True}, rules=alone)
    assert conflict.value.code == "SINK_NOT_CONFIGURED"
    assert [name for name in names if name not in conflict.value.message] == []
    assert merge(kind, own, rules=alone).config.enabled
    assert not merge(kind, {"enabled": False}, rules=alone).config.enabled


def test_an_instance_that_sounds_encrypted_needs_a_channel_of_another_name() -> None:
    def merged(**body: Any) -> Any:
        identity = replace(ME, instance="private-encrypted-1")
        return merge_body("pusher", body, None, identity=identity, now=5, rules=RULES).config

    with pytest.raises(BadRequestError) as refused:
        merged()
    assert "private-encrypted-" in refused.value.message
    assert merged(enabled=False).wire_channel == "private-encrypted-1"
    assert merged(channel="private-orders").wire_channel == "private-orders"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("rabbitmq", {"uri": "amqp://10.0.0.1"}),
        ("pusher", {"app_id": "1", "key": "k", "secret": "s", "host": "10.0.0.1:6001"}),
        ("webhook", {"url": "http://mq:8080/x"}),
    ],
)
def test_private_places_can_be_allowed(kind: str, body: dict[str, Any]) -> None:
    refusal(kind, body)
    allow = AllowList.parse(["10.0.0.0/8", "mq"])
    assert merge(kind, body, rules=Rules(new_secret=lambda: SECRET, allow=allow)).config.enabled


def test_unknown_fields_are_warned_about_and_long_ones_shortened() -> None:
    merged = merge("webhook", {"url": URL, "colour": 1, "x" * 500: 1})
    assert merged.warnings[0] == "unknown field colour is ignored"
    assert len(merged.warnings[1]) < 100


def test_the_seed_body_alone_warns_of_nothing() -> None:
    assert merge("webhook", SEED_WEBHOOK).warnings == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(
    "url enabled events headers query secret retry naming filter method uri host cluster app_id"
    " webhook rabbitmq nats webhookByEvents timeout instanceName useTLS".split()
)


@given(st.sampled_from(KINDS), st.dictionaries(NAMES | st.text(), JSON, max_size=6), st.booleans())
def test_any_body_is_stored_or_refused(kind: Kind, body: dict[str, Any], nested: bool) -> None:
    try:
        merged = merge(kind, {kind: body} if nested else body)
    except BadRequestError as error:
        details: Any = error.details
    else:
        details = row(merged.config, warnings=merged.warnings)
    assert details
