"""Keys and secrets: who may do what, and how what must stay secret is kept.

API keys have 190 bits of randomness, so a plain SHA-256 is a safe way to store them and one lookup
finds them. Secrets at rest are Fernet tokens (AES-128-CBC + HMAC) that carry the name of the row
they belong to, so that a ciphertext moved to another row does not open.
https://cryptography.io/en/latest/fernet/
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from schemas import codec

PERMISSIONS = (
    "DRIVERS_MANAGE",
    "INSTALLATIONS_MANAGE",
    "SINKS_MANAGE",
    "EVENTS_READ",
    "EVENTS_WRITE",
    "EVENTS_REPLAY",
    "KEYS_MANAGE",
)
EVERYTHING = "*"
KEY_PREFIX = "cmp_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARS, _CHECK_CHARS = 34, 6
MASK = "********"

RandomBytes = Callable[[int], bytes]


class SecretsError(Exception):
    """A stored secret cannot be opened: the key it was written with is not among
    COMPORTA_SECRET_KEYS.
    """


def random_text(random: RandomBytes, length: int) -> str:
    """`length` characters of 62, uniformly."""
    picked: list[str] = []
    while len(picked) < length:
        picked.extend(_ALPHABET[b % 62] for b in random(length) if b < 248)  # 248 = 4 * 62: no bias
    return "".join(picked[:length])


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode(errors="replace")), ""
    for _ in range(_CHECK_CHARS):
        number, index = divmod(number, 62)
        digits = _ALPHABET[index] + digits
    return digits


def new_api_key(random: RandomBytes) -> str:
    """`cmp_` and 40 characters, the last six a checksum: see `is_mistyped`."""
    body = random_text(random, _RANDOM_CHARS)
    return KEY_PREFIX + body + _checksum(body)


def is_mistyped(key: str) -> bool:
    """Whether a key looks like one of ours, but was not made by us: cut off or changed on its way.
    The key an operator gives may look like anything.
    """
    if not key.startswith(KEY_PREFIX):
        return False
    body = key.removeprefix(KEY_PREFIX)
    head, check = body[:_RANDOM_CHARS], body[_RANDOM_CHARS:]
    return not hmac.compare_digest(check.encode(errors="replace"), _checksum(head).encode())


def digest(token: str) -> str:
    """How a key or an ingest token is stored and looked up."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request acts as. `instance`: the only one it may touch, None for all of the
    tenant's.
    """

    tenant: str
    key_id: str
    name: str
    permissions: frozenset[str]
    instance: str | None = None

    def may(self, permission: str) -> bool:
        """Whether this permission was given."""
        return EVERYTHING in self.permissions or permission in self.permissions

    def sees(self, instance: str) -> bool:
        """Whether an instance of the tenant is within its limit."""
        return self.instance is None or self.instance == instance

    @property
    def instances(self) -> frozenset[str] | None:
        """The limit as a set for queries, None for no limit."""
        return None if self.instance is None else frozenset((self.instance,))


class Vault:
    """Seals and opens secrets. The first key writes, every key reads."""

    __slots__ = ("_fernet", "_keys", "_newest")

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
            self._newest = Fernet(keys[0])
            self._keys = tuple(map(base64.urlsafe_b64decode, keys))
        except ValueError as error:
            raise SecretsError(
                "COMPORTA_SECRET_KEYS: each key is 32 bytes in url-safe base64"
            ) from error

    def __repr__(self) -> str:
        return "Vault()"

    def seal(self, row: str, value: Any) -> str:
        """A JSON value as a token bound to `row` (`kind/id`)."""
        return "enc:v1:" + self._fernet.encrypt(codec.dumps([row, value])).decode()

    def open(self, row: str, token: str) -> Any:
        """The sealed value. Raises SecretsError for another row's token or an unknown key."""
        try:
            sealed = self._fernet.decrypt(token.removeprefix("enc:v1:").encode())
        except InvalidToken:
            raise SecretsError(
                f"the secrets of {row} do not open with any of COMPORTA_SECRET_KEYS"
            ) from None
        bound, value = json.loads(sealed)  # written by us: numbers come back as they were
        if bound != row:
            raise SecretsError(f"the secrets of {row} belong to another row")
        return value

    def derived(self, purpose: str) -> tuple[bytes, ...]:
        """Keys for something else than sealing, newest first: one from each of ours, which none of
        them tells.
        """
        text = f"comporta/{purpose}".encode()
        return tuple(hmac.new(key, text, hashlib.sha256).digest() for key in self._keys)

    def is_current(self, token: str) -> bool:
        """Whether the newest key sealed this."""
        try:
            self._newest.decrypt(token.removeprefix("enc:v1:").encode())
        except InvalidToken:
            return False
        return True

    def rotate(self, token: str) -> str:
        """The same secret under the newest key. Raises SecretsError when no key opens it."""
        try:
            sealed = self._fernet.rotate(token.removeprefix("enc:v1:").encode())
        except InvalidToken:
            raise SecretsError(
                "a stored secret does not open with any of COMPORTA_SECRET_KEYS"
            ) from None
        return "enc:v1:" + sealed.decode()


def mask(value: str) -> str:
    """A secret as answers show it: enough to recognise it, nothing to use."""
    return MASK + value[-4:] if len(value) >= 16 else (MASK if value else "")


def is_masked(value: Any) -> bool:
    """Whether a client sent back what `mask` had shown."""
    return isinstance(value, str) and value.startswith(MASK)
