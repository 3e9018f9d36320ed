"""Every setting, declared once: its environment variable, default and meaning.

`Settings.load` is a pure function of an environment. An unknown `COMPORTA_*` variable stops the
start, so that a typing error is not a silent default. `deploy/comporta.example.env` lists the same
fields; a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from gateway.crash import POINTS
from schemas.target import AllowList
from sinks.signing import secret_key

PREFIX = "COMPORTA_"
MONTH = 31 * 86_400.0  # seconds


class SettingsError(Exception):
    """The environment does not make a configuration; the message names the variable."""


def _comma_list(value: Any) -> Any:
    return (
        tuple(p.strip() for p in value.split(",") if p.strip()) if isinstance(value, str) else value
    )


CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
Delay = Annotated[float, Field(ge=0, le=MONTH, allow_inf_nan=False)]
Delays = Annotated[tuple[Delay, ...], BeforeValidator(_comma_list)]
AnyCase = BeforeValidator(lambda v: v.lower() if isinstance(v, str) else v)


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("is not an http(s) URL")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("is a scheme, a host and perhaps a path, nothing more")
    return value.rstrip("/")


def _web_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("is not an http(s) URL")
    return value


def _signing_secret(value: SecretStr) -> SecretStr:
    if value.get_secret_value():
        secret_key(value.get_secret_value())
    return value


def _rate(value: float) -> float:
    if 0 < value < 0.001:
        raise ValueError("is 0, or at least 0.001")
    return value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ip_network(value)
    return values


def _crash_point(value: str) -> str:
    if value and value.partition(":")[0] not in POINTS:
        raise ValueError(f"is one of {', '.join(POINTS)}")
    return value


def _allowed(values: tuple[str, ...]) -> tuple[str, ...]:
    AllowList.parse(values)
    return values


class Settings(BaseModel):
    """The frozen configuration of one process. Names in the environment are `COMPORTA_` + the
    field's, upper case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    public_url: Annotated[str, AfterValidator(_base_url)] = Field(
        "", description="the URL that providers and links use; http://host:port when empty"
    )
    data_dir: Path = Field(
        Path("./data"), description="where the embedded store and generated keys live"
    )
    store: SecretStr = Field(
        SecretStr(""),
        description="sqlite:///{data dir}/comporta.db when empty, or postgresql://user:pass@host/db",
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        description="the bootstrap admin key; generated when empty (alias AUTHENTICATION_API_KEY)",
    )
    secret_keys: SecretStr = Field(
        SecretStr(""),
        description="comma list of Fernet keys, newest first; "
        "generated when empty (not on PostgreSQL)",
    )
    workers: int = Field(
        1, ge=1, le=64, description="processes (SO_REUSEPORT); more than 1 needs PostgreSQL"
    )
    allow_targets: Annotated[CommaList, AfterValidator(_allowed)] = Field(
        (), description="CIDRs and host names that outbound requests may reach although private"
    )
    require_https: bool = Field(
        True, description="refuse http:// sink URLs outside COMPORTA_ALLOW_TARGETS"
    )
    max_body: int = Field(
        2_097_152, ge=1024, description="bytes of one inbound body, after decompression"
    )
    ingest_rate: Annotated[float, AfterValidator(_rate)] = Field(
        0,
        ge=0,
        le=1e6,
        description="accepted requests per second per installation; 0 is off",
    )
    max_backlog: int = Field(
        1_000_000, ge=1, description="deliveries due and not yet sent before ingress answers 503"
    )
    retention_days: float = Field(
        30, gt=0, le=36_500, description="age at which finished things are purged"
    )
    payload_days: float = Field(
        30,
        gt=0,
        le=36_500,
        description="age at which the payload of what was delivered goes, its record stays",
    )
    dedupe_days: float = Field(
        30, ge=1, le=36_500, description="how long a redelivery and a fact told again are known"
    )
    retry_schedule: Delays = Field(
        (5, 300, 1800, 7200, 18000, 36000, 36000),
        description="seconds between attempts, for every sink",
    )
    disable_after: float = Field(
        432_000, gt=0, description="seconds of nothing but failures until a sink is switched off"
    )
    delivery_timeout: float = Field(20, gt=0, le=120, description="seconds for one webhook attempt")
    lease_seconds: float = Field(
        30, ge=1, le=3600, description="how long a process that died holds its deliveries"
    )
    crash_at: Annotated[str, AfterValidator(_crash_point)] = Field(
        "", pattern=r"^(\w+(:\d+)?)?$", description="fault tests only: exit at the named point"
    )
    auth: bool = Field(
        True, description="off (loopback only): requests without a key act as the admin"
    )
    tls_cert: str = Field("", description="certificate file, to serve https directly")
    tls_key: str = Field("", description="key file of that certificate")
    trusted_proxies: Annotated[CommaList, AfterValidator(_networks)] = Field(
        (), description="CIDRs whose X-Forwarded-* are believed"
    )
    cors_origins: CommaList = Field(
        (), description="origins allowed for browsers, REST and websocket"
    )
    ca_file: str = Field("", description="extra CA bundle for outbound TLS")
    websocket_max_connections: int = Field(10_000, ge=1, description="per process")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        "info", description="least level logged"
    )
    log_format: Annotated[Literal["json", "console"], AnyCase] = Field(
        "json", description="`console` for people"
    )
    otlp_endpoint: str = Field(
        "", description="collector of traces, OTLP over HTTP (needs the extra `otel`)"
    )
    alert_webhook_url: Annotated[str, AfterValidator(_web_url)] = Field(
        "", description="where the operator is told of what goes wrong; nobody is when empty"
    )
    alert_webhook_secret: Annotated[SecretStr, AfterValidator(_signing_secret)] = Field(
        SecretStr(""), description="`whsec_…`: what those messages are signed with"
    )
    alert_interval: float = Field(
        60, ge=0, le=86_400, description="seconds between two such messages at least"
    )
    alert_backlog_age: float = Field(
        900,
        ge=0,
        description="seconds a delivery may be overdue before the operator is told; 0 is off",
    )
    metrics_public: bool = Field(
        False, description="/metrics without a key although not bound to loopback"
    )

    rabbitmq_uri: SecretStr = Field(
        SecretStr(""), alias="RABBITMQ_URI", description="server-wide RabbitMQ"
    )
    nats_url: SecretStr = Field(
        SecretStr(""), alias="NATS_URL", description="server-wide NATS (alias NATS_URI)"
    )
    sqs_region: str = Field("", alias="SQS_REGION", description="server-wide SQS: region")
    sqs_access_key_id: str = Field(
        "", alias="SQS_ACCESS_KEY_ID", description="server-wide SQS: key id"
    )
    sqs_secret_access_key: SecretStr = Field(
        SecretStr(""), alias="SQS_SECRET_ACCESS_KEY", description="server-wide SQS: secret"
    )
    sqs_account_id: str = Field(
        "", alias="SQS_ACCOUNT_ID", description="server-wide SQS: account of the queues"
    )
    sqs_base_url: str = Field(
        "", alias="SQS_BASE_URL", description="server-wide SQS: another endpoint than AWS"
    )
    pusher_app_id: str = Field(
        "", alias="PUSHER_GLOBAL_APP_ID", description="server-wide Pusher: app id"
    )
    pusher_key: str = Field("", alias="PUSHER_GLOBAL_KEY", description="server-wide Pusher: key")
    pusher_secret: SecretStr = Field(
        SecretStr(""), alias="PUSHER_GLOBAL_SECRET", description="server-wide Pusher: secret"
    )
    pusher_cluster: str = Field(
        "", alias="PUSHER_GLOBAL_CLUSTER", description="server-wide Pusher: cluster"
    )
    pusher_host: str = Field(
        "", alias="PUSHER_HOST", description="a server that speaks Pusher's HTTP API"
    )

    @model_validator(mode="after")
    def _hold_together(self) -> Settings:
        if self.workers > 1 and not self.is_postgres:
            raise ValueError("COMPORTA_WORKERS above 1 needs a PostgreSQL COMPORTA_STORE")
        if self.is_postgres and not self.secret_keys.get_secret_value():
            raise ValueError(
                "COMPORTA_SECRET_KEYS is required with PostgreSQL (comporta keys generate-secret)"
            )
        if not self.auth and not self.is_loopback:
            raise ValueError("COMPORTA_AUTH=off is only for a loopback COMPORTA_HOST")
        if self.alert_webhook_url and not self.alert_webhook_secret.get_secret_value():
            raise ValueError("COMPORTA_ALERT_WEBHOOK_SECRET is required with the URL")
        if bool(self.tls_cert) is not bool(self.tls_key):
            raise ValueError("COMPORTA_TLS_CERT and COMPORTA_TLS_KEY go together")
        kinds = ("sqlite:///", "postgresql://", "postgres://")
        if self.store_url.lower() in kinds or not self.store_url.startswith(kinds):
            raise ValueError("COMPORTA_STORE is neither sqlite:///FILE nor a postgresql:// URL")
        return self

    @property
    def store_url(self) -> str:
        """The store's URL, with the default filled in."""
        return self.store.get_secret_value() or f"sqlite:///{self.data_dir}/comporta.db"

    @property
    def sqlite_path(self) -> Path:
        """The file of an SQLite store."""
        return Path(self.store_url.removeprefix("sqlite:///"))

    @property
    def is_postgres(self) -> bool:
        """Whether the store is PostgreSQL."""
        return self.store_url.startswith(("postgresql://", "postgres://"))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    @property
    def base_url(self) -> str:
        """The public URL without a slash at its end."""
        scheme = "https" if self.tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"{scheme}://{host}:{self.port}"

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Settings:
        """The settings an environment gives. Raises SettingsError naming the variable."""
        known = variables()
        unknown = sorted(n for n in environ if n.startswith(PREFIX) and n not in known)
        if unknown:
            raise SettingsError(
                f"unknown setting {unknown[0]}; see deploy/comporta.example.env for all of them"
            )
        values: dict[str, str] = {}
        for variable, name in known.items():
            if environ.get(variable):
                values.setdefault(name, environ[variable])
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None


ALIASES = {"AUTHENTICATION_API_KEY": "api_key", "NATS_URI": "nats_url"}


def variables() -> dict[str, str]:
    """Environment variable -> field name; the documented name of a field before its aliases."""
    own = {(f.alias or PREFIX + name.upper()): name for name, f in Settings.model_fields.items()}
    return own | ALIASES


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    message = str(first["msg"]).removeprefix("Value error, ")
    where = str(first["loc"][0]) if first["loc"] else ""
    variable = next((v for v, n in variables().items() if where in {n, v}), "")
    return f"{variable}: {message}" if variable else message
