"""What an installation goes through: new URLs, new secrets, off and on again, authorised anew."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from drivers.base import Driver
from gateway.api.doc import Doc
from gateway.api.driver_shape import SECRET
from gateway.api.installation_answer import found_installation, shown, told
from gateway.api.installation_credentials import held, keep_proven
from gateway.api.installation_rules import Faults, read_credentials
from gateway.api.installation_shape import InstallationData
from gateway.api.installations import Object, needs_oauth, new_token
from gateway.api.paging import Data
from gateway.api.route import Call, Route, data
from gateway.api.text import Body, Overlap
from gateway.changes import change
from gateway.credential_check import can_ask
from gateway.driver_setup import driver_of, refuse_unauthorisable, refuse_unusable
from gateway.models import Installation, Secret
from gateway.overlap import kept
from gateway.security import digest
from schemas.errors import ConflictError

SECOND = 1_000_000
MOST_AT_ONCE = 5  # tokens or secrets that work at the same time
DAY = 86_400


class TokenRotation(Body):
    """`overlap_seconds`: how much longer the old ingest URL works."""

    overlap_seconds: Overlap = DAY


class SecretRotation(Body):
    """The new secret, by itself or among `credentials`; the provider's API is called with the new
    ones. `overlap_seconds`: how much longer the old secret verifies, and the old credentials are
    tried where the provider refuses the new ones.
    """

    secret: str | None = None
    credentials: Object
    overlap_seconds: Overlap = DAY


async def rotate_token(call: Call) -> web.Response:
    """A new ingest URL; the old one works `overlap_seconds` longer."""
    one, wish = found_installation(call), await call.model(TokenRotation)
    services = call.services
    now, token = services.now(), new_token(services.random)
    until = now + wish.overlap_seconds * SECOND

    def rotated(current: Installation) -> Installation:
        before = [(t, until if end is None else min(end, until)) for t, end in current.tokens]
        kept = [(t, end) for t, end in before if end > now][: MOST_AT_ONCE - 1]
        tokens = ((digest(token), None), *kept)
        return current.model_copy(update={"tokens": tokens, "ingest_token": token})

    return await shown(call, await _change(call, one, rotated))


async def rotate_credentials(call: Call) -> web.Response:
    """New credentials beside the old ones, for `overlap_seconds`."""
    one, wish = found_installation(call), await call.model(SecretRotation)
    driver, faults = _driver(one), Faults()
    given = dict(wish.credentials)
    if wish.secret is not None:
        given[SECRET] = wish.secret
    if not given:
        faults.add(SECRET, "send the new secret")
    now = call.services.now()
    until = now + wish.overlap_seconds * SECOND

    def rotated(current: Installation) -> Installation:
        live = [s for s in current.secrets if s.until is None or s.until > now]
        stored = ({SECRET: live[0].value} if live else {}) | current.credentials
        fresh = read_credentials(driver, given, stored, faults)
        faults.refuse()
        update = held(current, fresh)
        if "earlier" in update and can_ask(driver, current):
            update["earlier"] = kept(current, until, now)
        if fresh.get(SECRET) != stored.get(SECRET):
            update["secrets"] = _beside(fresh.get(SECRET), live, until, now)
            update["info"] = {k: v for k, v in current.info.items() if k != "default_secret"}
        if current.status == "error":
            update |= {"status": "active", "reason": None}
        return current.model_copy(update=update)

    return await shown(call, await keep_proven(call, one, rotated))


def _beside(fresh: str | None, live: list[Secret], until: int, now: int) -> tuple[Secret, ...]:
    old = [
        Secret(value=s.value, until=until if s.until is None else min(s.until, until))
        for s in live
        if s.value != fresh
    ]
    kept = [s for s in old if s.until and s.until > now][: MOST_AT_ONCE - 1]
    return (*((Secret(value=fresh),) if fresh else ()), *kept)


async def enable(call: Call) -> web.Response:
    """Take deliveries again; what was never authorised still waits for that."""
    one = found_installation(call)
    driver = _driver(one)
    refuse_unusable(call.services.directory, one.tenant, driver)

    def enabled(current: Installation) -> Installation:
        waits = _waits_for_oauth(driver, current)
        status = "pending_auth" if waits else "active"
        return current.model_copy(update={"status": status, "reason": None})

    return await shown(call, await _change(call, one, enabled))


async def disable(call: Call) -> web.Response:
    """Take nothing more: the ingest URL answers 404 until it is enabled again."""
    one = found_installation(call)
    off = {"status": "disabled", "reason": None}
    return await shown(
        call, await _change(call, one, lambda current: current.model_copy(update=off))
    )


async def authorize(call: Call) -> web.Response:
    """A fresh URL at which the installation is authorised."""
    one = found_installation(call)
    driver = _driver(one)
    if driver.oauth is None:
        raise ConflictError(f"{driver.name} is not authorised by OAuth but by its credentials")
    directory = call.services.directory
    refuse_unusable(directory, one.tenant, driver)
    refuse_unauthorisable(directory, one.tenant, driver)
    return data(told(call, one, call.services.oauth.begin(one)))


def _driver(one: Installation) -> Driver:
    driver = driver_of(one.driver)
    if driver is None:
        raise ConflictError(f"this gateway has no driver {one.driver} any more")
    return driver


def _waits_for_oauth(driver: Driver, one: Installation) -> bool:
    held = dict(one.credentials)
    if one.secrets and not one.info.get("default_secret"):
        held[SECRET] = one.secrets[0].value
    return needs_oauth(driver, held) and not one.oauth.get("access_token")


async def _change(call: Call, one: Installation, made: Any) -> Installation:
    directory = call.services.directory
    return await change(directory, "installation", lambda: directory.installation(one.id), made)


BUSY = "the driver is switched off or no more; or it is changed by others all the time"


def _route(action: str, handler: Any, summary: str, **more: Any) -> Route:
    more.setdefault("answers", {409: BUSY})
    return Route(
        method="POST",
        path=f"/installations/{{id}}/{action}",
        handler=handler,
        permission="INSTALLATIONS_MANAGE",
        summary=summary,
        tag="installations",
        answer=Data[InstallationData],
        **more,
    )


ROUTES: tuple[Route, ...] = (
    _route(
        "rotate-token",
        rotate_token,
        "A new ingest URL",
        body=TokenRotation,
        doc=Doc(examples={"The old one works for an hour more": {"overlap_seconds": 3600}}),
    ),
    _route(
        "rotate-credentials",
        rotate_credentials,
        "A new secret, or new API credentials",
        body=SecretRotation,
        doc=Doc(
            examples={
                "Both verify for a day": {"secret": "the-new-secret", "overlap_seconds": 86_400},
                "The old key serves where the new one is refused, for an hour": {
                    "credentials": {"client_secret": "the-new-key"},
                    "overlap_seconds": 3600,
                },
            }
        ),
    ),
    _route("enable", enable, "Take deliveries again"),
    _route("disable", disable, "Take no more deliveries"),
    _route(
        "authorize",
        authorize,
        "A fresh URL at which the installation is authorised",
        answers={409: "not an OAuth driver, or its settings are missing"},
    ),
)
