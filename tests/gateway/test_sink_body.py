"""Set bodies of every client we know, and what is stored of them."""

from typing import Any

import pytest

from gateway.api.sink_body import rotate_secret
from gateway.api.sink_row import row
from gateway.security import mask
from schemas.events import COMMERCE_NAMES, MESSAGING, SEED_KEYS
from schemas.sink_config import WebhookConfig
from sinks.signing import new_secret
from tests.gateway.sink_bodies import (
    CLIENTS,
    SECRET,
    TWO,
    URL,
    merge,
    refusal,
    stored,
    webhook,
)


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
