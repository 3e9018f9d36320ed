"""RS256 signatures over the raw body, verified with a provider's published key set (JWKS, RFC
7517).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from drivers.verify import MAX_PRESENTED, Claim, Draft
from schemas.errors import VerificationError
from schemas.request import Grant

SMALLEST_MODULUS = 2048  # bits


@dataclass(frozen=True, slots=True)
class Rs256:
    """RSASSA-PKCS1-v1_5 with SHA-256. `read` takes (key id, base64url signature) from a claim, or
    None.

    The keys come from `settings.jwks` of the installation, else from `grant.keys[url]`, which the
    gateway fetches and caches. A key counts when its id fits, `kty` is RSA, and `use` and `alg` do
    not say otherwise.
    """

    url: str
    read: Callable[[Claim], tuple[str, str] | None]
    binds_body: bool = field(default=True, init=False)
    window: int | None = field(default=None, init=False)
    needs_secret: bool = field(default=False, init=False)
    reveals_secret: bool = field(default=False, init=False)

    def check(self, claim: Claim, grant: Grant) -> None:
        """See verify.Scheme."""
        presented = self.read(claim)
        if presented is None:
            raise VerificationError("the signature is missing or not of the documented form")
        key_id, signature = presented
        try:
            raw = decode_base64url(signature)
            self._key(key_id, grant).verify(raw, claim.inbound.body, PKCS1v15(), SHA256())
        except (InvalidSignature, ValueError, TypeError, KeyError) as error:
            raise VerificationError("the signature does not match") from error

    def _key(self, key_id: str, grant: Grant) -> Any:
        document = grant.settings.get("jwks") or grant.keys.get(self.url)
        keys = document.get("keys") if isinstance(document, Mapping) else None
        for key in keys if isinstance(keys, list) else ():
            if isinstance(key, Mapping) and key.get("kid") == key_id and _is_usable(key):
                modulus, exponent = (_integer(key[name]) for name in ("n", "e"))
                if modulus.bit_length() >= SMALLEST_MODULUS:
                    return RSAPublicNumbers(exponent, modulus).public_key()
        raise VerificationError("no key of the provider's key set has this id")

    def sign(self, draft: Draft) -> None:
        """Only the provider can sign; a sample keeps the signature it came with."""


def _is_usable(key: Mapping[str, Any]) -> bool:
    stated = key.get("kty"), key.get("use", "sig"), key.get("alg", "RS256")
    return stated == ("RSA", "sig", "RS256")


def decode_base64url(text: str) -> bytes:
    """Bytes of base64url with or without padding. Raises ValueError."""
    match = re.fullmatch(r"([A-Za-z0-9_-]*)={0,2}", text)
    if match is None or len(text) > MAX_PRESENTED:
        raise ValueError("not base64url")
    return urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))


def _integer(value: Any) -> int:
    return int.from_bytes(decode_base64url(str(value)), "big")
