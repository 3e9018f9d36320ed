"""How the sink endpoints answer: one superset that the seed, v1 and v2 clients all find theirs in.

Nothing is ever null: an optional field that is not set is left out. What this shows can be posted
back: `sink_body` recognises every masked value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.security import MASK, mask
from schemas.sink_config import (
    MODELS,
    Kind,
    PusherConfig,
    SinkConfig,
    WebhookConfig,
    is_secret_name,
)

HIDDEN = frozenset("tenant instance kind apikey secrets created_at updated_at".split())
# Shown as URLs with the password masked.
URL_SECRETS: Mapping[str, tuple[str, ...]] = {"rabbitmq": ("uri",), "nats": ("url",)}
# Shown as `mask` shows them.
TEXT_SECRETS: Mapping[str, tuple[str, ...]] = {
    "sqs": ("secret_access_key",),
    "nats": ("password", "token", "creds", "nkey_seed"),
    "pusher": ("secret",),
}
_USER_INFO = re.compile(r"(?<=://)([^/?#@,]*(?:@[^/?#@,]*)*)@")


def row(
    config: SinkConfig, *, warnings: Iterable[str] = (), reveal_secret: bool = False
) -> dict[str, Any]:
    """The answer to set and find. `reveal_secret`: show the newest signing secret whole (set and
    rotate).
    """
    fields = _fields(config, reveal_secret=reveal_secret)
    told = list(warnings)
    answer = {
        "id": config.id,
        "instanceId": config.instance,
        "instance": config.instance,
        "kind": config.kind,
        **fields,
        "createdAt": _when(config.created_at),
        "updatedAt": _when(config.updated_at),
        config.kind: _echo(config.kind, config.instance, fields),
    }
    return answer | ({"warnings": told} if told else {})


def empty_row(kind: Kind, instance: str, name: str = "default") -> dict[str, Any]:
    """The answer to find where nothing was ever configured: the same fields, off and empty."""
    model = MODELS[kind](id="", tenant="", instance=instance, name=name, enabled=False)
    return row(model) | {"createdAt": "", "updatedAt": ""}


def _fields(config: SinkConfig, *, reveal_secret: bool) -> dict[str, Any]:
    shown = config.model_dump(mode="json", exclude=set(HIDDEN), exclude_none=True)
    shown.pop("id")
    if config.shown_apikey:
        shown["apikey"] = mask(config.shown_apikey)
    for name in URL_SECRETS.get(config.kind, ()):
        shown[name] = mask_url(shown[name])
    for name in TEXT_SECRETS.get(config.kind, ()):
        shown[name] = mask(shown[name])
    if isinstance(config, WebhookConfig):
        newest = config.secrets[0][0] if config.secrets else ""
        shown["secret"] = newest if reveal_secret else mask(newest)
        shown["headers"] = mask_values(config.headers)
        shown["query"] = mask_values(config.query)
        shown["webhookByEvents"] = config.webhook_by_events
        shown["webhookBase64"] = config.webhook_base64
    if isinstance(config, PusherConfig):
        shown["appId"] = config.app_id
        shown["useTLS"] = config.use_tls
    return shown


def mask_values(pairs: Mapping[str, str]) -> dict[str, str]:
    """Headers or query parameters, those with a secret's name masked."""
    return {name: mask(text) if is_secret_name(name) else text for name, text in pairs.items()}


def mask_url(url: str) -> str:
    """A broker's URL (or several, with commas) without its password, or its token."""
    return _USER_INFO.sub(lambda m: _masked_user(m[1]) + "@", url)


def _masked_user(info: str) -> str:
    user, colon, _ = info.partition(":")
    return f"{user}:{MASK}" if colon else MASK


def _echo(kind: str, instance: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What v1's set answered."""
    names = ("url", "enabled", "events", "webhook_by_events", "webhook_base64")
    wanted = names if kind == "webhook" else names[1:3]
    return {"instanceName": instance, kind: {name: fields[name] for name in wanted}}


def _when(microseconds: int) -> str:
    """An API timestamp."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds % 1_000_000:06d}Z"
