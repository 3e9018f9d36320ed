"""Who is signed in: a sealed cookie that names the digest of an API key, never the key itself.

The key is looked up again at every request, so that revoking it ends its sessions at once. Each
session has a token that every form repeats, so that no other page can post in its name.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from gateway.security import RandomBytes, SecretsError, Vault, random_text

COOKIE, FLASH_COOKIE = "comporta_session", "comporta_flash"
LIFETIME = 12 * 3600  # seconds
RENEWED_AFTER = 3600  # seconds: an active session is given its whole life again, but not each time
FLASH_LIFETIME = 120
TOKEN_CHARACTERS = 32
_SESSION, _FLASH = "portal/session", "portal/flash"
SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """`digest`: of the API key, None before signing in. `token`: what forms repeat. `ends`:
    microseconds.
    """

    digest: str | None
    token: str
    ends: int

    def vouches(self, token: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(self.token.encode(), token.encode(errors="replace"))

    def is_aged(self, now: int) -> bool:
        """Whether its end should be put off."""
        return self.ends - now < (LIFETIME - RENEWED_AFTER) * SECOND


def new_session(random: RandomBytes, now: int, digest: str | None) -> Session:
    """A session that begins at `now`."""
    return Session(digest, random_text(random, TOKEN_CHARACTERS), now + LIFETIME * SECOND)


def seal(vault: Vault, session: Session) -> str:
    """The cookie's value."""
    return vault.seal(_SESSION, [session.digest, session.token, session.ends])


def unseal(vault: Vault, value: str | None, now: int) -> Session | None:
    """The session of a cookie; None when it has ended, or is not of our making."""
    if not value:
        return None
    try:
        digest, token, ends = vault.open(_SESSION, value)
    except SecretsError:
        return None
    return Session(digest, token, ends) if ends > now else None


def seal_flash(vault: Vault, told: dict[str, Any], now: int) -> str:
    """What the next page shows once, as a cookie's value."""
    return vault.seal(_FLASH, [now + FLASH_LIFETIME * SECOND, told])


def unseal_flash(vault: Vault, value: str | None, now: int) -> dict[str, Any] | None:
    """What the last page left to be shown, None when there is nothing (any more)."""
    if not value:
        return None
    try:
        ends, told = vault.open(_FLASH, value)
    except SecretsError:
        return None
    return dict(told) if ends > now else None
