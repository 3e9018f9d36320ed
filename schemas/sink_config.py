"""What a sink is configured with, as it is stored: one model per kind, one base.

The set endpoints take many spellings (`gateway.api.sink_body` reads them); this is the one form
behind them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["webhook", "websocket", "rabbitmq", "sqs", "nats", "pusher"]
KINDS: tuple[Kind, ...] = ("webhook", "websocket", "rabbitmq", "sqs", "nats", "pusher")
Naming = Literal["canonical", "evolution"]


class SinkBase(BaseModel):
    """What every kind has. `events`: upper snake keys; empty means all. `retry`: seconds between
    tries, None: default.

    `filter`: a JMESPath expression over the envelope; truthy delivers. `disabled_reason`: why we
    switched it off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    tenant: str
    instance: str
    name: str = "default"
    enabled: bool = True
    events: tuple[str, ...] = ()
    naming: Naming = "canonical"
    ordered: bool = False
    filter: str | None = None
    retry: tuple[float, ...] | None = None
    rate_limit: float | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, ge=1, le=256)
    timeout: float | None = Field(default=None, gt=0, le=120)
    include_apikey: bool = False
    disabled_reason: str | None = None
    created_at: int = 0
    updated_at: int = 0


class WebhookConfig(SinkBase):
    """POST to a URL. `secrets`: signing secrets (`whsec_…`), newest first, with the time each ends
    (microseconds).
    """

    kind: Literal["webhook"] = "webhook"
    url: str = ""
    webhook_by_events: bool = False
    webhook_base64: bool = False
    headers: dict[str, str] = Field(default_factory=dict)
    secrets: tuple[tuple[str, int | None], ...] = ()
    gzip: bool = False
    method: str = "POST"
    query: dict[str, str] = Field(default_factory=dict)
    template: str | None = None


class WebsocketConfig(SinkBase):
    """Pushed to whoever is connected to /ws/{instance} or Socket.IO."""

    kind: Literal["websocket"] = "websocket"
    max_connections: int | None = Field(default=None, ge=1)


class RabbitmqConfig(SinkBase):
    """Published to a topic exchange with durable quorum queues. `uri` empty: the server-wide
    broker.
    """

    kind: Literal["rabbitmq"] = "rabbitmq"
    uri: str = ""
    exchange: str = ""
    exchange_type: str = "topic"
    queue_type: str = "quorum"
    message_ttl: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=1)
    dead_letter_exchange: str | None = None


class SqsConfig(SinkBase):
    """Sent to one queue per event, or to one named queue."""

    kind: Literal["sqs"] = "sqs"
    queue_url: str = ""
    queue_name: str = ""
    region: str = ""
    endpoint_url: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    fifo: bool = True


class NatsConfig(SinkBase):
    """Published to `{prefix.}{instance}.{event}` through JetStream, or by core NATS on request."""

    kind: Literal["nats"] = "nats"
    url: str = ""
    subject_prefix: str = ""
    jetstream: bool = True
    stream: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    creds: str = ""
    nkey_seed: str = ""


class PusherConfig(SinkBase):
    """Triggered on a Pusher channel (or a server that speaks its HTTP API, `host`)."""

    kind: Literal["pusher"] = "pusher"
    app_id: str = ""
    key: str = ""
    secret: str = ""
    cluster: str = ""
    host: str = ""
    use_tls: bool = True
    channel: str = ""


SinkConfig = Annotated[
    WebhookConfig | WebsocketConfig | RabbitmqConfig | SqsConfig | NatsConfig | PusherConfig,
    Field(discriminator="kind"),
]
MODELS: dict[str, type[SinkBase]] = {
    "webhook": WebhookConfig,
    "websocket": WebsocketConfig,
    "rabbitmq": RabbitmqConfig,
    "sqs": SqsConfig,
    "nats": NatsConfig,
    "pusher": PusherConfig,
}
# Fields that are encrypted at rest and masked in every answer.
SECRET_FIELDS: dict[str, tuple[str, ...]] = {
    "webhook": ("headers", "secrets", "query"),
    "websocket": (),
    "rabbitmq": ("uri",),
    "sqs": ("secret_access_key",),
    "nats": ("url", "password", "token", "creds", "nkey_seed"),
    "pusher": ("secret",),
}


def parse_config(doc: dict[str, Any]) -> SinkConfig:
    """The configuration in a stored document. Raises pydantic.ValidationError."""
    config: SinkConfig = MODELS[doc["kind"]].model_validate(doc)  # type: ignore[assignment]  # reason: MODELS holds exactly the members of the union
    return config
