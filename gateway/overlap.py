"""Credentials that were rotated away and still count: whose turn it is, and when they go.

The new ones are used. Where the provider refuses them while the overlap runs, because it does not
know them yet, those before them are tried; what works is kept to for a while, so that not every
call is refused first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gateway.models import Earlier, Installation

FELL_BACK = "fell_back"  # in Installation.info: why the newest credentials are not in use
TRY_AGAIN = 60_000_000  # microseconds until the newest are tried again
MOST_EARLIER = 4


def versions(installation: Installation, now: int) -> tuple[Installation, ...]:
    """The installation, and then as it was with each of its earlier credentials, newest first."""
    before = [
        installation.model_copy(update={"credentials": one.credentials, "oauth": {}})
        for one in installation.earlier
        if one.until > now
    ]
    return (installation, *before)


def kept(installation: Installation, until: int, now: int) -> tuple[Earlier, ...]:
    """What still counts until then, beside credentials that take the place of the present ones."""
    found = [Earlier(credentials=installation.known_credentials, until=until)]
    found += [
        Earlier(credentials=one.credentials, until=min(one.until, until))
        for one in installation.earlier
    ]
    return tuple(one for one in found if one.until > now)[:MOST_EARLIER]


def alive(installation: Installation, now: int) -> tuple[Earlier, ...]:
    """The earlier credentials whose time is not over."""
    return tuple(one for one in installation.earlier if one.until > now)


class Turns:
    """Which credentials of an installation to call with first, as this process found them. `now`:
    microseconds.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._working: dict[str, tuple[Mapping[str, Any], Mapping[str, str], int]] = {}

    def of(self, installation: Installation) -> tuple[Installation, ...]:
        """In what order to try."""
        found = versions(installation, self._now())
        newest, works, until = self._working.get(installation.id, ({}, {}, 0))
        if newest != installation.known_credentials or until <= self._now():
            return found
        return tuple(sorted(found, key=lambda one: one.known_credentials != works))

    def worked(self, installation: Installation, version: Installation) -> None:
        """One of them did, where the newest were tried before it and refused, or are it."""
        if version is installation:
            self._working.pop(installation.id, None)
        else:
            known, works = installation.known_credentials, version.known_credentials
            self._working[installation.id] = (known, works, self._now() + TRY_AGAIN)

    def forget(self, ident: str) -> None:
        """An installation is gone."""
        self._working.pop(ident, None)
