"""Whether a tenant may use a driver: switched on or off, and with which OAuth client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drivers import BY_ID, BY_SLUG
from drivers.base import Driver
from gateway.directory import Directory
from gateway.models import DriverSettings
from schemas.errors import ConflictError


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """The client of a tenant's settings; empty where nothing is configured."""

    client_id: str = ""
    client_secret: str = ""


def driver_of(ident: str) -> Driver | None:
    """A driver by its id or its slug."""
    return BY_ID.get(ident) or BY_SLUG.get(ident)


def oauth_client(settings: DriverSettings | None) -> OAuthClient:
    """The client that authorises installations: the tenant's custom one where that is enabled."""
    if settings is None:
        return OAuthClient()
    if settings.custom_oauth_enabled:
        return OAuthClient(settings.custom_client_id, settings.custom_client_secret)
    return OAuthClient(settings.client_id, settings.client_secret)


def missing_for_oauth(settings: DriverSettings | None) -> list[str]:
    """The settings without which no installation can be authorised."""
    client = oauth_client(settings)
    where = "oauth_settings."
    if settings is not None and settings.custom_oauth_enabled:
        where += "custom_oauth."
    needed = {
        "oauth_settings.redirect_url": settings.redirect_url if settings else "",
        where + "client_id": client.client_id,
        where + "client_secret": client.client_secret,
    }
    return [path for path, value in needed.items() if not value]


def refuse_unusable(directory: Directory, tenant: str, driver: Driver) -> None:
    """Return when the tenant may install the driver. Raises ConflictError saying why not."""
    settings = directory.driver_settings(tenant, driver.slug)
    if driver.status == "disabled":
        raise ConflictError(f"{driver.name} is not available at the moment", code="driver_disabled")
    if settings is not None and not settings.enabled:
        raise ConflictError(
            f"{driver.name} is switched off: PUT /drivers/{driver.slug}/settings"
            ' with {"enabled": true}',
            code="driver_disabled",
        )


def refuse_unauthorisable(directory: Directory, tenant: str, driver: Driver) -> None:
    """Return when OAuth can start. Raises ConflictError saying which settings it lacks."""
    missing = missing_for_oauth(directory.driver_settings(tenant, driver.slug))
    if missing:
        raise ConflictError(
            f"{driver.name} is authorised by OAuth, which needs its settings first:"
            f" PUT /drivers/{driver.slug}/settings with {', '.join(missing)}"
            " (or install it with credentials)",
            code="driver_not_configured",
        )


async def ensure_enabled(
    directory: Directory, tenant: str, driver: Driver, ids: Callable[[], str], now: int
) -> None:
    """The first installation of a driver that was never configured switches it on."""
    if directory.driver_settings(tenant, driver.slug) is not None:
        return
    made = DriverSettings(id=ids(), tenant=tenant, driver=driver.slug, enabled=True, enabled_at=now)
    try:
        await directory.save("driver_settings", made)
    except ConflictError:
        return  # somebody configured it at this moment: theirs counts
