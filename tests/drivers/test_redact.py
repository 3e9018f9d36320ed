"""What is stored holds no secret: not ours, not the provider's."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest

from drivers.redact import REDACTED, redact
from schemas.request import Inbound

SECRET = "é/s3cr3t +&="
NAMES = ("token", "api_key")


def inbound(body: bytes, headers: dict[str, tuple[str, ...]] | None = None) -> Inbound:
    return Inbound("POST", headers or {}, {}, body, datetime(2026, 11, 21, tzinfo=UTC))


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"x": SECRET}).encode(),
        json.dumps({"x": SECRET}, ensure_ascii=False).encode(),
        json.dumps({"x": SECRET}, ensure_ascii=False).replace("/", "\\/").encode(),
        json.dumps({"url": f"https://x.example/?t={SECRET}"}, ensure_ascii=False).encode(),
        f"x={quote_plus(SECRET)}&y=1".encode(),
        b'{"unclosed": "' + SECRET.encode(),
    ],
)
def test_our_secret_is_taken_out_in_any_spelling(body: bytes) -> None:
    kept, _ = redact(inbound(body), None, (SECRET,), ())
    assert REDACTED.encode() in kept
    assert b"s3cr3t" not in kept


def test_a_short_secret_is_only_taken_out_as_a_whole_value() -> None:
    body = b'{"token":"42","id":"142","total":42,"list":["42"]}'
    kept, headers = redact(inbound(body, {"x": ("42", "142")}), None, ("42",), ())
    assert json.loads(kept) == {
        "token": REDACTED, "id": "142", "total": 42, "list": [REDACTED],
    }  # fmt: skip
    assert headers == {"x": (REDACTED, "142")}
    form, _ = redact(inbound(b"a=42&b=142&c=42"), None, ("42",), ())
    assert form == b"a=[redacted]&b=142&c=[redacted]"


def test_headers_lose_their_secrets() -> None:
    headers = {
        "authorization": (f"Basic {b64encode(b'u:p').decode()}",),
        "cookie": ("a=1",),
        "x-token": ("s3cr3t-long", "Token s3cr3t-long"),
        "x-other": ("hello",),
    }
    _, kept = redact(inbound(b"{}", headers), None, ("s3cr3t-long",), ())
    assert kept == {
        "authorization": (REDACTED,),
        "cookie": (REDACTED,),
        "x-token": (REDACTED, f"Token {REDACTED}"),
        "x-other": ("hello",),
    }


def test_secret_fields_are_blanked_in_payload_and_body() -> None:
    payload: Any = {
        "token": "provider-token-1",
        "nested": [{"api_key": 12345, "token": None}, {"token": ""}, {"token": {"a": 1}}],
        "again": "provider-token-1",
        "ours": "x",
    }
    body = json.dumps(payload).encode()
    kept, _ = redact(inbound(body), payload, ("x",), NAMES)
    assert payload == {
        "token": REDACTED,
        "nested": [{"api_key": REDACTED, "token": None}, {"token": ""}, {"token": REDACTED}],
        "again": "provider-token-1",
        "ours": REDACTED,
    }
    stored = json.loads(kept)
    assert stored["token"] == stored["again"] == stored["ours"] == REDACTED
    assert stored["nested"][0] == {"api_key": REDACTED, "token": None}


def test_secret_fields_are_blanked_where_nothing_could_be_parsed() -> None:
    note = rb'"note":"the \"token\":\"x\""'
    body = rb'{"token" : "a\"b", "api_key":-1.5e3, %b, "token":tru' % note
    kept, _ = redact(inbound(body), None, (), NAMES)
    assert kept == rb'{"token" : "[redacted]", "api_key":"[redacted]", %b, "token":tru' % note


def test_secret_fields_are_blanked_in_forms() -> None:
    body = b"token=abc&a%5Btoken%5D=def&b[api_key]=g&token_type=x&token=&mytoken=y"
    kept, _ = redact(inbound(body), None, (), NAMES)
    assert kept == (
        b"token=[redacted]&a%5Btoken%5D=[redacted]&b[api_key]=[redacted]"
        b"&token_type=x&token=&mytoken=y"
    )


@pytest.mark.parametrize("payload", ["s3cr3t-long", 7, None, ["s3cr3t-long"]])
def test_any_payload_will_do(payload: Any) -> None:
    body = json.dumps(payload).encode()
    kept, _ = redact(inbound(body), payload, ("s3cr3t-long", "", "\ud800odd"), NAMES)
    assert b"s3cr3t" not in kept


def test_without_secrets_nothing_changes() -> None:
    body = b'{"id": 1.00}'
    assert redact(inbound(body, {"x": ("1",)}), {"id": 1}, (), ()) == (body, {"x": ("1",)})
