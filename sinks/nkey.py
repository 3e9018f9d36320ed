"""How a NATS client proves who it is without sending a password: nkeys, and credentials files.

https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth
nats-py's own reading never returns from a credentials text that holds no JWT.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED, _USER = 18 << 3, 20 << 3  # prefix bytes: they make the text start with S and U
_BLOCK = r"-+BEGIN {}-+\s*([A-Za-z0-9][A-Za-z0-9_.=-]*?)\s*-+END {}-+"
_JWT = re.compile(_BLOCK.format("NATS USER JWT", "NATS USER JWT"))
_KEY = re.compile(_BLOCK.format("USER NKEY SEED", "USER NKEY SEED"))


@dataclass(frozen=True, slots=True)
class Proof:
    """A user's key, and the JWT that vouches for it, where there is one."""

    key: Ed25519PrivateKey = field(repr=False)
    jwt: str | None = field(default=None, repr=False)

    @classmethod
    def of_seed(cls, text: str) -> Self:
        """From a seed (`SU…`). Raises ValueError."""
        return cls(_key(text))

    @classmethod
    def of_credentials(cls, text: str) -> Self:
        """From the text of a .creds file. Raises ValueError."""
        jwt, key = _JWT.search(text), _KEY.search(text)
        if jwt is None or key is None:
            raise ValueError("the credentials hold no user JWT and seed")
        return cls(_key(key[1]), jwt[1])

    @property
    def public(self) -> str:
        """The user's public key (`U…`)."""
        raw = bytes([_USER]) + self.key.public_key().public_bytes_raw()
        checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
        return base64.b32encode(raw + checksum).decode().rstrip("=")

    def sign(self, nonce: str) -> bytes:
        """The signature of a server's nonce, in base64."""
        return base64.b64encode(self.key.sign(nonce.encode()))


def _key(text: str) -> Ed25519PrivateKey:
    seed = text.strip()
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except ValueError:
        raise ValueError("the nkey seed is not base32") from None
    body, checksum = raw[:-2], raw[-2:]
    if len(raw) != 36 or binascii.crc_hqx(body, 0).to_bytes(2, "little") != checksum:
        raise ValueError("the nkey seed is damaged")
    if body[0] & 0xF8 != _SEED or (body[0] & 7) << 5 | body[1] >> 3 != _USER:
        raise ValueError("the nkey seed is not a user's (SU…)")
    return Ed25519PrivateKey.from_private_bytes(body[2:])
