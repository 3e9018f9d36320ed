"""RS256 with published keys, against signatures that the cryptography package made."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from drivers import BY_SLUG
from drivers.claim import Claim
from drivers.jwks import Rs256, decode_base64url
from drivers.verify import MAX_PRESENTED
from tests.drivers.test_verify import BODY, SECRET, holds, inbound


@cache
def private_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return urlsafe_b64encode(raw).decode().rstrip("=")


def published(bits: int = 2048, **changed: Any) -> dict[str, Any]:
    public = private_key(bits).public_key().public_numbers()
    key = {"kid": "k1", "kty": "RSA", "use": "sig", "alg": "RS256"}
    return key | {"n": number(public.n), "e": number(public.e)} | changed


def signature(body: bytes = BODY, bits: int = 2048) -> str:
    raw = private_key(bits).sign(body, padding.PKCS1v15(), SHA256())
    return urlsafe_b64encode(raw).decode()


def presented(claim: Claim) -> tuple[str, str] | None:
    value = claim.inbound.header("x-sig")
    return ("k1", value) if value else None


URL = "https://provider.example/jwks.json"
RS256 = Rs256(URL, presented)


def test_rs256_believes_a_published_key() -> None:
    keys = {"keys": [{"kid": "k0"}, "x", published()]}
    request = inbound({"X-Sig": signature()})
    assert holds(RS256, request, keys={URL: keys})
    assert holds(RS256, request, settings={"jwks": keys})
    assert holds(RS256, inbound({"X-Sig": signature().rstrip("=")}), settings={"jwks": keys})
    assert not holds(RS256, inbound({"X-Sig": signature()}, body=BODY + b" "), keys={URL: keys})
    other = {"keys": [published(n=number(private_key(2049).public_key().public_numbers().n))]}
    assert not holds(RS256, request, settings={"jwks": other}, keys={URL: keys})


BAD_KEYS: dict[str, Any] = {
    "none": None,
    "no object": [],
    "no list": {"keys": {}},
    "empty": {"keys": []},
    "another id": {"keys": [published(kid="k2")]},
    "another type": {"keys": [published(kty="EC")]},
    "for encryption": {"keys": [published(use="enc")]},
    "another algorithm": {"keys": [published(alg="RS512")]},
    "no modulus": {"keys": [{k: v for k, v in published().items() if k != "n"}]},
    "no number": {"keys": [published(n="é")]},
    "no base64": {"keys": [published(n="*")]},
    "null": {"keys": [published(n=None)]},
    "even exponent": {"keys": [published(e=number(4))]},
    "no exponent": {"keys": [published(e="")]},
    "too short": {"keys": [published(bits=1024)]},
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_rs256_refuses_any_other_key(case: str) -> None:
    bits = 1024 if case == "too short" else 2048
    request = inbound({"X-Sig": signature(bits=bits)})
    assert not holds(RS256, request, settings={"jwks": BAD_KEYS[case]})


def test_rs256_takes_a_key_that_states_neither_use_nor_algorithm() -> None:
    bare = {k: v for k, v in published().items() if k not in {"use", "alg"}}
    assert holds(RS256, inbound({"X-Sig": signature()}), keys={URL: {"keys": [bare]}})


@pytest.mark.parametrize("value", ["", "x", "é", "****", "A" * (MAX_PRESENTED + 1), "AAAA", "A"])
def test_rs256_refuses_what_is_no_signature(value: str) -> None:
    assert not holds(RS256, inbound({"X-Sig": value}), keys={URL: {"keys": [published()]}})


def test_base64url_is_strict() -> None:
    assert decode_base64url("_-8") == decode_base64url("_-8=") == b"\xff\xef"
    for wrong in ("+/8=", "_-8 ", "_\n-8", "A", "é"):
        with pytest.raises(ValueError, match=r"."):
            decode_base64url(wrong)


def test_pagarme_s_header_names_key_and_signature() -> None:
    request = inbound(
        {"X-Webhook-Asymmetric-Signature": f"alg=RS256; kid=k1; signature={signature()}"}
    )
    scheme, keys = BY_SLUG["pagarme"].scheme, {"keys": [published()]}
    assert holds(scheme, request, settings={"jwks": json.loads(json.dumps(keys))})
    postback = b"id=1&object=transaction"
    legacy = inbound(
        {"X-Hub-Signature": "sha1=00", "Content-Type": "application/x-www-form-urlencoded"},
        body=postback,
    )
    assert not holds(scheme, legacy, SECRET)
