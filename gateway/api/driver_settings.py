"""A tenant's settings of a driver: on or off, and the OAuth client of its installations."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel

from drivers.base import Driver
from gateway.api.doc import Doc
from gateway.api.driver_shape import DriverRef, ref_of
from gateway.api.drivers import found_driver
from gateway.api.paging import Data
from gateway.api.route import Call, Route, data
from gateway.api.settings_rules import SettingsBody, merged
from gateway.api.times import api_time
from gateway.driver_setup import oauth_client
from gateway.models import DriverSettings, Secret
from gateway.security import mask
from schemas.errors import ConflictError, ForbiddenError, NotFoundError

SECRET_OVERLAP = 86_400_000_000  # microseconds a replaced client secret still verifies
FROZEN = (
    "an installation uses this driver: custom_oauth_enabled and oauth_settings.custom_oauth"
    " cannot change any more"
)


class CustomOAuth(BaseModel):
    """The tenant's own OAuth client."""

    client_id: str
    client_secret: str


class OAuthSettings(BaseModel):
    """`custom_oauth`: empty while it is not enabled."""

    redirect_url: str
    custom_oauth: CustomOAuth | list[str]
    client_id: str | None = None
    client_secret: str | None = None


class SettingsData(BaseModel):
    """Settings as they are shown; secrets masked."""

    enabled: bool
    custom_oauth_enabled: bool
    custom_oauth_enabled_at: str | None
    custom_oauth_can_be_edited: bool
    oauth_settings: OAuthSettings
    enabled_at: str | None
    created_at: str | None
    updated_at: str | None
    driver: DriverRef


async def show_settings(call: Call) -> web.Response:
    """The settings. Raises NotFoundError when the driver was never configured."""
    driver = found_driver(call)
    stored = call.services.directory.driver_settings(call.principal.tenant, driver.slug)
    if stored is None:
        raise NotFoundError(f"{driver.name} was never configured")
    return data(_shown(call, driver, stored))


async def put_settings(call: Call) -> web.Response:
    """Create or change the settings: what the body leaves out stays as it is."""
    driver, body = found_driver(call), await call.json()
    if call.principal.instance is not None:
        raise ForbiddenError("settings of a driver concern every instance; this key has only one")
    services, tenant = call.services, call.principal.tenant
    stored = services.directory.driver_settings(tenant, driver.slug)
    base = stored or DriverSettings(id=services.ids(), tenant=tenant, driver=driver.slug)
    wanted = merged(driver, base, body, is_new=stored is None)
    if _custom(wanted) != _custom(base) and _is_used(call, driver):
        raise ConflictError(FROZEN, code="custom_oauth_frozen")
    if wanted == stored:
        return data(_shown(call, driver, stored))
    saved = await services.directory.save("driver_settings", _dated(wanted, base, services.now()))
    await _renew_default_secrets(call, driver, base, saved)
    return data(_shown(call, driver, saved))


def _custom(settings: DriverSettings) -> tuple[bool, str, str]:
    return (
        settings.custom_oauth_enabled,
        settings.custom_client_id,
        settings.custom_client_secret,
    )


def _is_used(call: Call, driver: Driver) -> bool:
    installations = call.services.directory.installations(call.principal.tenant)
    return any(i.driver == driver.slug for i in installations)


def _dated(wanted: DriverSettings, before: DriverSettings, now: int) -> DriverSettings:
    """With the time at which each switch was last turned on; None while it is off."""
    update: dict[str, int | None] = {}
    if wanted.enabled is not before.enabled or not before.version:
        update["enabled_at"] = now if wanted.enabled else None
    if wanted.custom_oauth_enabled is not before.custom_oauth_enabled:
        update["custom_oauth_enabled_at"] = now if wanted.custom_oauth_enabled else None
    return wanted.model_copy(update=update)


async def _renew_default_secrets(
    call: Call, driver: Driver, before: DriverSettings, after: DriverSettings
) -> None:
    """Installations that verify by the OAuth client's secret follow it; the old one verifies for a
    while longer, because the provider changes over when it likes.
    """
    old, new = oauth_client(before).client_secret, oauth_client(after).client_secret
    if old == new or not new:
        return
    directory, until = call.services.directory, call.services.now() + SECRET_OVERLAP
    for one in directory.installations(call.principal.tenant):
        if one.driver == driver.slug and one.secrets and one.info.get("default_secret"):
            kept = tuple(Secret(value=s.value, until=until) for s in one.secrets[:1])
            update = {"secrets": (Secret(value=new), *kept)}
            await directory.save("installation", one.model_copy(update=update))


def _shown(call: Call, driver: Driver, settings: DriverSettings) -> SettingsData:
    custom: CustomOAuth | list[str] = []
    if settings.custom_oauth_enabled:
        custom = CustomOAuth(
            client_id=settings.custom_client_id, client_secret=mask(settings.custom_client_secret)
        )
    return SettingsData(
        enabled=settings.enabled,
        custom_oauth_enabled=settings.custom_oauth_enabled,
        custom_oauth_enabled_at=api_time(settings.custom_oauth_enabled_at),
        custom_oauth_can_be_edited=not _is_used(call, driver),
        oauth_settings=OAuthSettings(
            redirect_url=settings.redirect_url,
            custom_oauth=custom,
            client_id=settings.client_id or None,
            client_secret=mask(settings.client_secret) or None,
        ),
        enabled_at=api_time(settings.enabled_at),
        created_at=api_time(settings.created_at),
        updated_at=api_time(settings.updated_at),
        driver=ref_of(driver),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/drivers/{id}/settings",
        handler=show_settings,
        permission="DRIVERS_MANAGE",
        summary="The tenant's settings of a driver",
        tag="drivers",
        answer=Data[SettingsData],
    ),
    Route(
        method="PUT",
        path="/drivers/{id}/settings",
        handler=put_settings,
        permission="DRIVERS_MANAGE",
        summary="Create or change the tenant's settings of a driver",
        tag="drivers",
        body=SettingsBody,
        answer=Data[SettingsData],
        answers={409: "custom OAuth cannot change once an installation uses the driver"},
        doc=Doc(
            about="Merged over what is stored: what is left out stays, and so does a secret that"
            " comes back masked.",
            examples={
                "Switch the driver off": {"enabled": False},
                "The tenant's own OAuth client": {
                    "enabled": True,
                    "custom_oauth_enabled": True,
                    "oauth_settings": {
                        "redirect_url": "https://shop.example.com/connected",
                        "custom_oauth": {"client_id": "my-app", "client_secret": "its-secret"},
                    },
                },
            },
        ),
    ),
)
