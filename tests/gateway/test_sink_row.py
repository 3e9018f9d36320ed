"""What the sink endpoints answer."""

from typing import Any, cast

import orjson
import pytest

from gateway.api.sink_row import empty_row, mask_url, row
from schemas.sink_config import KINDS, MODELS, Kind, PusherConfig, WebhookConfig, WebsocketConfig

WHERE: dict[str, Any] = {"id": "01hm6sink", "tenant": "default", "instance": "loja-1"}
MOMENT = 1_705_315_500_123_456


def test_a_webhook_answers_all_its_readers() -> None:
    config = WebhookConfig(
        **WHERE,
        url="https://hooks.example/in",
        events=("MESSAGES_UPSERT",),
        webhook_by_events=True,
        headers={"Authorization": "Bearer of-a-secret-kind", "X-Shop": "loja"},
        secrets=(("whsec_abcdefghijklmnop", None),),
        created_at=MOMENT,
        updated_at=MOMENT + 1,
    )
    answer = row(config, warnings=["w"])
    seed = ("url", "enabled", "events", "webhook_by_events", "webhook_base64")
    v1 = {
        "url": "https://hooks.example/in",
        "enabled": True,
        "events": ["MESSAGES_UPSERT"],
        "webhook_by_events": True,
        "webhook_base64": False,
    }
    assert {name: answer[name] for name in seed} == v1
    assert answer["webhook"] == {"instanceName": "loja-1", "webhook": v1}
    assert (answer["webhookByEvents"], answer["webhookBase64"]) == (True, False)
    assert (answer["id"], answer["instanceId"]) == ("01hm6sink", "loja-1")
    assert answer["createdAt"] == "2024-01-15T10:45:00.123456Z"
    assert answer["updatedAt"] == "2024-01-15T10:45:00.123457Z"
    assert answer["headers"] == {"Authorization": "********kind", "X-Shop": "loja"}
    assert answer["secret"] == "********mnop"
    assert answer["warnings"] == ["w"]
    assert row(config, reveal_secret=True)["secret"] == "whsec_abcdefghijklmnop"
    assert "warnings" not in row(config)


def test_the_others_answer_theirs() -> None:
    answer = row(WebsocketConfig(**WHERE, events=("CALL",)))
    assert answer["websocket"] == {
        "instanceName": "loja-1",
        "websocket": {"enabled": True, "events": ["CALL"]},
    }
    pusher = PusherConfig(**WHERE, app_id="1", key="k", secret="short", cluster="sa1")
    answer = row(pusher)
    assert (answer["appId"], answer["useTLS"], answer["secret"]) == ("1", True, "********")


def _nulls(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_nulls, value.values()))
    return any(map(_nulls, value)) if isinstance(value, list) else value is None


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_configured_is_off_and_empty_but_never_null(kind: Kind) -> None:
    answer = empty_row(kind, "loja-1")
    assert answer["enabled"] is False
    assert answer["events"] == []
    assert answer["id"] == answer["createdAt"] == ""
    assert answer[kind]["instanceName"] == "loja-1"
    assert not _nulls(answer)
    assert orjson.loads(orjson.dumps(answer)) == answer
    if kind == "webhook":
        assert (answer["url"], answer["webhook_by_events"], answer["webhookBase64"]) == (
            "",
            False,
            False,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_configured_and_not_have_the_same_fields(kind: Kind) -> None:
    configured = row(cast("Any", MODELS[kind](**WHERE)))
    assert configured.keys() == empty_row(kind, "loja-1").keys()
    assert not _nulls(configured)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("amqp://mq.example/v", "amqp://mq.example/v"),
        ("amqp://u:p@mq.example/v", "amqp://u:********@mq.example/v"),
        ("amqp://u:p@ss@mq.example", "amqp://u:********@mq.example"),
        (
            "nats://token@a.example,nats://u:p@b.example",
            "nats://********@a.example,nats://u:********@b.example",
        ),
        ("amqp://:p@mq.example", "amqp://:********@mq.example"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, shown: str) -> None:
    assert mask_url(url) == shown
