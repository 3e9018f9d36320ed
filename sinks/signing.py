"""Signatures of outgoing webhooks: Standard Webhooks, and upstream's short-lived JWT.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence

import orjson

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64
JWT_SECONDS = 600


def new_secret(random: bytes) -> str:
    """A signing secret from 24 to 64 random bytes."""
    if not MIN_BYTES <= len(random) <= MAX_BYTES:
        raise ValueError(f"a signing secret has {MIN_BYTES} to {MAX_BYTES} bytes")
    return PREFIX + base64.b64encode(random).decode()


def secret_key(secret: str) -> bytes:
    """The key that a `whsec_…` secret spells. Raises ValueError saying what it should look like."""
    prefix, _, encoded = secret.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True) if prefix + "_" == PREFIX else b""
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError(f"a signing secret is {PREFIX} followed by base64")
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise ValueError(f"a signing secret has {MIN_BYTES} to {MAX_BYTES} bytes")
    return key


def signature(keys: Sequence[bytes], ident: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one `v1,` per key. `timestamp`: seconds. `body`: before any
    compression.
    """
    return sealed([seal(key) for key in keys], ident, timestamp, body)


def seal(key: bytes) -> hmac.HMAC:
    """A key made ready, for who signs often."""
    return hmac.new(key, digestmod="sha256")


def sealed(seals: Sequence[hmac.HMAC], ident: str, timestamp: int, body: bytes) -> str:
    """What `signature` gives."""
    return " ".join(
        _sealed(one.copy(), b"%b.%d." % (ident.encode(), timestamp), body) for one in seals
    )


def _sealed(mac: hmac.HMAC, start: bytes, body: bytes) -> str:
    mac.update(start)
    mac.update(body)
    return "v1," + binascii.b2a_base64(mac.digest(), newline=False).decode()


def bearer(key: str, now: int) -> str:
    """The Authorization header upstream makes of `jwt_key`: an HS256 JWT. `now`: seconds."""
    claims = {"iat": now, "exp": now + JWT_SECONDS, "app": "evolution", "action": "webhook"}
    head = _segment(b'{"alg":"HS256","typ":"JWT"}') + b"." + _segment(orjson.dumps(claims))
    seal = _segment(hmac.digest(key.encode(), head, "sha256"))
    return f"Bearer {head.decode()}.{seal.decode()}"


def _segment(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
