"""An installation as the API shows it: credentials masked, the ingest URL in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from drivers import BY_SLUG
from gateway.api.driver_shape import SECRET, DriverRef, credentials_schema, ref_of
from gateway.api.times import api_time
from gateway.credential_check import warnings as credential_warnings
from gateway.models import Installation
from gateway.overlap import alive
from gateway.security import mask
from gateway.subscription_rules import told


class PollData(BaseModel):
    """A list that the provider is asked for. `checked`: items of the last whole sweep; `found`:
    events that no webhook had told before; `error`: of the last try, null when it worked.
    """

    list: str
    last_swept_at: str | None
    next_at: str | None
    error: str | None
    checked: int
    found: int


class ReconciliationData(BaseModel):
    """The last comparison of what the provider lists with what its webhooks told, `since` a time.

    `state`: running, done or failed. `checked`: items of the lists; `found`: events that no webhook
    had told, the ids of the first of them in `events`; `enriching`: items that are still to be
    completed, each of which may be one more.
    """

    state: str
    since: str | None
    started_at: str | None
    finished_at: str | None
    checked: int
    found: int
    enriching: int
    events: list[str]
    error: str | None


class SubscriptionData(BaseModel):
    """The webhooks registered at the provider. `state`: `active`, `pending`, `failed` (it is tried
    again), `manual` (somebody has to do it there) or `off`; `error`: why it failed, or in part, or
    why it is manual.
    """

    state: str
    url: str | None
    topics: list[str]
    ids: list[str]
    error: str | None


class PreviousData(BaseModel):
    """What was rotated away and still counts until a time: masked."""

    credentials: dict[str, str]
    until: str | None


class InstallationData(BaseModel):
    """`auth_url`: where to authorise it, while it is `pending_auth`. `reason`: of an `error`.
    `previous_credentials`: those that still count beside them while a rotation's overlap runs.
    `warnings`: what will not work as it is configured. `polls`: [] for a driver whose provider
    sends everything; null where many installations are listed, as `reconciliation` is there.
    """

    id: str
    driver: DriverRef
    instance: str
    name: str
    status: str
    reason: str | None
    auth_url: str | None
    ingest_url: str
    settings: dict[str, Any]
    credentials: dict[str, str]
    previous_credentials: list[PreviousData]
    warnings: list[str]
    subscription: SubscriptionData
    polls: list[PollData] | None = None
    reconciliation: ReconciliationData | None = None
    created_at: str | None
    updated_at: str | None


def installation_data(
    installation: Installation, base_url: str, now: int, auth_url: str | None = None
) -> InstallationData:
    """What may be known of an installation."""
    driver = BY_SLUG.get(installation.driver)
    if driver is None:
        ref = DriverRef(id="", name=installation.driver, slug=installation.driver)
        public, signs = frozenset[str](), False
    else:
        ref, signs = ref_of(driver), driver.scheme.needs_secret
        schema = credentials_schema(driver)
        public = frozenset(name for name, known in schema.items() if not known.secret)
    secrets = installation.secrets_at(now)
    held = {SECRET: secrets[0]} if secrets else {}
    held |= installation.credentials
    warnings = []
    if signs and not secrets:
        warnings.append("no `secret` is known: deliveries to the ingest URL are refused")
    warnings += credential_warnings(installation, ref.name, now)
    subscribed = told(installation, base_url)
    if subscribed.error and subscribed.state in {"active", "failed"}:
        warnings.append(f"webhooks are missing at {ref.name}: {subscribed.error}")
    return InstallationData(
        id=installation.id,
        driver=ref,
        instance=installation.instance,
        name=installation.name,
        status=installation.status,
        reason=installation.reason,
        auth_url=auth_url,
        ingest_url=ingest_url(installation, base_url),
        settings=installation.settings,
        credentials=_masked(held, public),
        previous_credentials=[
            PreviousData(credentials=_masked(known, public), until=api_time(until))
            for known, until in _previous(installation, now)
        ],
        warnings=warnings,
        subscription=SubscriptionData(
            state=subscribed.state,
            url=subscribed.url,
            topics=list(subscribed.topics),
            ids=list(subscribed.ids),
            error=subscribed.error,
        ),
        polls=None if driver and driver.polls else [],
        created_at=api_time(installation.created_at),
        updated_at=api_time(installation.updated_at),
    )


def _masked(known: Mapping[str, str], public: frozenset[str]) -> dict[str, str]:
    return {name: value if name in public else mask(value) for name, value in known.items()}


def _previous(installation: Installation, now: int) -> Iterator[tuple[Mapping[str, str], int]]:
    for secret in installation.secrets:
        if secret.until is not None and secret.until > now:
            yield {SECRET: secret.value}, secret.until
    for earlier in alive(installation, now):
        yield earlier.credentials, earlier.until


def ingest_url(installation: Installation, base_url: str) -> str:
    """Where the provider sends its webhooks."""
    return f"{base_url}/hooks/{installation.driver}/{installation.ingest_token}"
