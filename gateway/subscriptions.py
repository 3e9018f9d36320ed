"""Webhooks registered at the provider: one durable job for each installation sees to it that those
that should be there are there, and no others of ours.

It looks again every day, because providers switch off what failed too often; a change of the
installation has it look at once. What comes of it is kept in `Installation.info`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, NamedTuple

from drivers import BY_SLUG
from drivers.base import Driver
from drivers.describe import Hook, HookWish, Webhooks
from gateway import log
from gateway.changes import change
from gateway.job_state import add_absent, hurried, stored_docs
from gateway.jobs import DONE, Done
from gateway.models import Installation, Secret, from_record, to_record
from gateway.parts import Parts
from gateway.provider_api import ApiError, ProviderApi
from gateway.store.base import Job, NewJob, Record
from gateway.subscription_rules import STATE, has_credentials, is_ours, wants, webhooks_of
from gateway.sweep import MISREAD
from schemas import codec
from schemas.errors import ConflictError, NotFoundError

SUBSCRIBE, UNSUBSCRIBE = "subscribe", "unsubscribe"
PURPOSE = "subscription"  # of the key that tells secrets apart
LOOK_AGAIN = 86_400.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 3600.0
MOST_TRIES = 8  # of removing what belongs to nobody any more
SETTINGS = ("api_base_url", "api_version", "shop", "store_url", "subscribe", "webhook_topics")


class Found(NamedTuple):
    """What is registered, and why the rest is not."""

    hooks: list[Hook]
    errors: list[str]


class Subscriptions:
    """Runs the jobs of kind `subscribe` and `unsubscribe`."""

    def __init__(self, parts: Parts, api: ProviderApi) -> None:
        self._store, self._directory, self._api = parts.store, parts.directory, api
        self._vault, self._base_url = parts.keys.vault, parts.settings.base_url
        self._ids, self._now = parts.ids, parts.now

    async def ensure(self, installation: Installation) -> None:
        """Have the job look again when what it goes by has changed."""
        if webhooks_of(installation) is None:
            return
        name = _job_name(installation)
        doc = (await stored_docs(self._store.database, [name])).get(name)
        if doc is None:
            if wants(installation, self._base_url) or installation.info.get(STATE):
                made = codec.dumps({"installation_id": installation.id})
                job = NewJob(id=self._ids(), kind=SUBSCRIBE, unique=name, doc=made)
                await add_absent(self._store.database, job)
        elif doc.get("wish") != self._wish(installation):
            await hurried(self._store.database, name)

    async def ensure_all(self) -> None:
        """At start: our own address may be another now."""
        for installation in self._directory.installations():
            await self.ensure(installation)

    async def end(self, installation: Installation) -> None:
        """An installation is about to be removed: so will be its webhooks. The job carries what it
        takes, sealed.
        """
        hooks = webhooks_of(installation)
        driver = BY_SLUG.get(installation.driver)
        if hooks is None or driver is None or not installation.info.get(STATE, {}).get("ids"):
            return
        record = to_record("installation", installation, self._vault)
        doc = {"id": record.id, "tenant": record.tenant, "doc": record.doc}
        await self._store.log.put_job(
            NewJob(
                id=self._ids(),
                kind=UNSUBSCRIBE,
                unique=f"{UNSUBSCRIBE}/{installation.id}",
                doc=codec.dumps(doc),
            )
        )

    async def run(self, job: Job) -> float | Done | None:
        """Look, and mend what is not as it should be; see jobs.Runner."""
        doc = codec.loads(job.doc)
        one = self._directory.installation(doc["installation_id"])
        hooks = webhooks_of(one) if one else None
        if one is None or hooks is None or (one.status == "error" and one.info.get(STATE)):
            return LOOK_AGAIN if one and hooks else None
        doc["wish"], pause = self._wish(one), LOOK_AGAIN
        try:
            wanted = self._topics(one, hooks) if wants(one, self._base_url) else []
            found = None
            if wanted or (one.info.get(STATE) and has_credentials(one)):
                found = await self._settle(one, hooks, wanted)
            await self._note(one, found if wanted else None, hooks)
            doc["failures"] = 0
        except ApiError as error:
            failures = doc["failures"] = doc.get("failures", 0) + (not error.waits)
            pause = error.after or min(FIRST_PAUSE * 2 ** min(failures, 7), LONGEST_PAUSE)
            if not error.waits:
                await self._failed(one, error.reason)
        current = self._directory.installation(one.id)
        if current is not None and self._wish(current) != doc["wish"]:
            pause = 0.0
        await self._store.log.finish_job(job, again_in=pause, doc=codec.dumps(doc))
        return DONE

    async def run_end(self, job: Job) -> float | None:
        """Remove the webhooks of an installation that is no more."""
        doc = codec.loads(job.doc)
        record = Record(
            kind="installation", id=doc["id"], tenant=doc["tenant"], name=doc["id"], doc=doc["doc"]
        )
        one = from_record(record, self._vault)
        hooks = webhooks_of(one) if isinstance(one, Installation) else None
        if not isinstance(one, Installation) or hooks is None:
            return None
        try:
            await self._settle(one, hooks, [])
        except (ConflictError, NotFoundError) as error:
            log.get().warning("unsubscribe.given_up", driver=one.driver, reason=str(error))
        except ApiError as error:
            if not error.permanent and job.attempts < MOST_TRIES:
                return error.after or min(FIRST_PAUSE * 2.0**job.attempts, LONGEST_PAUSE)
            log.get().warning("unsubscribe.given_up", driver=one.driver, reason=error.reason)
        return None

    async def _settle(
        self, one: Installation, hooks: Webhooks, wanted: list[tuple[str, ...]]
    ) -> Found:
        """Make what is missing, then remove what is ours and not wanted. Raises ApiError."""
        driver, url = BY_SLUG[one.driver], self._url(one)
        listed = await self._ask(driver, one, hooks.list, hooks.read, one.settings)
        ours = [hook for hook in listed if is_ours(hook.url, one)]
        found, known = Found([], []), None
        for topics in wanted:
            kept = next((h for h in ours if self._serves(h, url, topics, hooks, one)), None)
            if kept is None:
                try:
                    known = known or await self._about(driver, one, hooks)
                    kept = await self._make(driver, one, hooks, topics, known)
                except ApiError as error:
                    if not (hooks.each and error.permanent):
                        raise
                    found.errors.append(error.reason)
                    continue
            found.hooks.append(kept)
        stay = {hook.id for hook in found.hooks}
        for hook in ours:
            if hook.id not in stay:
                fetch = hooks.remove(hook.id, one.settings)
                await self._gone(driver, one, fetch)
        return found

    def _serves(
        self, hook: Hook, url: str, topics: tuple[str, ...], hooks: Webhooks, one: Installation
    ) -> bool:
        """Whether a webhook is as it should be, with a secret that we know."""
        state, secrets = one.info.get(STATE, {}), one.secrets_at(self._now())
        knows = {
            "app": True,
            "theirs": bool(secrets or hook.secret),
            "ours": state.get("secret") in {None, self._secret_mark(one)},
        }
        return (
            hook.live
            and hook.url == url
            and set(hook.topics) == set(topics)
            and knows[hooks.signs_with]
        )

    async def _make(
        self,
        driver: Driver,
        one: Installation,
        hooks: Webhooks,
        topics: tuple[str, ...],
        known: Any,
    ) -> Hook:
        """Register a webhook; a secret that it has is kept at once, since it is told only now."""
        secrets = one.secrets_at(self._now())
        wish = HookWish(
            url=self._url(one),
            topics=topics,
            secret=secrets[0] if secrets else "",
            settings=one.settings,
            known=known,
        )
        made: Hook = await self._ask(driver, one, hooks.create, hooks.made, wish)
        return made

    async def _about(self, driver: Driver, one: Installation, hooks: Webhooks) -> Any:
        fetch = hooks.about(one.settings)
        return await self._api.call(driver, one, fetch) if fetch else None

    async def _gone(self, driver: Driver, one: Installation, fetch: Any) -> None:
        try:
            await self._api.call(driver, one, fetch)
        except ApiError as error:
            if not error.permanent:
                raise

    async def _ask(
        self, driver: Driver, one: Installation, describe: Any, read: Any, given: Any
    ) -> Any:
        """A request that the driver describes, and its answer as the driver reads it."""
        try:
            fetch = describe(given)
        except MISREAD as error:
            raise ApiError(str(error), permanent=True) from error
        answer = await self._api.call(driver, one, fetch)
        try:
            return read(answer)
        except MISREAD as error:
            raise ApiError(f"{fetch.name}: {type(error).__name__}: {error}") from error

    async def _note(self, one: Installation, found: Found | None, hooks: Webhooks) -> None:
        """Keep what came of it, and a secret that was learned. None: nothing is registered."""
        state: dict[str, Any] | None = None
        learned: list[str] = []
        if found is not None:
            state = {
                "state": "active" if found.hooks else "failed",
                "url": self._url(one),
                "topics": sorted(topic for hook in found.hooks for topic in hook.topics),
                "ids": [hook.id for hook in found.hooks],
                "error": "; ".join(found.errors) or None,
            }
            if hooks.signs_with == "ours":
                state["secret"] = self._secret_mark(one)
            learned = [hook.secret for hook in found.hooks if hook.secret]

        def noted(current: Installation) -> Installation:
            info = {k: v for k, v in current.info.items() if k != STATE}
            info |= {STATE: state} if state else {}
            held = {secret.value for secret in current.secrets}
            new = tuple(Secret(value=s) for s in dict.fromkeys(learned) if s not in held)
            if info == current.info and not new:
                return current
            return current.model_copy(update={"info": info, "secrets": (*new, *current.secrets)})

        await self._change(one, noted)

    async def _failed(self, one: Installation, reason: str) -> None:
        """What is registered may still be there: only the reason is new."""

        def noted(current: Installation) -> Installation:
            known = current.info.get(STATE, {"topics": [], "ids": [], "url": self._url(current)})
            info = current.info | {STATE: known | {"state": "failed", "error": reason}}
            return current.model_copy(update={"info": info})

        log.get().warning(
            "subscription.failed", driver=one.driver, installation_id=one.id, reason=reason
        )
        await self._change(one, noted)

    async def _change(
        self, one: Installation, made: Callable[[Installation], Installation]
    ) -> None:
        current = self._directory.installation(one.id)
        if current is None or made(current) == current:
            return
        try:
            await change(
                self._directory, "installation", lambda: self._directory.installation(one.id), made
            )
        except (ConflictError, NotFoundError) as error:
            raise ApiError(f"the installation is changed by others: {error}") from error

    def _wish(self, one: Installation) -> str:
        """Changes when what the job goes by does: not when an access token is renewed."""
        told = [
            wants(one, self._base_url),
            self._url(one),
            [one.settings.get(name) for name in SETTINGS],
            sorted(one.credentials.items()),
        ]
        hooks = webhooks_of(one)
        if hooks is not None and hooks.signs_with == "ours":
            told.append(one.secrets_at(self._now())[:1])
        return self._mark(told)

    def _mark(self, told: Any) -> str:
        """What tells one value from another, and nothing of it."""
        key = self._vault.derived(PURPOSE)[0]
        return hmac.new(key, codec.dumps(told), hashlib.sha256).hexdigest()

    def _secret_mark(self, one: Installation) -> str | None:
        secrets = one.secrets_at(self._now())
        return self._mark([one.id, secrets[0]]) if secrets else None

    def _url(self, one: Installation) -> str:
        return f"{self._base_url}/hooks/{one.driver}/{one.ingest_token}"

    @staticmethod
    def _topics(one: Installation, hooks: Webhooks) -> list[tuple[str, ...]]:
        topics = tuple(dict.fromkeys(one.settings.get("webhook_topics") or hooks.topics))
        return [(topic,) for topic in topics] if hooks.each else [topics]


def _job_name(one: Installation) -> str:
    return f"{SUBSCRIBE}/{one.id}"
