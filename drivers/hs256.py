"""JSON Web Tokens signed with a shared secret (HS256, RFC 7519), sent as `Bearer`."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drivers.claim import Claim, Draft, Header
from drivers.jwks import decode_base64url
from drivers.verify import MAX_PRESENTED, any_match
from schemas.errors import VerificationError
from schemas.request import Grant

BEARER = "Bearer "


@dataclass(frozen=True, slots=True)
class Hs256:
    """A token that proves who sends, not what was sent. `claims`: what it must say.
    `needs_secret=False` where a `Choice` has another scheme for installations without a secret.

    `window`: seconds between its `iat` and the receipt, either way. It counts instead of `exp`,
    because a sender that makes one token per event presents an expired one with its later tries.
    """

    at: Header
    claims: Mapping[str, str] = field(default_factory=dict)
    window: int = 1800
    needs_secret: bool = True
    binds_body: bool = field(default=False, init=False)
    reveals_secret: bool = field(default=False, init=False)

    def is_presented(self, claim: Claim, _grant: Grant) -> bool:
        """Evidence for `Choice`: something of a token's form."""
        return self._token(claim).count(".") == 2

    def check(self, claim: Claim, grant: Grant) -> None:
        """See verify.Scheme."""
        signed, _, signature = self._token(claim).rpartition(".")
        head, _, body = signed.partition(".")
        expected = (_signature(secret, signed) for secret in grant.secrets if secret)
        if not any_match([signature.rstrip("=")], expected):
            raise VerificationError("the token's signature does not match")
        told = _object(body)
        claims = all(told.get(name) == value for name, value in self.claims.items())
        if _object(head).get("alg") != "HS256" or not claims:
            raise VerificationError("the token is not of the documented form")
        issued = told.get("iat")
        if isinstance(issued, bool) or not isinstance(issued, int):
            raise VerificationError("the token does not say when it was made")
        if abs(int(claim.inbound.received_at.timestamp()) - issued) > self.window:
            raise VerificationError("the token's time is outside the tolerated window")

    def sign(self, draft: Draft) -> None:
        """See verify.Scheme."""
        told = {"iat": draft.now, "exp": draft.now + 600, **self.claims}
        signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(told)}"
        self.at.write(draft, f"{BEARER}{signed}.{_signature(draft.secret, signed)}")

    def _token(self, claim: Claim) -> str:
        value = self.at.read(claim) or ""
        return value.removeprefix(BEARER).strip() if len(value) <= MAX_PRESENTED else ""


def _signature(secret: str, signed: str) -> str:
    key, message = (text.encode("utf-8", "surrogatepass") for text in (secret, signed))
    return _base64url(hmac.digest(key, message, "sha256"))


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


def _object(encoded: str) -> dict[str, Any]:
    """What a part of a token says; only called once its signature holds."""
    try:
        found = json.loads(decode_base64url(encoded))
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
