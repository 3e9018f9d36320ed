"""Keys and tokens of NATS, made as its own tools make them.

https://docs.nats.io/running-a-nats-service/configuration/securing_nats/jwt
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIXES = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
_NO_LIMITS = dict.fromkeys("subs data payload imports exports conn leaf".split(), -1)


@dataclass
class Key:
    kind: str
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> str:
        return _encode(bytes([PREFIXES[self.kind]]) + self.private.public_key().public_bytes_raw())

    @property
    def seed(self) -> str:
        prefix = PREFIXES[self.kind]
        head = bytes([18 << 3 | prefix >> 5, (prefix & 31) << 3])
        return _encode(head + self.private.private_bytes_raw())

    def vouch(self, other: "Key", **claims: Any) -> str:
        """A token in which this key says what the other one is."""
        body = {
            "jti": "x",
            "iat": 1_700_000_000,
            "iss": self.public,
            "sub": other.public,
            "name": other.kind,
            "nats": {"type": other.kind, "version": 2} | claims,
        }
        text = f"{_url({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_url(body)}"
        return f"{text}.{_unpadded(self.private.sign(text.encode()))}"


def account_of(operator: Key, account: Key) -> str:
    return operator.vouch(account, limits=_NO_LIMITS | {"wildcards": True})


def credentials(token: str, seed: str) -> str:
    return f"""-----BEGIN NATS USER JWT-----
{token}
------END NATS USER JWT------

************************* IMPORTANT *************************
-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


def _encode(raw: bytes) -> str:
    return (
        base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().strip("=")
    )


def _url(document: Any) -> str:
    return _unpadded(orjson.dumps(document))


def _unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
