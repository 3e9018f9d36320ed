"""Credentials on their way in: proven by the provider before they are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drivers.base import Driver
from gateway.api.driver_shape import SECRET
from gateway.api.route import Call
from gateway.changes import change
from gateway.credential_check import UNCHECKED, noted
from gateway.driver_setup import driver_of
from gateway.models import Installation
from gateway.provider_api import ApiError
from schemas.errors import Detail, InvalidError


async def proven(call: Call, driver: Driver, wanted: Installation) -> dict[str, Any]:
    """What is known of credentials that are to be kept, as their `info`. Raises InvalidError when
    the provider refuses them.
    """
    try:
        unknown = await call.services.checks.prove(driver, wanted)
    except ApiError as error:
        message = f"{driver.name} refuses these credentials ({error.reason})"
        names = driver.api.used(wanted.known_credentials) if driver.api else ()
        details = tuple(Detail(f"credentials.{name}", message) for name in names)
        raise InvalidError(message, code="credentials_refused", details=details) from None
    return noted(wanted.info, unknown)


async def keep_proven(
    call: Call, one: Installation, made: Callable[[Installation], Installation]
) -> Installation:
    """Store a change, once the provider was asked about credentials that are new in it."""
    driver, wanted = driver_of(one.driver), made(one)
    info: dict[str, Any] | None = None
    if driver is not None and wanted.known_credentials != one.known_credentials:
        info = await proven(call, driver, wanted)

    def kept(current: Installation) -> Installation:
        new = made(current)
        return (
            new
            if info is None
            else new.model_copy(update={"info": noted(new.info, info.get(UNCHECKED))})
        )

    directory = call.services.directory
    return await change(directory, "installation", lambda: directory.installation(one.id), kept)


def held(one: Installation, credentials: dict[str, str]) -> dict[str, Any]:
    """The fields that hold credentials beside the secret. An access token that is given by hand
    takes the place of the one that OAuth gave; what was there before counts no more.
    """
    update: dict[str, Any] = {"credentials": {n: v for n, v in credentials.items() if n != SECRET}}
    if update["credentials"] != one.credentials:
        update["earlier"] = ()
    if credentials.get("access_token") not in {None, one.credentials.get("access_token")}:
        update["oauth"] = {}
    return update
