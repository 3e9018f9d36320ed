"""Set bodies, from every client we know and from those who mean harm."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.sink_body import Identity, Merged, merge_body, rotate_secret
from gateway.api.sink_row import row
from gateway.api.sink_rules import Rules
from gateway.security import mask
from schemas.errors import BadRequestError, ConflictError
from schemas.events import COMMERCE_NAMES, MESSAGING, SEED_KEYS
from schemas.sink_config import KINDS, Kind, SinkConfig, WebhookConfig
from schemas.target import AllowList
from sinks.signing import new_secret
from tests.gateway.sink_bodies import CLIENTS, SEED_WEBHOOK, TWO, URL

SECRET = new_secret(b"generated" * 4)
WIDE: Mapping[str, Mapping[str, Any]] = {
    kind: {"url": "set"} for kind in ("rabbitmq", "sqs", "nats", "pusher")
}
RULES = Rules(new_secret=lambda: SECRET, server_wide=WIDE, public_url="https://gate.example")
ME = Identity(id="01hm6sink", tenant="default", instance="loja-1")


def merge(
    kind: str, body: Any, stored: SinkConfig | None = None, rules: Rules = RULES, now: int = 5
) -> Merged:
    return merge_body(cast("Kind", kind), body, stored, identity=ME, now=now, rules=rules)


def stored(kind: str, body: Any) -> SinkConfig:
    return merge(kind, body).config


def webhook(**body: Any) -> WebhookConfig:
    config = stored("webhook", {"url": URL} | body)
    assert isinstance(config, WebhookConfig)
    return config


def refusal(kind: str, body: Any, before: SinkConfig | None = None) -> BadRequestError:
    with pytest.raises(BadRequestError) as refused:
        merge(kind, body, before)
    assert refused.value.status == 400
    assert refused.value.details
    return refused.value


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_understood(client: str) -> None:
    kind, body, expected, warnings = CLIENTS[client]
    merged = merge(kind, body)
    fields = merged.config.model_dump()
    assert {name: fields[name] for name in expected} == expected
    assert len(merged.warnings) == len(warnings), merged.warnings
    for word, warning in zip(warnings, merged.warnings, strict=True):
        assert word in warning


@pytest.mark.parametrize("client", CLIENTS)
def test_what_find_answers_can_be_posted_back(client: str) -> None:
    """v1's page posts the whole row flat; v2 clients spread it under the sink's name."""
    kind, body, _, _ = CLIENTS[client]
    first = merge(kind, body).config
    for again in (row(first), {kind: row(first)}):
        merged = merge(kind, again, first)
        assert merged.config == first
        assert [w for w in merged.warnings if "by_events" not in w and "ByEvents" not in w] == []


def test_an_edited_row_is_taken_from_its_edited_fields() -> None:
    before = webhook(webhook_by_events=False, events=TWO)
    edited = row(before) | {"webhook_by_events": True, "url": "https://new.example/"}
    config = merge("webhook", edited, before).config
    assert isinstance(config, WebhookConfig)
    assert config.webhook_by_events
    assert config.url == "https://new.example/"


def test_omitted_fields_keep_their_value() -> None:
    before = webhook(
        events=TWO,
        webhook_by_events=True,
        headers={"X-A": "1"},
        gzip=True,
        retry=[1, 2],
        template="data",
        timeout=3,
    )
    merged = merge("webhook", {"gzip": False}, before, now=9)
    expected = before.model_copy(update={"gzip": False, "updated_at": 9})
    assert merged.config == expected
    assert merged.config.created_at == 5
    assert merged.created_secret is None


@pytest.mark.parametrize(
    "body",
    [
        {"enabled": False},
        {"webhook": {"enabled": "false", "url": ""}},
        {"enabled": False, "url": "", "events": []},
    ],
)
def test_disabling_needs_nothing_and_keeps_everything(body: dict[str, Any]) -> None:
    before = webhook(events=TWO)
    assert merge("webhook", body, before).config == before.model_copy(update={"enabled": False})


def test_enabling_again_clears_why_it_was_off() -> None:
    before = webhook().model_copy(update={"enabled": False, "disabled_reason": "HTTP 410: gone"})
    config = merge("webhook", {"url": URL}, before).config
    assert config.enabled
    assert config.disabled_reason is None


def test_naming_is_fixed_when_the_sink_is_made() -> None:
    before = webhook()
    assert merge("webhook", {"webhook": {"url": URL}}, before).config.naming == "canonical"
    nested = stored("webhook", {"webhook": {"url": URL}})
    assert nested.naming == "evolution"
    assert merge("webhook", {"url": URL}, nested).config.naming == "evolution"
    assert merge("webhook", {"naming": "Canonical"}, nested).config.naming == "canonical"
    assert stored("webhook", {"webhook": {"url": URL, "naming": "canonical"}}).naming == "canonical"


@pytest.mark.parametrize(
    ("events", "keys"),
    [
        (["order.paid"], ("ORDER_PAID",)),
        (["ORDER_PAID", "Order-Paid", " order_paid "], ("ORDER_PAID",)),
        (["return.*"], tuple(k for k in map(str.upper, COMMERCE_NAMES) if k.startswith("RETURN."))),
        (["messages.*"], tuple(k for k in MESSAGING if k.startswith("MESSAGES_"))),
        (["GROUPS_UPDATE", "GROUP_UPDATE"], ("GROUP_UPDATE",)),
        (["NEW_JWT_TOKEN", "CHAMA_AI_ACTION", "MESSAGING_HISTORY_SET"],
         ("NEW_JWT_TOKEN", "CHAMA_AI_ACTION", "MESSAGING_HISTORY_SET")),
        (list(SEED_KEYS), SEED_KEYS),
        ([], ()),
        (["*"], ()),
        (["order.paid", "all"], ()),
    ],
)  # fmt: skip  # a table
def test_event_names_in_any_spelling(events: list[str], keys: tuple[str, ...]) -> None:
    assert webhook(events=events).events == tuple(key.replace(".", "_") for key in keys)


def test_an_empty_list_later_means_all() -> None:
    assert merge("webhook", {"events": []}, webhook(events=TWO)).config.events == ()
    assert merge("webhook", {"events": None}, webhook(events=TWO)).config.events == tuple(TWO)


def test_unknown_events_are_dropped_unless_none_remains() -> None:
    merged = merge("webhook", {"url": URL, "events": ["NOPE", "order.paid"]})
    assert merged.config.events == ("ORDER_PAID",)
    assert merged.warnings == ('unknown event "NOPE" is ignored',)
    refused = refusal("webhook", {"webhook": {"url": URL, "events": ["NOPE", "WORSE"]}})
    assert [detail.path for detail in refused.details] == ["webhook.events.0", "webhook.events.1"]
    assert "NOPE" in refused.message


def test_a_secret_is_made_once() -> None:
    merged = merge("webhook", {"url": URL})
    assert merged.created_secret == SECRET
    again = merge("webhook", {"url": URL, "secret": None}, merged.config)
    assert again.created_secret is None
    assert again.config == merged.config
    assert merge("websocket", {}).created_secret is None


def test_a_given_secret_replaces_and_a_masked_one_keeps() -> None:
    mine = new_secret(b"m" * 32)
    before = webhook()
    merged = merge("webhook", {"secret": mine}, before)
    assert isinstance(merged.config, WebhookConfig)
    assert merged.config.secrets == ((mine, None),)
    assert merged.created_secret == mine
    for kept in (mask(SECRET), SECRET, ""):
        again = merge("webhook", {"secret": kept}, before)
        assert again.config == before


@pytest.mark.parametrize("secret", ["short", "whsec_YWJj", "whsec_%%", 5, "********zzzz", True])
def test_a_bad_secret_is_refused(secret: Any) -> None:
    assert refusal("webhook", {"url": URL, "secret": secret}).details[0].path == "secret"


def test_a_rotated_secret_signs_beside_the_old() -> None:
    before, newer = webhook(), new_secret(b"r" * 32)
    rotated = rotate_secret(before, newer, now=100, overlap=3600)
    assert rotated.secrets == ((newer, None), (SECRET, 100 + 3_600_000_000))
    assert rotate_secret(before, newer, now=100, overlap=0).secrets == ((newer, None),)
    for number in range(10):
        rotated = rotate_secret(rotated, new_secret(bytes([number]) * 32), now=100, overlap=60)
    assert len(rotated.secrets) == 5
    assert all(end == 60_000_100 for _, end in rotated.secrets[1:])
    late = rotate_secret(rotated, newer, now=70_000_000, overlap=60)
    assert len(late.secrets) == 2


def test_masked_headers_come_back_as_they_were() -> None:
    headers = {"Authorization": "Bearer a-long-enough-secret", "jwt_key": "k", "X-Shop": "loja"}
    before = webhook(headers=headers, query={"token": "t0ken-of-sixteen", "lang": "pt"})
    shown = row(before)
    assert "a-long-enough" not in str(shown)
    assert "t0ken-of" not in str(shown)
    body = {"headers": shown["headers"] | {"X-Shop": "loja-2"}, "query": shown["query"]}
    config = merge("webhook", body, before).config
    assert isinstance(config, WebhookConfig)
    assert config.headers == headers | {"X-Shop": "loja-2"}
    assert config.query == before.query
    lower = {key.lower(): text for key, text in shown["headers"].items()}
    again = merge("webhook", {"headers": lower}, before).config
    assert isinstance(again, WebhookConfig)
    assert again.headers["authorization"] == headers["Authorization"]
    refused = refusal("webhook", {"url": URL, "headers": {"Authorization": "********"}})
    assert refused.details[0].path == "headers.Authorization"
    cleared = merge("webhook", {"headers": None}, before).config
    assert isinstance(cleared, WebhookConfig)
    assert cleared.headers == {}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("pusher", {"app_id": "1", "key": "k", "secret": "a-secret-of-pusher", "cluster": "sa1"}),
        ("rabbitmq", {"uri": "amqps://user:hunter2@mq.example:5671/vhost"}),
        ("nats", {"url": "nats://hunter2@n1.example:4222,nats://u:hunter3@n2.example"}),
        ("nats", {"url": "nats://n.example", "password": "hunter2", "creds": "-----BEGIN\nx\n"}),
        ("sqs", {"region": "sa-east-1", "access_key_id": "AK", "secret_access_key": "hunter2"}),
    ],
)
def test_broker_secrets_are_masked_and_come_back(kind: str, body: dict[str, Any]) -> None:
    before = stored(kind, body)
    shown = row(before)
    assert "hunter" not in str(shown)
    assert "a-secret-of" not in str(shown)
    assert merge(kind, {kind: shown}, before).config == before
    name = next(n for n in ("secret", "uri", "url", "secret_access_key") if n in body)
    masked = shown[name].replace("example", "evil.example") + "x"
    if "********" in masked:
        assert refusal(kind, {name: masked}, before).details[0].path == name


def test_null_takes_an_option_back() -> None:
    before = webhook(retry=[1], filter="data.order", rate_limit=5, template="data", timeout=9)
    body = dict.fromkeys(("retry", "filter", "rate_limit", "template", "timeout"))
    config = merge("webhook", body, before).config
    assert isinstance(config, WebhookConfig)
    assert config == webhook()
    kept = merge("webhook", dict.fromkeys(("url", "enabled", "events", "gzip", "naming")), before)
    assert kept.config == before
    own = stored("sqs", {"region": "sa-east-1", "secret_access_key": "s"})
    assert merge("sqs", {"secret_access_key": None, "region": ""}, own).config == stored("sqs", {})


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
    alone = Rules(new_secret=lambda: SECRET, server_wide={kind: {"url": ""}})
    with pytest.raises(ConflictError) as conflict:
        merge(kind, {"enabled": True}, rules=alone)
    assert conflict.value.code == "SINK_NOT_CONFIGURED"
    assert [name for name in names if name not in conflict.value.message] == []
    assert merge(kind, own, rules=alone).config.enabled
    assert not merge(kind, {"enabled": False}, rules=alone).config.enabled


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
