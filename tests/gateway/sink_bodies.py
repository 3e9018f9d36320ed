"""What clients in the wild post to the set endpoints, as their sources write it."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from gateway.api.sink_body import Identity, Merged, merge_body
from gateway.api.sink_rules import Rules
from schemas.errors import BadRequestError
from schemas.sink_config import Kind, SinkConfig, WebhookConfig
from sinks.signing import new_secret

URL = "https://hooks.example/in"
SEED_EVENTS = """
APPLICATION_STARTUP QRCODE_UPDATED CONNECTION_UPDATE MESSAGES_UPSERT MESSAGES_UPDATE MESSAGES_DELETE
SEND_MESSAGE CONTACTS_SET CONTACTS_UPSERT CONTACTS_UPDATE PRESENCE_UPDATE CHATS_SET CHATS_UPSERT
CHATS_UPDATE CHATS_DELETE GROUPS_UPSERT GROUP_UPDATE GROUP_PARTICIPANTS_UPDATE NEW_JWT_TOKEN
TYPEBOT_START TYPEBOT_CHANGE_STATUS
""".split()
TWO = ["MESSAGES_UPSERT", "CONNECTION_UPDATE"]

SEED_WEBHOOK: dict[str, Any] = {
    "url": URL,
    "enabled": True,
    "events": SEED_EVENTS,
    "webhook_by_events": False,
    "webhook_base64": False,
}
SEED_OTHER: dict[str, Any] = {
    "enabled": True,
    "events": [
        "APPLICATION_STARTUP",
        "QRCODE_UPDATED",
        "CONNECTION_UPDATE",
        "MESSAGES_UPSERT",
        "MESSAGES_UPDATE",
        "SEND_MESSAGE",
    ],
}

# client: kind, body, the fields that must be stored, a word of each warning
CLIENTS: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    "seed": (
        "webhook",
        SEED_WEBHOOK,
        {"url": URL, "enabled": True, "events": tuple(SEED_EVENTS), "naming": "canonical"},
        [],
    ),
    "manager-v2": (
        "webhook",
        {"webhook": {"enabled": True, "url": URL, "events": TWO, "base64": True, "byEvents": True}},
        {
            "url": URL,
            "events": tuple(TWO),
            "webhook_base64": True,
            "webhook_by_events": True,
            "naming": "evolution",
        },
        [],
    ),
    "manager-v2 rabbitmq": (
        "rabbitmq",
        {"rabbitmq": {"enabled": True, "events": TWO}},
        {"events": tuple(TWO), "naming": "evolution"},
        [],
    ),
    "manager-v1": (
        "webhook",
        {
            "enabled": True,
            "events": TWO,
            "url": URL,
            "webhook_base64": True,
            "webhook_by_events": True,
            "webhookByEvents": False,
            "webhookBase64": False,
            "id": "x",
            "instanceId": "y",
            "createdAt": "z",
            "updatedAt": "z",
            "headers": {},
            "webhook": {
                "instanceName": "loja-1",
                "webhook": {
                    "url": "https://stale.example",
                    "enabled": False,
                    "events": [],
                    "webhook_by_events": False,
                    "webhook_base64": False,
                },
            },
        },
        {"url": URL, "webhook_by_events": True, "webhook_base64": True, "naming": "canonical"},
        [],
    ),
    "n8n": (
        "webhook",
        {
            "webhook": {
                "enabled": True,
                "url": URL,
                "webhookByEvents": True,
                "webhookBase64": True,
                "events": TWO,
            }
        },
        {"webhook_by_events": False, "webhook_base64": True, "naming": "evolution"},
        ["webhookByEvents"],
    ),
    "n8n without a url": (
        "webhook",
        {"webhook": {"enabled": False, "url": "vazio", "events": TWO}},
        {"enabled": False, "url": "", "events": tuple(TWO)},
        ["no URL"],
    ),
    "client-python": (
        "websocket",
        {"enabled": True, "events": ["messages.upsert"]},
        {"enabled": True, "events": ("MESSAGES_UPSERT",), "naming": "canonical"},
        [],
    ),
    "laravel": (
        "webhook",
        {"url": URL, "enabled": True, "webhookBase64": True, "webhookByEvents": True},
        {"events": (), "webhook_by_events": True, "webhook_base64": True},
        [],
    ),
    "laravel, disabling": (
        "webhook",
        {"url": "", "enabled": False},
        {"enabled": False, "url": ""},
        [],
    ),
    "sdk npm": (
        "webhook",
        {
            "enabled": True,
            "url": URL,
            "webhookByEvents": True,
            "webhookBase64": False,
            "events": TWO,
        },
        {"webhook_by_events": True, "webhook_base64": False, "events": tuple(TWO)},
        [],
    ),
    "sdk of an agency": (
        "webhook",
        {
            "url": "https://flat.example",
            "webhook": {
                "url": URL,
                "enabled": True,
                "base64": True,
                "events": TWO,
                "headers": {"X-A": "1"},
            },
        },
        {"url": URL, "webhook_base64": True, "headers": {"X-A": "1"}, "naming": "evolution"},
        [],
    ),
    "sdk python": (
        "webhook",
        {
            "url": URL,
            "events": ["GROUPS_UPDATE", "PRESENCE", "TYPEBOT_SEND_MESSAGE"],
            "webhook_by_events": True,
        },
        {"enabled": True, "events": ("GROUP_UPDATE",), "webhook_by_events": True},
        ["PRESENCE", "TYPEBOT_SEND_MESSAGE"],
    ),
    "sdk python rabbitmq": (
        "rabbitmq",
        {"uri": "amqp://u:p@mq.example/", "queue": "x"},
        {"uri": "amqp://u:p@mq.example/", "enabled": True, "events": ()},
        ["queue"],
    ),
    "odoo": (
        "webhook",
        {
            "webhook": {
                "enabled": True,
                "url": URL,
                "webhookByEvents": True,
                "events": TWO,
                "base64": False,
            }
        },
        {"webhook_by_events": False, "webhook_base64": False},
        ["webhookByEvents"],
    ),
    "recipe, nested snake": (
        "webhook",
        {"webhook": {"url": URL, "webhook_by_events": True, "webhook_base64": True, "events": TWO}},
        {"enabled": True, "webhook_by_events": False, "webhook_base64": True},
        ["webhook_by_events"],
    ),
    "recipe, flat": (
        "webhook",
        {"url": URL, "events": ["messages.upsert", "group-participants.update"]},
        {"enabled": True, "events": ("MESSAGES_UPSERT", "GROUP_PARTICIPANTS_UPDATE")},
        [],
    ),
    "v2 row spread and edited": (
        "webhook",
        {
            "webhook": {
                "id": "x",
                "url": URL,
                "enabled": True,
                "events": TWO,
                "headers": {},
                "webhookByEvents": False,
                "webhook_by_events": False,
                "byEvents": True,
                "base64": True,
                "webhookBase64": False,
                "createdAt": "z",
                "webhook": {"instanceName": "loja-1", "webhook": {"url": "https://stale.example"}},
            }
        },
        {"url": URL, "webhook_by_events": True, "webhook_base64": True},
        [],
    ),
    "v1 answer posted back": (
        "webhook",
        {"webhook": {"instanceName": "loja-1", "webhook": SEED_WEBHOOK}},
        {"url": URL, "events": tuple(SEED_EVENTS), "naming": "canonical"},
        [],
    ),
    "postman slip": (
        "nats",
        {"sqs": {"enabled": True, "events": TWO, "region": "x"}},
        {"enabled": True, "events": tuple(TWO), "naming": "evolution"},
        ['"sqs" was read', "sqs.region"],
    ),
    "v2 pusher": (
        "pusher",
        {
            "pusher": {
                "enabled": True,
                "appId": 123456,
                "key": "k",
                "secret": "a-secret-of-pusher",
                "cluster": "sa1",
                "useTLS": False,
                "events": TWO,
            }
        },
        {"app_id": "123456", "key": "k", "cluster": "sa1", "use_tls": False},
        [],
    ),
    **{
        f"seed {kind}": (kind, SEED_OTHER, {"events": tuple(SEED_OTHER["events"])}, [])
        for kind in ("websocket", "rabbitmq", "sqs", "nats", "pusher")
    },
}

SECRET = new_secret(b"generated" * 4)
WIDE: Mapping[str, Mapping[str, Any]] = {
    "rabbitmq": {"uri": "amqp://mq"},
    "sqs": {"region": "sa-east-1"},
    "nats": {"url": "nats://mq"},
    "pusher": {"app_id": "1"},
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
