"""How an installation stands with its provider, and telling its sinks when that changes.

A change is stored together with a note that it is still to be told; the note goes once the event is
stored. Whoever finds an old note tells it, so a crash in between loses nothing, and the note's own
id is the event's dedupe key, so nothing is told twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from gateway import log
from gateway.changes import change
from gateway.directory import Directory
from gateway.ids import Ulids
from gateway.intake import Intake, Origin
from gateway.models import Installation, Status
from gateway.overlap import FELL_BACK
from schemas.errors import ConflictError, NotFoundError, RequestError
from schemas.events import Event

OURS = "installation.updated"
UNTOLD = "untold"  # in Installation.info: the change that is still to be told
LOOK_EVERY = 30.0
TIME_TO_TELL = 30_000_000  # microseconds that whoever made a change has to tell it
Listener = Callable[[Installation, str], None]
Move = Mapping[str, Any] | None  # the fields of an installation that change
# How Evolution's clients read it: upstream's words for a connection, and HTTP's for the reason.
STATES: dict[Status, tuple[str, int]] = {
    "active": ("open", 200),
    "pending_auth": ("connecting", 401),
    "error": ("close", 401),
    "disabled": ("close", 403),
}


class Standing:
    """Moves installations from one status to another. `now`: microseconds."""

    def __init__(
        self, directory: Directory, intake: Intake, ids: Ulids, now: Callable[[], int]
    ) -> None:
        self._directory, self._intake = directory, intake
        self._ids, self._now = ids, now
        self._listeners: list[Listener] = []

    def listen(self, callback: Listener) -> None:
        """Have `callback` called with every installation that this process moves, and the status it
        had before.
        """
        self._listeners.append(callback)

    async def move(
        self,
        ident: str,
        cause: str,
        made: Callable[[Installation], Move],
        told: Mapping[str, Any] | None = None,
        *,
        is_known: bool = False,
    ) -> None:
        """Store what `made` turns the installation into, and tell it; None changes nothing.

        `cause`: what happened, as the event's `provider_event` (`oauth.authorized`). `told`: more
        for the event's data. `is_known`: it is an event of the provider's already, in our words;
        only those of Evolution API are told. `made` runs again when somebody else changed the
        installation meanwhile. Raises NotFoundError when it is gone, and whatever `made` raises.
        """
        note_id = self._ids()

        def noted(current: Installation) -> Installation:
            update = made(current)
            if update is None:
                return current
            note: dict[str, Any] = {"id": note_id, "from": current.status, "cause": cause}
            note |= {"at": self._now(), "more": dict(told or {}), "is_known": is_known}
            info = {**update.get("info", current.info), UNTOLD: note}
            return current.model_copy(update={**update, "info": info})

        saved = await change(
            self._directory, "installation", lambda: self._directory.installation(ident), noted
        )
        if saved.info.get(UNTOLD, {}).get("id") == note_id:
            log.get().info(
                "installation.moved",
                installation_id=ident,
                driver=saved.driver,
                status=saved.status,
                reason=saved.reason,
            )
            for listener in self._listeners:
                listener(saved, saved.info[UNTOLD]["from"])
            await self.tell(saved)

    async def refused(self, installation: Installation, reason: str) -> None:
        """The provider refuses the credentials: an active installation is in error now, unless
        somebody was faster, or gave it others meanwhile.
        """
        known = installation.known_credentials

        def lost(current: Installation) -> Move:
            if current.status != "active" or current.known_credentials != known:
                return None
            return {"status": "error", "reason": f"the provider refuses the credentials: {reason}"}

        with suppress(NotFoundError):
            await self.move(installation.id, "api.unauthorized", lost)

    async def fell_back(self, installation: Installation, reason: str | None) -> None:
        """It is called with earlier credentials, since the newest are refused; None: no more. That
        it cannot be noted is no reason not to go on.
        """
        known, stored = (
            installation.known_credentials,
            self._directory.installation(installation.id),
        )
        if stored is None or (FELL_BACK in stored.info) == (reason is not None):
            return

        def noted(current: Installation) -> Move:
            if current.known_credentials != known:
                return None
            info = {name: value for name, value in current.info.items() if name != FELL_BACK}
            return {"info": info if reason is None else info | {FELL_BACK: reason}}

        log.get().warning("installation.fell_back", installation_id=installation.id, reason=reason)
        with suppress(RequestError):
            await self.note(installation.id, noted)

    async def heard(self, installation: Installation, events: Sequence[Event]) -> None:
        """Act on what a provider's delivery told of the connection itself: that the owner took it
        back. One endpoint may hear of many accounts: those of others are not ours.
        """
        lost = [event.data for event in events if event.name == OURS]
        if not lost or lost[0].get("status") != "error":
            return
        about, reason = lost[0], f"the provider says: {lost[0].get('reason')}"
        account = installation.oauth.get("extra", {}).get("account")
        if "account" in about and about["account"] != account:
            return

        def taken_back(current: Installation) -> Move:
            is_news = current.status == "active"
            return {"status": "error", "reason": reason, "oauth": {}} if is_news else None

        with suppress(NotFoundError):
            await self.move(installation.id, "oauth.revoked", taken_back, is_known=True)

    async def note(self, ident: str, made: Callable[[Installation], Move]) -> None:
        """The same for what is nobody's news."""
        await change(
            self._directory,
            "installation",
            lambda: self._directory.installation(ident),
            lambda current: current.model_copy(update=made(current) or {}),
        )

    async def tell(self, installation: Installation) -> None:
        """Tell what is still to be told of an installation."""
        note = installation.info.get(UNTOLD)
        if not isinstance(note, dict):
            return
        origin = Origin.of(installation, self._now())
        await self._intake.emit(origin, _events(installation, note))

        def told(current: Installation) -> Installation:
            left = current.info.get(UNTOLD)
            if left != note:
                return current  # changed once more: that is told by itself
            info = {name: value for name, value in current.info.items() if name != UNTOLD}
            return current.model_copy(update={"info": info})

        try:
            ident = installation.id
            await change(
                self._directory, "installation", lambda: self._directory.installation(ident), told
            )
        except (ConflictError, NotFoundError):
            return  # the note stays, and is told again: as a duplicate

    async def watch(self) -> None:
        """For ever: tell what others left untold."""
        while True:
            before = self._now() - TIME_TO_TELL
            for one in self._directory.installations():
                note = one.info.get(UNTOLD)
                if isinstance(note, dict) and note.get("at", 0) <= before:
                    await self.tell(one)
            await asyncio.sleep(LOOK_EVERY)


def _events(installation: Installation, note: dict[str, Any]) -> tuple[Event, ...]:
    """The change in both vocabularies: ours, and Evolution API's."""
    status, reason = installation.status, installation.reason
    state, code = STATES[status]
    about = {
        "installation_id": installation.id,
        "name": installation.name,
        "driver": installation.driver,
        "status": status,
        "previous_status": note["from"],
        "reason": reason,
        **note.get("more", {}),
    }
    told: dict[str, Any] = {
        "key": installation.id,
        "dedupe_key": note["id"],
        "provider_event": note["cause"],
        "occurred_at": datetime.fromtimestamp(note["at"] / 1_000_000, UTC),
    }
    channel = {"instance": installation.instance, "state": state, "statusReason": code}
    events = (
        Event(name=OURS, data=about, **told),
        Event(name="connection.update", data=channel | about, **told),
    )
    return events[1:] if note.get("is_known") else events
