"""A set body becomes a stored configuration: merged over what is stored, judged, explained.

Pure. Everything wrong is told at once; what can be understood is taken, with a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from gateway.api.sink_rules import (
    Rules,
    check_addresses,
    check_connection,
    check_expression,
    check_headers,
    read_events,
    read_pairs,
    read_secrets,
    read_signing_secret,
    storable,
)
from gateway.api.sink_shape import Reading, read
from schemas.errors import BadRequestError
from schemas.sink_config import (
    MODELS,
    Kind,
    PusherConfig,
    SinkConfig,
    WebhookConfig,
    parse_config,
)

# https://pusher.com/docs/channels/using_channels/encrypted-channels/
ENCRYPTED = "private-encrypted-"
MAX_SECRETS = 5
_SWITCHES: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which sink a body is about."""

    id: str
    tenant: str
    instance: str
    name: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """The configuration to store. `created_secret`: the signing secret this body brought about."""

    config: SinkConfig
    warnings: tuple[str, ...] = ()
    created_secret: str | None = None


def merge_body(
    kind: Kind,
    body: Any,
    stored: SinkConfig | None,
    *,
    identity: Identity,
    now: int,
    rules: Rules,
) -> Merged:
    """What a set body makes of a sink. `now`: microseconds.

    Raises BadRequestError with one detail per fault (code `ssrf_blocked` for a refused address),
    and ConflictError (SINK_NOT_CONFIGURED) when an enabled sink has nothing to connect to.
    """
    reading = read(kind, body)
    _read_values(reading, kind, stored)
    secret = _read_special(reading, kind, stored)
    doc = _base(kind, stored, identity, now, nested=reading.nested) | reading.values
    created = None
    if kind == "webhook":
        created = secret or (None if doc["secrets"] else rules.new_secret())
        if created:
            doc["secrets"] = ((created, None),)
    _stop_if_failed(reading)
    config = _validated(reading, doc)
    code = check_addresses(reading, config, rules)
    _check_whole(reading, config)
    _stop_if_failed(reading, code)
    if config.enabled:
        check_connection(config, rules.server_wide)
    warnings = tuple(dict.fromkeys(reading.warnings))
    return Merged(config=config, warnings=warnings, created_secret=created)


def rotate_secret(config: WebhookConfig, secret: str, *, now: int, overlap: float) -> WebhookConfig:
    """A webhook with a new signing secret in front; the others sign for `overlap` seconds more."""
    until = now + int(overlap * 1_000_000)
    older = tuple(
        (old, until if end is None else min(end, until))
        for old, end in config.secrets
        if end is None or end > now
    )
    kept = older[: MAX_SECRETS - 1] if overlap > 0 else ()
    return config.model_copy(update={"secrets": ((secret, None), *kept), "updated_at": now})


def _base(
    kind: Kind, stored: SinkConfig | None, identity: Identity, now: int, *, nested: bool
) -> dict[str, Any]:
    """The document that a body is merged over."""
    if stored is not None:
        doc = stored.model_dump()
    else:
        naming = "evolution" if nested else "canonical"
        blank = MODELS[kind](id="", tenant="", instance="", created_at=now)
        doc = blank.model_dump() | {"naming": naming}
    return doc | {
        "id": identity.id,
        "tenant": identity.tenant,
        "instance": identity.instance,
        "name": identity.name,
        "enabled": True,
        "disabled_reason": None,
        "updated_at": now,
    }


def _read_values(reading: Reading, kind: Kind, stored: SinkConfig | None) -> None:
    """Plain values in the spelling of the model; null means as if it had never been set."""
    fields = MODELS[kind].model_fields
    for name, value in tuple(reading.values.items()):
        annotation = fields[name].annotation if name in fields else None
        if value is None:
            _read_null(reading, kind, name)
        elif annotation is bool:
            _read_switch(reading, name, value)
        elif isinstance(value, bool):
            reading.fail(name, "is not to be true or false")
        elif name in {"method", "naming"} and isinstance(value, str):
            reading.values[name] = value.upper() if name == "method" else value.lower()
        elif annotation is str and isinstance(value, int):
            reading.values[name] = str(value)
        elif isinstance(value, str) and not storable(value):
            reading.fail(name, "has a character that cannot be stored")
    for name in ("filter", "template", "dead_letter_exchange"):
        if reading.values.get(name) == "":
            reading.values[name] = None
    read_secrets(reading, kind, stored)


def _read_null(reading: Reading, kind: Kind, name: str) -> None:
    """Null takes an optional field back to its default, and says nothing of the others."""
    field = MODELS[kind].model_fields.get(name)
    keeps = {"enabled", "events", "naming", "url" if kind == "webhook" else ""}
    if field is None or name in keeps or field.annotation is bool:
        del reading.values[name]
    else:
        reading.values[name] = field.get_default(call_default_factory=True)


def _read_switch(reading: Reading, name: str, value: Any) -> None:
    switch = _SWITCHES.get(value.lower()) if isinstance(value, str) else value
    if isinstance(switch, bool):
        reading.values[name] = switch
    else:
        reading.fail(name, "is neither true nor false")


def _read_special(reading: Reading, kind: Kind, stored: SinkConfig | None) -> str | None:
    """Events, and what only webhooks have; gives the signing secret the body names."""
    values = reading.values
    enabled = values.get("enabled", True) is not False
    if "events" in values:
        if values["events"] == [] and not enabled and stored:
            del values["events"]  # disabling keeps the list
        else:
            values["events"] = read_events(reading, values["events"])
    for name in ("filter", "template"):
        check_expression(reading, name)
    if kind != "webhook":
        return None
    before = stored if isinstance(stored, WebhookConfig) else None
    _read_url(reading, before, enabled=enabled)
    for name, kept in (
        ("headers", before.headers if before else {}),
        ("query", before.query if before else {}),
    ):
        if name in values:
            values[name] = read_pairs(reading, name, values[name], kept)
    check_headers(reading, values.get("headers", {}))
    secrets = tuple(secret for secret, _ in before.secrets) if before else ()
    return read_signing_secret(reading, secrets)


def _read_url(reading: Reading, before: WebhookConfig | None, *, enabled: bool) -> None:
    """A URL is needed to deliver, never to disable: clients then send "" or a word."""
    url = reading.values.get("url", before.url if before else "")
    if enabled and url == "":
        reading.fail("url", "is required while the webhook is enabled")
    elif not enabled and isinstance(url, str) and "://" not in url:
        if url:
            reading.warnings.append("url is no URL and is ignored")
        reading.values.pop("url", None)


def _validated(reading: Reading, doc: dict[str, Any]) -> SinkConfig:
    try:
        return parse_config(doc)
    except ValidationError as error:
        fields = MODELS[doc["kind"]].model_fields
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            name, *rest = (str(part) for part in fault["loc"])
            hint = fields[name].description if name in fields else None
            told = f"{_lower_first(fault['msg'])}" + (f" ({hint})" if hint else "")
            reading.fail(".".join((name, *rest)), f"is refused: {told}")
        _stop_if_failed(reading)
        raise


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _check_whole(reading: Reading, config: SinkConfig) -> None:
    """What only shows when all fields are known."""
    if not isinstance(config, PusherConfig):
        return
    if (config.enabled or config.channel) and config.wire_channel.startswith(ENCRYPTED):
        reading.fail(
            "channel",
            f"is refused: what starts with {ENCRYPTED} is for events that are encrypted end to end,"
            " which we do not do; take private- or another name",
        )
    if config.app_id or config.key or config.secret:
        for name in ("app_id", "key", "secret"):
            if not getattr(config, name):
                reading.fail(name, "is required beside the other app fields")
        if not config.cluster and not config.host:
            reading.fail("cluster", "or host is required beside the app fields")


def _stop_if_failed(reading: Reading, code: str | None = None) -> None:
    if reading.errors:
        details = tuple(
            type(detail)(detail.path, f"{detail.path} {detail.message}".strip())
            for detail in reading.errors
        )
        raise BadRequestError(details[0].message, code=code or "validation_failed", details=details)
