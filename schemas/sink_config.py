"""What a sink is configured with, as it is stored: one model per kind, one base.

The set endpoints take many spellings (`gateway.api.sink_body` reads them); this is the one form
behind them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["webhook", "websocket", "rabbitmq", "sqs", "nats", "pusher"]
KINDS: tuple[Kind, ...] = ("webhook", "websocket", "rabbitmq", "sqs", "nats", "pusher")
Naming = Literal["canonical", "evolution"]


_DAY = 86_400.0
_SECRET_NAME = re.compile(
    "auth|token|secret|pass|pwd|credential|cookie|session|jwt|signature|key", re.IGNORECASE
)
# `$` alone also matches before a newline at the end.
_END = r"(?!\n)$"


def is_secret_name(name: str) -> bool:
    """Whether a header or query parameter of this name holds a secret, by what it is called."""
    return _SECRET_NAME.search(name) is not None


class SinkBase(BaseModel):
    """What every kind has. `events`: upper snake keys; empty means all. `retry`: seconds between
    tries, None: default.

    `filter`: a JMESPath expression over the envelope; truthy delivers. `apikey`: the API key that
    configured the sink, kept only for `include_apikey`. `disabled_reason`: why we switched it off.
    """

    # python-re: the patterns look ahead.
    model_config = ConfigDict(extra="forbid", frozen=True, regex_engine="python-re")

    id: str
    tenant: str
    instance: str
    name: str = "default"
    enabled: bool = True
    events: tuple[str, ...] = ()
    naming: Naming = Field(default="canonical", description="canonical or evolution")
    ordered: bool = False
    filter: str | None = Field(default=None, max_length=4096)
    retry: tuple[Annotated[float, Field(ge=0, le=30 * _DAY)], ...] | None = Field(
        default=None, max_length=50, description="seconds between tries"
    )
    rate_limit: float | None = Field(default=None, gt=0, le=100_000, description="per second")
    concurrency: int | None = Field(default=None, ge=1, le=256, description="tries at once")
    timeout: float | None = Field(default=None, gt=0, le=120, description="seconds for one try")
    include_apikey: bool = False
    apikey: str | None = Field(default=None, max_length=1024, repr=False)
    disabled_reason: str | None = None
    created_at: int = 0
    updated_at: int = 0

    @property
    def shown_apikey(self) -> str | None:
        """The `apikey` of this sink's envelopes."""
        return self.apikey if self.include_apikey else None


class WebhookConfig(SinkBase):
    """POST to a URL. `secrets`: signing secrets (`whsec_…`), newest first, with the time each ends
    (microseconds).
    """

    kind: Literal["webhook"] = "webhook"
    url: str = Field(default="", max_length=2048)
    webhook_by_events: bool = False
    webhook_base64: bool = False
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    secrets: tuple[tuple[str, int | None], ...] = Field(default=(), repr=False)
    gzip: bool = False
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    query: dict[str, str] = Field(default_factory=dict, repr=False)
    template: str | None = Field(default=None, max_length=16_384)


class WebsocketConfig(SinkBase):
    """Pushed to whoever is connected to /ws/{instance} or Socket.IO."""

    kind: Literal["websocket"] = "websocket"
    max_connections: int | None = Field(default=None, ge=1)


_AMQP_NAME = r"^(?!amq\.)[A-Za-z0-9_.:/@-]{0,255}" + _END
_AMQP_HINT = "up to 255 letters, digits, _ . : / @ -, not starting with amq."


class RabbitmqConfig(SinkBase):
    """Published to a topic exchange with durable quorum queues. `uri` empty: the server-wide
    broker.
    """

    kind: Literal["rabbitmq"] = "rabbitmq"
    uri: str = Field(default="", max_length=2048, repr=False)
    exchange: str = Field(default="", pattern=_AMQP_NAME, description=_AMQP_HINT)
    exchange_type: Literal["topic", "direct", "fanout", "headers"] = "topic"
    queue_type: Literal["quorum", "classic", "stream"] = "quorum"
    message_ttl: int | None = Field(default=None, ge=0, le=2**32 - 1, description="milliseconds")
    max_length: int | None = Field(default=None, ge=1, description="messages")
    dead_letter_exchange: str | None = Field(
        default=None, pattern=_AMQP_NAME, description=_AMQP_HINT
    )


class SqsConfig(SinkBase):
    """Sent to one queue per event, or to one named queue."""

    kind: Literal["sqs"] = "sqs"
    queue_url: str = Field(default="", max_length=2048)
    queue_name: str = Field(
        default="",
        pattern=r"^(?=.{0,80}$)[A-Za-z0-9_-]*(?:\.fifo)?" + _END,
        description="up to 80 letters, digits, - and _, with .fifo at the end of a FIFO queue",
    )
    region: str = Field(
        default="", pattern=r"^[a-z0-9-]{0,32}" + _END, description="like sa-east-1"
    )
    endpoint_url: str = Field(default="", max_length=2048)
    access_key_id: str = Field(default="", max_length=256)
    secret_access_key: str = Field(default="", max_length=256, repr=False)
    fifo: bool = True


class NatsConfig(SinkBase):
    """Published to `{prefix.}{instance}.{event}` through JetStream, or by core NATS on request."""

    kind: Literal["nats"] = "nats"
    url: str = Field(default="", max_length=2048, repr=False)
    subject_prefix: str = Field(
        default="",
        max_length=128,
        pattern=r"^(?:[^\s*>.$][^\s*>.]*(?:\.[^\s*>.]+)*)?" + _END,
        description="words joined by dots, without space, * or >",
    )
    jetstream: bool = True
    stream: str = Field(
        default="",
        max_length=255,
        pattern=r"^[^\s.*>/\\]*" + _END,
        description="without space . * > / \\",
    )
    user: str = Field(default="", max_length=256)
    password: str = Field(default="", max_length=1024, repr=False)
    token: str = Field(default="", max_length=4096, repr=False)
    creds: str = Field(default="", max_length=16_384, repr=False)
    nkey_seed: str = Field(default="", max_length=256, repr=False)


class PusherConfig(SinkBase):
    """Triggered on a Pusher channel (or a server that speaks its HTTP API, `host`)."""

    kind: Literal["pusher"] = "pusher"
    app_id: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}" + _END, description="an app id")
    key: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,128}" + _END, description="an app key")
    secret: str = Field(default="", max_length=256, repr=False)
    cluster: str = Field(default="", pattern=r"^[a-z0-9-]{0,20}" + _END, description="like sa1")
    host: str = Field(
        default="",
        max_length=270,
        pattern=r"^(?:https?://)?[^/?#@\s]*/?" + _END,
        description="a host, with :port where needed",
    )
    use_tls: bool = True
    channel: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_\-=@,.;]{0,164}" + _END,
        description="up to 164 letters, digits and _ - = @ , . ;",
    )

    @property
    def wire_channel(self) -> str:
        """The channel that is triggered: the instance, with the tenant before it unless that is
        `default`. A `channel` is taken as it is when the app is the sink's own.
        """
        prefix = "" if self.tenant == "default" else f"{self.tenant}."
        if self.channel:
            return self.channel if self.app_id else prefix + self.channel
        return prefix + self.instance


SinkConfig = Annotated[
    WebhookConfig | WebsocketConfig | RabbitmqConfig | SqsConfig | NatsConfig | PusherConfig,
    Field(discriminator="kind"),
]
MODELS: dict[str, type[SinkConfig]] = {
    "webhook": WebhookConfig,
    "websocket": WebsocketConfig,
    "rabbitmq": RabbitmqConfig,
    "sqs": SqsConfig,
    "nats": NatsConfig,
    "pusher": PusherConfig,
}
# Fields that are encrypted at rest and masked in every answer.
SECRET_FIELDS: dict[str, tuple[str, ...]] = {
    "webhook": ("apikey", "headers", "secrets", "query"),
    "websocket": ("apikey",),
    "rabbitmq": ("apikey", "uri"),
    "sqs": ("apikey", "secret_access_key"),
    "nats": ("apikey", "url", "password", "token", "creds", "nkey_seed"),
    "pusher": ("apikey", "secret"),
}


def parse_config(doc: dict[str, Any]) -> SinkConfig:
    """The configuration in a stored document. Raises pydantic.ValidationError."""
    return MODELS[doc["kind"]].model_validate(doc)
