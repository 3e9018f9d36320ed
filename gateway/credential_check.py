"""The life of an API key: proven when it is set, watched until it ends.

A key that the provider refuses is not taken. A provider that cannot be asked proves nothing: the
key is taken with a warning, and a durable job asks again. One whose end is known, because it is a
JWT or because the operator said so, is told a week before. One that nothing else would use is
tried once a day: else nobody learned that it was taken back.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from drivers import BY_SLUG
from drivers.base import Driver
from gateway.job_state import add_sooner
from gateway.models import Installation
from gateway.overlap import FELL_BACK, alive, versions
from gateway.parts import Parts
from gateway.provider_api import ApiError, ProviderApi
from gateway.standing import Move, Standing
from gateway.store.base import Job, NewJob
from schemas import codec
from schemas.errors import NotFoundError

CHECK = "check"
UNCHECKED = "unchecked"  # in Installation.info: why the credentials could not be proven
WARNED = "warned"  # in Installation.info: the end that was told
EXPIRES = "credentials_expire_at"  # in Installation.settings: an end that only the operator knows
SECOND = 1_000_000
AHEAD = 7 * 86_400 * SECOND
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
LATEST = 1e11  # seconds since 1970: beyond what a date can be
LONGEST_SLEEP = 86_400.0  # seconds, so that no clock has to be trusted for months


class CredentialChecks:
    """Runs the jobs of kind `check`. `now`: microseconds."""

    def __init__(self, parts: Parts, api: ProviderApi, standing: Standing) -> None:
        self._store, self._directory = parts.store, parts.directory
        self._ids, self._now = parts.ids, parts.now
        self._api, self._standing = api, standing

    async def prove(self, driver: Driver, installation: Installation) -> str | None:
        """Ask the provider whether it knows these credentials; they need not be stored yet. None
        when it does, or there is nothing to ask; else why that is not known.

        Raises ApiError (`unauthorized`) when it refuses them.
        """
        if not can_ask(driver, installation):
            return None
        try:
            await self._api.check(driver, installation)
        except ApiError as error:
            if error.unauthorized:
                raise
            return error.reason
        return None

    async def ensure(self, installation: Installation) -> None:
        """Give an installation that is worth watching its job; one it has comes no later."""
        if not _is_watched(installation):
            return
        job = NewJob(
            id=self._ids(),
            kind=CHECK,
            unique=f"{CHECK}/{installation.id}",
            doc=codec.dumps({"installation_id": installation.id}),
            due_in=self._wait(installation),
        )
        await add_sooner(self._store.database, job)

    def _wait(self, installation: Installation) -> float:
        """Seconds until a watched installation is to be looked at."""
        found, ends = [LONGEST_SLEEP, *self._until_dropped(installation)], ends_at(installation)
        if installation.status == "active":
            if UNCHECKED in installation.info:
                return 0.0
            if ends is not None and installation.info.get(WARNED) != ends:
                found.append(self._until_warning(ends))
        return min(found)

    def _until_dropped(self, installation: Installation) -> list[float]:
        """Seconds until each of its earlier credentials has had its time."""
        left = [(one.until - self._now()) / SECOND for one in installation.earlier]
        return [min(max(0.0, seconds), LONGEST_SLEEP) for seconds in left]

    def _until_warning(self, ends: int) -> float:
        """Seconds, at most a day."""
        return min(max(0.0, (ends - AHEAD - self._now()) / SECOND), LONGEST_SLEEP)

    async def ensure_all(self) -> None:
        """At start: every installation."""
        for installation in self._directory.installations():
            await self.ensure(installation)

    async def run(self, job: Job) -> float | None:
        """Look at one installation's credentials; see jobs.Runner."""
        ident = codec.loads(job.doc)["installation_id"]
        await self._directory.refresh("installation", ident)
        one = self._directory.installation(ident)
        driver = BY_SLUG.get(one.driver) if one else None
        if one is None or driver is None or not _is_watched(one):
            return None
        try:
            one = await self._drop(one)
            pauses = self._until_dropped(one)
            if one.status == "active":
                told = (await self._ask_again(driver, one, job), await self._warn(one))
                pauses += [pause for pause in told if pause is not None]
        except NotFoundError:
            return None
        return min(pauses, default=None)

    async def _drop(self, one: Installation) -> Installation:
        """Take away the earlier credentials whose time is over. The newest must do then: where they
        were refused last, that is asked once more.
        """
        if alive(one, self._now()) == one.earlier:
            return one

        def left(stored: Installation) -> Move:
            earlier, info = alive(stored, self._now()), stored.info
            if not earlier and FELL_BACK in info:
                info = noted(info, f"refused at last: {info[FELL_BACK]}")
            return {"earlier": earlier, "info": info}

        await self._standing.note(one.id, left)
        return self._directory.installation(one.id) or one

    async def _ask_again(self, driver: Driver, one: Installation, job: Job) -> float | None:
        """Prove what could not be proven, or is not used otherwise; gives when to try next, None
        when that is settled.
        """
        is_open, later = UNCHECKED in one.info, LONGEST_SLEEP if _is_quiet(one) else None
        if not is_open and later is None:
            return None
        try:
            unknown = await self.prove(driver, one)
            refusal = None
        except ApiError as error:
            unknown, refusal = None, error.reason
        if unknown is not None:
            pause: float = FIRST_PAUSE * 2 ** min(job.attempts - 1, 10)
            return min(pause, LONGEST_PAUSE) if is_open else later
        goes_on = refusal is None or await self._earlier_do(driver, one)
        if refusal is not None and not goes_on:
            await self._standing.refused(one, refusal)
        if is_open:
            await self._settle(one)
        if goes_on:
            await self._standing.fell_back(one, refusal)
        return later if goes_on else None

    async def _settle(self, one: Installation) -> None:
        """Its credentials were judged."""
        known = one.known_credentials

        def settled(current: Installation) -> Move:
            same = current.known_credentials == known
            return {"info": noted(current.info, None)} if same else None

        await self._standing.note(one.id, settled)

    async def _earlier_do(self, driver: Driver, one: Installation) -> bool:
        """Whether the provider takes credentials that it had before."""
        for version in versions(one, self._now())[1:]:
            with suppress(ApiError):
                await self.prove(driver, version)
                return True
        return False

    async def _warn(self, one: Installation) -> float | None:
        """Tell an end that comes near, once; gives when to look again."""
        ends = ends_at(one)
        if ends is None or one.info.get(WARNED) == ends:
            return None
        if ends - AHEAD > self._now():
            return self._until_warning(ends)

        def warned(current: Installation) -> Move:
            if ends_at(current) != ends:
                return None
            return {"info": current.info | {WARNED: ends}}

        told = {"expires_at": f"{datetime.fromtimestamp(ends // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"}
        await self._standing.move(one.id, "credentials.expiring", warned, told)
        return None


def ends_at(installation: Installation) -> int | None:
    """When the credentials that were given by hand end, in microseconds; None when nobody knows."""
    ends = [_jwt_end(value) for value in installation.credentials.values()]
    told = installation.settings.get(EXPIRES)
    if isinstance(told, str):
        ends.append(moment_of(told))
    return min((end for end in ends if end is not None), default=None)


def moment_of(text: str) -> int | None:
    """A date or time in ISO 8601 as microseconds, UTC unless it says otherwise."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(aware.timestamp()) * SECOND


def _jwt_end(text: str) -> int | None:
    """The `exp` of a JSON Web Token; None for what is none."""
    parts = text.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, Base64Error, RecursionError):
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    if not isinstance(end, int | float) or not 0 < end < LATEST:
        return None
    return int(end) * SECOND


def warnings(installation: Installation, name: str, now: int) -> list[str]:
    """What an operator should know of an installation's credentials. `name`: the provider's."""
    found = []
    unchecked = installation.info.get(UNCHECKED)
    if unchecked:
        found.append(f"the credentials could not be checked with {name}: {unchecked}")
    refused, earlier = installation.info.get(FELL_BACK), alive(installation, now)
    if refused and earlier:
        until = f"{datetime.fromtimestamp(earlier[0].until // SECOND, UTC):%Y-%m-%d %H:%M}"
        found.append(
            f"{name} refuses the new credentials ({refused}): those before them are used until"
            f" {until} UTC"
        )
    ends = ends_at(installation)
    if ends is not None and ends - AHEAD <= now:
        day = datetime.fromtimestamp(ends // SECOND, UTC)
        verb = "ended" if ends <= now else "end"
        found.append(f"the credentials {verb} on {day:%Y-%m-%d %H:%M} UTC: rotate them")
    return found


def noted(info: Mapping[str, Any], unknown: str | None) -> dict[str, Any]:
    """`info` with what `prove` gave."""
    kept = {n: value for n, value in info.items() if n not in {UNCHECKED, FELL_BACK}}
    return kept | ({UNCHECKED: unknown} if unknown is not None else {})


def _is_watched(installation: Installation) -> bool:
    ends = ends_at(installation)
    to_warn = ends is not None and installation.info.get(WARNED) != ends
    is_open = UNCHECKED in installation.info or to_warn or _is_quiet(installation)
    return bool(installation.earlier) or (installation.status == "active" and is_open)


def _is_quiet(installation: Installation) -> bool:
    """Whether its credentials can be tried, and nothing else would: no list is read with them."""
    driver = BY_SLUG.get(installation.driver)
    api = driver.api if driver else None
    if driver is None or api is None or driver.polls or not (api.probe or api.login):
        return False
    return can_ask(driver, installation)


def can_ask(driver: Driver, installation: Installation) -> bool:
    """Whether it has what the provider's API wants."""
    return driver.api is not None and bool(driver.api.used(installation.known_credentials))
