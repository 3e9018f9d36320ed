"""A driver as the API shows it: the code's facts, and what the tenant made of them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from drivers.base import Driver
from gateway.api.language import Language
from gateway.api.times import api_time
from gateway.models import DriverSettings
from gateway.oauth import callback_url

SECRET = "secret"  # noqa: S105 - the name of a credential, not one


class CredentialShape(BaseModel):
    """One credential an installation may have. `secret`: shown masked only."""

    type: str = "string"
    label: str
    required: bool
    secret: bool


class DriverData(BaseModel):
    """`available_settings`: setting path -> how it is validated. `enabled`: for this tenant."""

    id: str
    name: str
    slug: str
    description: str
    version: str
    type: str
    status: str
    available_settings: dict[str, dict[str, Any]]
    supported_events: list[str]
    enabled: bool
    enabled_at: str | None
    created_at: str
    updated_at: str


class DriverDetail(DriverData):
    """With the credentials of its installations, and the vendor's page. `oauth_callback_url`: what
    to register at the provider as the client's redirect URL.
    """

    credentials_schema: dict[str, CredentialShape]
    oauth: bool
    oauth_callback_url: str | None
    docs_url: str


class DriverName(BaseModel):
    """For lists to choose from."""

    name: str
    slug: str


class DriverRef(BaseModel):
    """The driver that something belongs to."""

    id: str
    name: str
    slug: str


def ref_of(driver: Driver) -> DriverRef:
    """What names a driver inside other answers."""
    return DriverRef(id=driver.id, name=driver.name, slug=driver.slug)


def driver_data(driver: Driver, settings: DriverSettings | None, language: Language) -> DriverData:
    """A driver in a list."""
    return DriverData(**_facts(driver, settings, language))


def driver_detail(
    driver: Driver, settings: DriverSettings | None, language: Language, base_url: str
) -> DriverDetail:
    """A driver by itself. `base_url`: our public URL."""
    return DriverDetail(
        **_facts(driver, settings, language),
        credentials_schema=credentials_schema(driver),
        oauth=driver.oauth is not None,
        oauth_callback_url=callback_url(driver.slug, base_url) if driver.oauth else None,
        docs_url=driver.docs_url,
    )


def credentials_schema(driver: Driver) -> dict[str, CredentialShape]:
    """Every credential an installation of the driver takes, the signing secret first.

    An OAuth driver's secret is not required: its OAuth client's serves.
    """
    required = driver.scheme.needs_secret and driver.oauth is None
    found = {SECRET: CredentialShape(label="Webhook secret", required=required, secret=True)}
    for known in driver.credentials:
        found[known.name] = CredentialShape(
            label=known.label, required=known.required, secret=known.secret
        )
    if driver.oauth is not None and "access_token" not in found:
        found["access_token"] = CredentialShape(label="Access token", required=False, secret=True)
    return found


def _facts(driver: Driver, settings: DriverSettings | None, language: Language) -> dict[str, Any]:
    changed_at = api_time(settings.updated_at) if settings else None
    return {
        "id": driver.id,
        "name": driver.name,
        "slug": driver.slug,
        "description": driver.description[language],
        "version": driver.version,
        "type": driver.type,
        "status": driver.status,
        "available_settings": {path: dict(r) for path, r in driver.available_settings.items()},
        "supported_events": list(driver.supported_events),
        "enabled": settings is not None and settings.enabled,
        "enabled_at": api_time(settings.enabled_at) if settings else None,
        "created_at": driver.created_at,
        "updated_at": max(driver.updated_at, changed_at or ""),
    }
