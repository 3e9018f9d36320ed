"""What a body makes of a driver's settings: merged over what is stored, then held against what the
driver has to configure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, StrictBool

from drivers.base import Driver
from gateway.api.route import validate
from gateway.api.text import Body
from gateway.models import DriverSettings
from gateway.security import is_masked
from schemas.errors import Detail, InvalidError

# What the answer shows beside what can be set: a client may send back all it got.
ECHOED = frozenset(
    "custom_oauth_enabled_at custom_oauth_can_be_edited enabled_at created_at updated_at"
    " driver".split()
)
Text = Annotated[str, Field(max_length=2048, pattern=r"^[^\x00-\x1f\x7f]*$")]


class CustomOAuthBody(Body):
    """The tenant's own OAuth client; a masked secret stays as it is."""

    client_id: Text | None = None
    client_secret: Text | None = None


def _object(value: Any) -> Any:
    """PHP writes an empty object as `[]`."""
    return {} if value == [] else value


class OAuthBody(Body):
    """`client_id` and `client_secret`: the OAuth client where no custom one is enabled."""

    redirect_url: Text | None = None
    client_id: Text | None = None
    client_secret: Text | None = None
    custom_oauth: Annotated[CustomOAuthBody | None, BeforeValidator(_object)] = None


class SettingsBody(Body):
    """Settings to create or change; what is left out stays."""

    enabled: StrictBool | None = None
    custom_oauth_enabled: StrictBool | None = None
    oauth_settings: Annotated[OAuthBody | None, BeforeValidator(_object)] = None


# Setting path -> field of DriverSettings.
FIELDS: Mapping[str, str] = {
    "enabled": "enabled",
    "custom_oauth_enabled": "custom_oauth_enabled",
    "oauth_settings.redirect_url": "redirect_url",
    "oauth_settings.client_id": "client_id",
    "oauth_settings.client_secret": "client_secret",
    "oauth_settings.custom_oauth.client_id": "custom_client_id",
    "oauth_settings.custom_oauth.client_secret": "custom_client_secret",
}


def merged(driver: Driver, base: DriverSettings, body: Any, *, is_new: bool) -> DriverSettings:
    """`base` with what `body` sets. Raises InvalidError with the paths of what is wrong.

    Settings that are new switch the driver on unless they say otherwise.
    """
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in ECHOED}
    given = dict(_leaves(validate(SettingsBody, body).model_dump(exclude_unset=True)))
    if is_new:
        given.setdefault("enabled", True)
    update, faults = {}, []
    for path, value in given.items():
        before = getattr(base, FIELDS[path])
        if is_masked(value):
            if not before:
                faults.append(Detail(path, "this is a masked value: send the secret itself"))
            continue
        if value is not None or isinstance(before, str):
            update[FIELDS[path]] = "" if value is None else value
    wanted = base.model_copy(update=update)
    faults += _faults(driver, base, wanted)
    if faults:
        raise InvalidError(details=tuple(faults))
    return wanted


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif prefix + name in FIELDS:
            yield prefix + name, value


def _faults(driver: Driver, base: DriverSettings, wanted: DriverSettings) -> Iterator[Detail]:
    rules = driver.available_settings
    for path, field in FIELDS.items():
        value = getattr(wanted, field)
        if value != getattr(base, field) and not _exists(driver, path):
            yield Detail(path, f"{driver.name} has no such setting")
        elif not value and wanted.enabled and _is_required(rules.get(path, {}), wanted):
            yield Detail(path, "is required")
        elif value and rules.get(path, {}).get("type") == "url" and not is_web_url(value):
            yield Detail(path, "must be an http or https URL without user info or fragment")


def _exists(driver: Driver, path: str) -> bool:
    """Every driver can be switched on and off; every OAuth driver has a client."""
    of_client = path.removeprefix("oauth_settings.") in {"client_id", "client_secret"}
    return (
        path == "enabled"
        or path in driver.available_settings
        or (driver.oauth is not None and of_client)
    )


def _is_required(rule: Mapping[str, Any], wanted: DriverSettings) -> bool:
    """`required`, or `required_if` another setting has a value: `custom_oauth_enabled,true`."""
    if rule.get("required"):
        return True
    path, _, value = str(rule.get("required_if", "")).partition(",")
    return path in FIELDS and str(getattr(wanted, FIELDS[path])).lower() == value


def is_web_url(text: str) -> bool:
    """Whether a browser can be sent there. Nothing is fetched, so any host will do."""
    if not text.isprintable() or " " in text or "\\" in text:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    return usable and "@" not in parts.netloc and not parts.fragment
