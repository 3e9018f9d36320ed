"""What a body makes of an installation: credentials by the driver's schema, settings by their type.

Every fault is found before anything is refused, each with its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError

from drivers.base import Driver
from gateway.api.driver_shape import SECRET, credentials_schema
from gateway.api.route import details_of
from gateway.api.text import storable
from gateway.credential_check import moment_of
from gateway.security import is_masked
from schemas import codec
from schemas.errors import Detail, InvalidError
from schemas.target import AllowList, InvalidTargetError, check_url

MAX_SETTINGS = 65_536  # bytes as JSON
MAX_CREDENTIAL = 8192  # characters
MINUTES_IN_YEAR = 525_600


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # what is a path, or unknown
        raise ValueError("must be a time zone such as America/Sao_Paulo") from error
    return name


def _key_set(document: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(document.get("keys"), list):
        raise ValueError("must be a JWK set: an object with a list of `keys`")  # noqa: TRY004 - pydantic reads ValueError
    return document


def _moment(text: str) -> str:
    if moment_of(text) is None:
        raise ValueError("must be a date or time in ISO 8601, such as 2027-01-31")
    return text


Short = Annotated[str, Field(max_length=255)]


class KnownSettings(BaseModel):
    """The settings that drivers share, by type; a driver's own ones pass as they are."""

    model_config = ConfigDict(extra="allow", strict=True)

    poll_interval: Annotated[float, Field(gt=0, le=MINUTES_IN_YEAR)] | None = None
    subscribe: StrictBool | None = None
    webhook_products: Annotated[list[Short], Field(max_length=500)] | None = None
    reconcile_interval: Annotated[float, Field(ge=0, le=MINUTES_IN_YEAR)] | None = None
    webhook_topics: Annotated[list[Short], Field(max_length=500)] | None = None
    api_version: Short | None = None
    api_base_url: str | None = None
    abandoned_after_minutes: Annotated[int, Field(ge=0, le=MINUTES_IN_YEAR)] | None = None
    jwks: Annotated[dict[str, Any], AfterValidator(_key_set)] | None = None
    status_map: dict[str, Short] | None = None
    unsigned: StrictBool | None = None
    unsigned_plugins: list[Short] | None = None
    confirm_orders: StrictBool | None = None
    header_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")] | None = None
    organization_id: Short | None = None
    shop: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$")] | None = None
    timezone: Annotated[Short, AfterValidator(_zone)] | None = None
    credentials_expire_at: Annotated[Short, AfterValidator(_moment)] | None = None


@dataclass(slots=True)
class Faults:
    """What is wrong with a body, gathered."""

    found: list[Detail] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Note one fault."""
        self.found.append(Detail(path, message))

    def refuse(self) -> None:
        """Raise InvalidError when anything was noted."""
        if self.found:
            raise InvalidError(details=tuple(self.found))


def read_credentials(
    driver: Driver, given: Mapping[str, Any], stored: Mapping[str, str], faults: Faults
) -> dict[str, str]:
    """`stored` with what `given` sets: null and "" take away, masked values stay as they are."""
    schema, found = credentials_schema(driver), dict(stored)
    for name, value in given.items():
        path = f"credentials.{name}"
        if name not in schema:
            faults.add(path[:120], f"{driver.name} has no such credential, but {', '.join(schema)}")
        elif is_masked(value):
            if name not in stored:
                faults.add(path, "this is a masked value: send the credential itself")
        elif value is None or value == "":
            found.pop(name, None)
            if value == "" and name == SECRET and driver.scheme.needs_secret:
                faults.add(path, f"must not be empty: {driver.name} signs its deliveries")
        elif not isinstance(value, str) or len(value) > MAX_CREDENTIAL or not storable(value):
            faults.add(path, f"must be text of at most {MAX_CREDENTIAL} characters")
        else:
            found[name] = value
    blamed = {fault.path for fault in faults.found}
    for name, known in schema.items():
        if known.required and name not in found and f"credentials.{name}" not in blamed:
            faults.add(f"credentials.{name}", f"is required by {driver.name}")
    return found


def read_settings(
    given: Mapping[str, Any],
    stored: Mapping[str, Any],
    faults: Faults,
    *,
    allow: AllowList,
    require_https: bool,
) -> dict[str, Any]:
    """`stored` with `given` merged in (RFC 7386: null takes away, objects merge), checked."""
    found: dict[str, Any] = _plain(merge(stored, given))
    if len(codec.dumps(found)) > MAX_SETTINGS:
        faults.add("settings", f"must be at most {MAX_SETTINGS} bytes of JSON")
        return found
    if not storable(found):
        faults.add("settings", "must not hold NUL characters or half surrogate pairs")
        return found
    try:
        KnownSettings.model_validate(found)
    except ValidationError as error:
        for detail in details_of(error):
            faults.add(f"settings.{detail.path}", detail.message)
    base = found.get("api_base_url")
    if isinstance(base, str):
        try:
            check_url(base, allow, require_https=require_https)
        except InvalidTargetError as error:
            faults.add("settings.api_base_url", error.message)
    return found


def merge(before: Any, given: Any) -> Any:
    """`before` with a merge patch applied.

    https://www.rfc-editor.org/rfc/rfc7386
    """
    if not isinstance(given, Mapping):
        return given
    merged = dict(before) if isinstance(before, Mapping) else {}
    for name, value in given.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _plain(value: Any) -> Any:
    """Settings are no money: what JSON writes with a fraction may be a float."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
