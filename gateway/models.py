"""The configured things of contract section 6 and 1, as the gateway holds them in memory; the
registry is the truth.

Each is stored as a `Record`: its plain fields in `doc`, its secret ones sealed together in
`doc["sealed"]`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.security import Vault
from gateway.store.base import Record
from schemas.sink_config import SECRET_FIELDS, SinkConfig, parse_config

Status = Literal["pending_auth", "active", "error", "disabled"]


class Stored(BaseModel):
    """What every stored thing has. `version`: of the record it was read from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    tenant: str
    version: int = 0
    created_at: int = 0
    updated_at: int = 0


class Tenant(Stored):
    """Who owns everything below."""

    name: str


class ApiKey(Stored):
    """An API key; only its digest is kept. `expires_at`: microseconds, None for never. `previous`:
    digests it had before it was rotated, each with the time until which it still works.
    """

    name: str
    digest: str
    permissions: tuple[str, ...]
    instance: str | None = None
    expires_at: int | None = None
    last_used_at: int | None = None
    hint: str = ""
    previous: tuple[tuple[str, int], ...] = ()

    def works(self, digest: str, now: int) -> bool:
        """Whether what has this digest opens anything at `now` (microseconds)."""
        if self.expires_at is not None and self.expires_at <= now:
            return False
        return digest == self.digest or any(d == digest and end > now for d, end in self.previous)


class Instance(Stored):
    """A named stream of events. `number`: the phone number of an Evolution channel."""

    name: str
    skip_superseded: bool = False
    number: str | None = None


class Secret(BaseModel):
    """A signing secret and when it stops being valid (microseconds; None: never)."""

    model_config = ConfigDict(frozen=True)

    value: str
    until: int | None = None


class Earlier(BaseModel):
    """API credentials that others took the place of, and until when (microseconds) they are tried
    where the provider refuses those.
    """

    model_config = ConfigDict(frozen=True)

    credentials: dict[str, str]
    until: int


class Installation(Stored):
    """One customer's connection to one driver.

    `tokens`: digests of the ingest tokens, newest first, with their end. `earlier`: newest first.
    `ingest_token`, `secrets`, `credentials` and `earlier` are sealed at rest. `subscription`: what
    was registered at the provider.
    """

    driver: str
    instance: str
    name: str
    status: Status = "active"
    reason: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    tokens: tuple[tuple[str, int | None], ...] = ()
    ingest_token: str = ""
    secrets: tuple[Secret, ...] = ()
    credentials: dict[str, str] = Field(default_factory=dict)
    earlier: tuple[Earlier, ...] = ()
    oauth: dict[str, Any] = Field(default_factory=dict)
    info: dict[str, Any] = Field(default_factory=dict)

    @property
    def known_credentials(self) -> dict[str, str]:
        """The credentials, with the access token that OAuth gave and what came beside it."""
        token = self.oauth.get("access_token")
        if not token:
            return self.credentials
        beside: dict[str, str] = self.oauth.get("extra", {})
        return self.credentials | beside | {"access_token": str(token)}

    def secrets_at(self, now: int) -> tuple[str, ...]:
        """The secrets valid at `now`, newest first."""
        return tuple(s.value for s in self.secrets if s.until is None or s.until > now)


class DriverSettings(Stored):
    """One tenant's settings of one driver."""

    driver: str
    enabled: bool = False
    enabled_at: int | None = None
    custom_oauth_enabled: bool = False
    custom_oauth_enabled_at: int | None = None
    redirect_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    custom_client_id: str = ""
    custom_client_secret: str = ""


SEALED: dict[str, tuple[str, ...]] = {
    "installation": ("ingest_token", "secrets", "credentials", "earlier", "oauth"),
    "driver_settings": ("client_secret", "custom_client_secret"),
}
MODELS: dict[str, type[Stored]] = {
    "tenant": Tenant,
    "api_key": ApiKey,
    "instance": Instance,
    "installation": Installation,
    "driver_settings": DriverSettings,
}


def name_of(kind: str, thing: Stored) -> str:
    """The name that is unique per kind and tenant."""
    if isinstance(thing, DriverSettings):
        return thing.driver
    return str(getattr(thing, "name", thing.id)) if kind in {"instance", "tenant"} else thing.id


def to_record(kind: str, thing: Stored, vault: Vault) -> Record:
    """The record of a thing, secrets sealed."""
    doc = thing.model_dump(
        mode="json", exclude={"id", "tenant", "version", "created_at", "updated_at"}
    )
    secret = {name: doc.pop(name) for name in SEALED.get(kind, ())}
    if not secret.get("earlier"):
        secret.pop("earlier", None)  # which processes of the version before do not know
    if any(secret.values()):
        doc["sealed"] = vault.seal(f"{kind}/{thing.id}", secret)
    return Record(
        kind=kind,
        id=thing.id,
        tenant=thing.tenant,
        name=name_of(kind, thing),
        doc=doc,
        version=thing.version,
    )


def from_record(record: Record, vault: Vault) -> Stored:
    """The thing a record holds. Raises SecretsError when its secrets do not open."""
    doc = dict(record.doc)
    sealed = doc.pop("sealed", None)
    if sealed:
        doc |= vault.open(f"{record.kind}/{record.id}", sealed)
    return MODELS[record.kind].model_validate(doc | _row(record))


def sink_to_record(config: SinkConfig, vault: Vault, version: int) -> Record:
    """The record of a sink, secrets sealed; its unique name is kind, instance and name."""
    doc = config.model_dump(mode="json", exclude={"id", "tenant", "created_at", "updated_at"})
    secret = {name: doc.pop(name) for name in SECRET_FIELDS[config.kind]}
    if any(secret.values()):
        doc["sealed"] = vault.seal(f"sink/{config.id}", secret)
    name = sink_name(config.kind, config.instance, config.name)
    return Record(
        kind="sink", id=config.id, tenant=config.tenant, name=name, doc=doc, version=version
    )


def sink_name(kind: str, instance: str, name: str) -> str:
    """How a sink is found: unique per tenant."""
    return f"{kind}/{instance}/{name}"


def sink_from_record(record: Record, vault: Vault) -> SinkConfig:
    """The sink configuration a record holds."""
    doc = dict(record.doc)
    sealed = doc.pop("sealed", None)
    if sealed:
        doc |= vault.open(f"sink/{record.id}", sealed)
    row = _row(record)
    row.pop("version")
    return parse_config(doc | row)


def _row(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant": record.tenant,
        "version": record.version,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
