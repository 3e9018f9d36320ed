"""Tokens that end, renewed before they do: one durable job per installation.

A job is held by one process at a time, and it reads the installation anew before it asks, so a
token is refreshed once however many processes there are. What the provider answered is stored
before the process lets go of it, also when it is told to stop: a refresh token that rotates is
worth nothing the second time. That it is about to ask, it writes down first: so a store that
cannot be written costs no token, and of an answer that a killed process did not store is known.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from drivers import BY_SLUG
from drivers.base import Driver
from drivers.describe import Token
from gateway import log
from gateway.changes import change
from gateway.driver_setup import oauth_client
from gateway.intake import micros
from gateway.job_state import LeaseLostError, add_sooner, keep_doc
from gateway.models import Installation
from gateway.parts import Parts
from gateway.provider_api import ApiError
from gateway.security import digest
from gateway.standing import Move, Standing
from gateway.store.base import Job, NewJob
from gateway.token_endpoint import TokenEndpoint
from schemas import codec
from schemas.errors import NotFoundError, StoreUnavailableError

REFRESH = "refresh"
AHEAD = 300_000_000  # microseconds before the end, or a fifth of a life shorter than 25 minutes
LIFE_SHARE = 5
SECOND = 1_000_000
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
STORE_PAUSE = 1.0
JUST_GOT = 60 * SECOND  # a token got in place of a refused one, refused at that age, is the last
SOON = 2.0
NEVER = 1 << 62
ASKING = "asking"  # in a job's document: when the token was got that is being renewed
LOST = "; this gateway was killed while it was renewed before, and the new token with it"

HURRY = "UPDATE jobs SET due_at = $1, doc = $2 WHERE ukey = $3 AND owner IS NULL RETURNING id"


def kept(
    token: Token, now: int, before: str | None = None, *, instead: bool = False
) -> dict[str, Any]:
    """A token as an installation keeps it (`Installation.oauth`); times in microseconds.

    `before`: the refresh token to go on with where the answer brings none. `instead`: it takes the
    place of one that the provider's API refused.
    """
    ends = None if token.expires_at is None else micros(token.expires_at)
    told = asdict(token) | {"expires_at": ends, "obtained_at": now, "instead": instead}
    return told | {"refresh_token": token.refresh_token or before}


@dataclass(frozen=True, slots=True)
class Held:
    """The token an installation holds. `ends`, `due`: microseconds; NEVER for no end."""

    text: str
    refresh_token: str | None
    obtained: int
    ends: int
    instead: bool = False

    @classmethod
    def of(cls, installation: Installation) -> Held | None:
        """None where OAuth gave no token."""
        kept = installation.oauth
        if not kept.get("access_token"):
            return None
        ends = kept.get("expires_at")
        return cls(
            text=str(kept["access_token"]),
            refresh_token=kept.get("refresh_token"),
            obtained=int(kept.get("obtained_at") or 0),
            ends=NEVER if ends is None else int(ends),
            instead=bool(kept.get("instead")),
        )

    @property
    def due(self) -> int:
        """When it is to be renewed, or, where it cannot be, given up."""
        if self.refresh_token is None or self.ends == NEVER:
            return self.ends
        return self.ends - min(AHEAD, max(0, self.ends - self.obtained) // LIFE_SHARE)


class Refreshes:
    """Runs the jobs of kind `refresh`; implements `provider_api.Access`. `now`: microseconds."""

    def __init__(self, parts: Parts, endpoint: TokenEndpoint, standing: Standing) -> None:
        self._store, self._directory = parts.store, parts.directory
        self._endpoint, self._standing = endpoint, standing
        self._ids, self._now = parts.ids, parts.now
        self._asking: set[asyncio.Task[float | None]] = set()

    async def ensure(self, installation: Installation) -> None:
        """Give an installation whose token ends its job; one it has comes no later than needed."""
        held = Held.of(installation)
        if held is None or held.due == NEVER or not _is_kept(installation):
            return
        wait = max(0, held.due - self._now()) / SECOND
        await self._add(installation.id, {}, wait)

    async def _add(self, ident: str, more: dict[str, str], wait: float) -> None:
        job = NewJob(
            id=self._ids(),
            kind=REFRESH,
            unique=_name(ident),
            doc=codec.dumps({"installation_id": ident} | more),
            due_in=wait,
        )
        await add_sooner(self._store.database, job)

    async def ensure_all(self) -> None:
        """At start: every installation."""
        for installation in self._directory.installations():
            await self.ensure(installation)

    async def ready(self, installation: Installation) -> Installation:
        """The installation as it is now, unless its token has ended; see provider_api.Access."""
        newest = self._directory.installation(installation.id) or installation
        held = Held.of(newest)
        if held is not None and held.ends <= self._now():
            await self._hurry(newest, held)
            raise ApiError(
                "the access token has ended and is being renewed", after=SOON, waits=True
            )
        return newest

    async def renewed(self, installation: Installation) -> Installation | None:
        """What to try instead of a token that was refused; see provider_api.Access."""
        held = Held.of(installation)
        if held is None:
            return None
        await self._directory.refresh("installation", installation.id)
        newest = self._directory.installation(installation.id)
        now_held = Held.of(newest) if newest else None
        if now_held is not None and now_held.text != held.text:
            return newest  # renewed by another process meanwhile
        is_last = held.instead and self._now() - held.obtained < JUST_GOT
        if newest is None or held.refresh_token is None or is_last:
            return None
        await self._hurry(newest, held)
        raise ApiError("the access token was refused and is being renewed", after=SOON, waits=True)

    async def refused(self, installation: Installation, reason: str) -> None:
        """An active installation is in error now; see provider_api.Access."""
        await self._standing.refused(installation, reason)

    async def fell_back(self, installation: Installation, reason: str | None) -> None:
        """It goes on, and says with what; see provider_api.Access."""
        await self._standing.fell_back(installation, reason)

    async def _hurry(self, installation: Installation, held: Held) -> None:
        """Renew now, because this very token is of no use any more."""
        rejected = {"rejected": digest(held.text)}
        doc = codec.dumps({"installation_id": installation.id} | rejected)
        now = await self._store.database.now()
        if not await self._store.database.write(HURRY, now, doc, _name(installation.id)):
            # A token without an end has no job yet; or somebody renews it at this moment.
            await self._add(installation.id, rejected, 0.0)

    async def run(self, job: Job) -> float | None:
        """Renew one token; see jobs.Runner. Goes on to the end even when it is told to stop."""
        task = asyncio.get_running_loop().create_task(self._run(job))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return await asyncio.shield(task)

    async def close(self, within: float) -> None:
        """Wait for what the provider was asked already, and for its answer to be stored."""
        if self._asking:
            await asyncio.wait(set(self._asking), timeout=within)

    async def _run(self, job: Job) -> float | None:
        doc = codec.loads(job.doc)
        ident = doc["installation_id"]
        await self._directory.refresh("installation", ident)
        one = self._directory.installation(ident)
        driver = BY_SLUG.get(one.driver) if one else None
        held = Held.of(one) if one else None
        if one is None or driver is None or held is None or not _is_kept(one):
            return None
        is_rejected = doc.get("rejected") == digest(held.text)
        if not is_rejected and held.due > self._now():
            return None if held.due == NEVER else (held.due - self._now()) / SECOND
        if held.refresh_token is None:
            await self._lose(one, held, "the access token has ended: authorise again")
            return None
        return await self._renew(driver, one, held, job, instead=is_rejected)

    async def _renew(
        self, driver: Driver, one: Installation, held: Held, job: Job, *, instead: bool
    ) -> float | None:
        """Ask for the next token, and store it."""
        client = oauth_client(self._directory.driver_settings(one.tenant, one.driver))
        refresh_token, doc = held.refresh_token or "", codec.loads(job.doc)
        was_killed = doc.get(ASKING) == held.obtained
        try:
            await keep_doc(self._store.database, job, doc | {ASKING: held.obtained})
            token = await self._endpoint.refresh(driver, one, client, refresh_token)
        except LeaseLostError:
            return None
        except ApiError as error:
            if error.permanent:
                reason = f"the provider refused to renew the access token: {error.reason}"
                await self._lose(one, held, reason + (LOST if was_killed else ""))
                return None
            if not was_killed:
                with suppress(LeaseLostError):
                    await keep_doc(self._store.database, job, doc)
            pause = min(FIRST_PAUSE * 2 ** min(job.attempts - 1, 10), LONGEST_PAUSE)
            log.get().warning(
                "oauth.not_refreshed", installation_id=one.id, reason=error.reason, next_in=pause
            )
            return pause if error.after is None else error.after
        fresh = kept(token, self._now(), refresh_token, instead=instead)
        saved = await self._keep(one.id, held, fresh)
        renewed = Held.of(saved) if saved else None
        log.get().info("oauth.refreshed", installation_id=one.id, driver=one.driver)
        if renewed is None or renewed.due == NEVER:
            return None
        return max(1.0, (renewed.due - self._now()) / SECOND)

    async def _keep(self, ident: str, before: Held, fresh: dict[str, Any]) -> Installation | None:
        """Store a new token, however long the store needs: there is no second one."""

        def renewed(current: Installation) -> Installation:
            held = Held.of(current)
            if held is None or held.refresh_token != before.refresh_token:
                return current  # authorised anew meanwhile: that is the newer word
            return current.model_copy(update={"oauth": fresh})

        while True:
            try:
                return await change(
                    self._directory,
                    "installation",
                    lambda: self._directory.installation(ident),
                    renewed,
                )
            except NotFoundError:
                return None
            except StoreUnavailableError as error:
                log.get().error("oauth.unsaved", installation_id=ident, error=error.message)
                await asyncio.sleep(STORE_PAUSE)

    async def _lose(self, one: Installation, held: Held, reason: str) -> None:
        """The installation has to be authorised anew."""

        def lost(current: Installation) -> Move:
            if current.status == "error" or Held.of(current) != held:
                return None
            return {"status": "error", "reason": reason, "oauth": {}}

        with suppress(NotFoundError):
            await self._standing.move(one.id, "oauth.refused", lost)


def _is_kept(installation: Installation) -> bool:
    """Whether its token is worth keeping alive: also while it is switched off."""
    return installation.status in {"active", "disabled"}


def _name(ident: str) -> str:
    return f"{REFRESH}/{ident}"
