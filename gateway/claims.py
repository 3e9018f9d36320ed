"""Claim checks: URLs that fetch an event too large for its transport, signed and expiring.

Whoever holds the URL may read that one event, as whoever got the message would have. The signature
covers tenant, event and expiry; its keys are derived from the vault's, so that rotating those
rotates these, and a URL signed with an older key holds while that key is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from schemas.errors import ForbiddenError, GoneError

PURPOSE = "claims"  # what the vault derives the keys for
DAYS = 7  # a URL holds that long at least, and a day longer at most
_DAY = 86_400
_EXPIRES = re.compile(r"[0-9]{1,12}")
_REFUSED = "this claim URL is not ours, or not whole"


class Claims:
    """Signs and checks claim URLs. `keys`: newest first, the first signs. `now`: microseconds."""

    def __init__(self, keys: Sequence[bytes], base_url: str, now: Callable[[], int]) -> None:
        if not keys:
            raise ValueError("no key to sign claims with")
        self._keys, self._base_url, self._now = tuple(keys), base_url, now

    def __repr__(self) -> str:
        return f"Claims({self._base_url})"

    def url(self, tenant: str, event: str) -> str:
        """A URL of the whole event. It is the same all day, so that a retry sends what the first
        try sent.
        """
        today = self._now() // 1_000_000 // _DAY
        expires = str((today + DAYS + 1) * _DAY)
        query = {
            "tenant": tenant,
            "expires": expires,
            "signature": _signature(self._keys[0], tenant, event, expires),
        }
        return f"{self._base_url}/claims/{quote(event, safe='')}?{urlencode(query)}"

    def check(self, event: str, query: Mapping[str, str]) -> str:
        """The tenant of a claim that holds. Raises ForbiddenError, or GoneError when it has ended.

        `query`: the parameters of the URL.
        """
        tenant, expires = query.get("tenant", ""), query.get("expires", "")
        given = query.get("signature", "").encode(errors="replace")
        if not _EXPIRES.fullmatch(expires):
            raise ForbiddenError(_REFUSED, code="invalid_claim")
        signatures = (_signature(key, tenant, event, expires).encode() for key in self._keys)
        # sum, not any: the time it takes does not tell which key signed.
        if not sum(hmac.compare_digest(given, one) for one in signatures):
            raise ForbiddenError(_REFUSED, code="invalid_claim")
        if int(expires) * 1_000_000 <= self._now():
            raise GoneError("this claim URL has expired", code="claim_expired")
        return tenant


def _signature(key: bytes, tenant: str, event: str, expires: str) -> str:
    """Hexadecimal. Each part comes with its length: no two claims are signed as the same bytes."""
    parts = (part.encode(errors="surrogatepass") for part in (tenant, event, expires))
    text = b"".join(b"%d:%b," % (len(part), part) for part in parts)
    return hmac.new(key, text, hashlib.sha256).hexdigest()
