"""Every scheme against signatures that our own code did not make, and against garbage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from drivers import BY_SLUG
from drivers.body import parse_body
from drivers.claim import Claim, Draft, Field, Header, Query
from drivers.jwks import Rs256
from drivers.verify import (
    MAX_CANDIDATES,
    MAX_PRESENTED,
    Basic,
    Choice,
    Hmac,
    Refuse,
    Scheme,
    TimestampedHmac,
    Token,
    UrlOnly,
    any_match,
    has_header,
    restore,
    same,
    verify,
)
from schemas.errors import MalformedError, UnparsableError, VerificationError
from schemas.request import Grant, Inbound

BODY = '{"id":42,"name":"Pão & Café","total":10.50}'.encode()
SECRET = "s3gr&do <çã>"
NOW = datetime.fromtimestamp(1795262400, UTC)
# Made by `openssl dgst -<algorithm> -mac HMAC -macopt hexkey:<the secret's UTF-8>` (OpenSSL 3.0.19)
# over BODY, or over "1795262400." and BODY, and again by Node 20's crypto.createHmac: they agree.
SHA256_HEX = "66e08d11e8427a4ec4ca8902f5953557f252dd793017bcd52530e02acf3911f3"
SHA256_BASE64 = "ZuCNEehCek7EyokC9ZU1V/JS3XkwF7zVJTDgKs85EfM="
SHA1_HEX = "a4d6f60091beb0238b82a84a73e1d8f519d6ccc3"
STAMPED = "1a8d37e432c2bb3abe3d4a1f09d282f6a8e3b6da482d5cbda0a1febada98bf91"
STAMPED_MILLISECONDS = "ecd3da5e22fccb6952bcac2da8e3995fa46ecf79d52a523e175531f619613565"

# How each provider that signs presents these digests.
PROVIDERS: dict[str, dict[str, Any]] = {
    "shopify": {"headers": {"X-Shopify-Hmac-Sha256": SHA256_BASE64}},
    "woocommerce": {"headers": {"X-WC-Webhook-Signature": SHA256_BASE64}},
    "stripe": {"headers": {"Stripe-Signature": f"t=1795262400,v1={STAMPED}"}},
    "kiwify": {"query": {"signature": SHA1_HEX}},
    "eduzz": {"headers": {"x-signature": SHA256_HEX}},
    "bling": {"headers": {"X-Bling-Signature-256": f"sha256={SHA256_HEX}"}},
    "cakto": {
        "headers": {"X-Cakto-Timestamp": "1795262400", "X-Cakto-Signature": f"v1={STAMPED}"},
    },
}


def inbound(
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    body: bytes = BODY,
    at: datetime = NOW,
) -> Inbound:
    return Inbound(
        "POST",
        {k.lower(): (v,) for k, v in (headers or {}).items()},
        {k: (v,) for k, v in (query or {}).items()},
        body,
        at,
    )


def holds(scheme: Scheme, request: Inbound, *secrets: str, **known: Any) -> bool:
    try:
        verify(scheme, request, Grant(secrets=secrets, **known), parse_body)
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize("slug", PROVIDERS)
def test_a_provider_s_signature_made_elsewhere_is_believed(slug: str) -> None:
    scheme, request = BY_SLUG[slug].scheme, inbound(**PROVIDERS[slug])
    assert holds(scheme, request, SECRET)
    assert holds(scheme, request, "newer", SECRET)
    assert not holds(scheme, request, SECRET + " ")
    assert not holds(scheme, request)
    changed = inbound(**PROVIDERS[slug], body=BODY.replace(b"10.50", b"1.50"))
    assert not holds(scheme, changed, SECRET)


def test_stripe_s_own_library_and_we_agree() -> None:
    scheme = BY_SLUG["stripe"].scheme
    made = stripe.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, 1795262400)
    assert holds(scheme, inbound({"Stripe-Signature": made}), SECRET)
    draft = Draft({}, {}, BODY, SECRET, 1795262400)
    scheme.sign(draft)
    ours = draft.headers["stripe-signature"]
    assert stripe.WebhookSignature.verify_header(BODY.decode(), ours, SECRET, tolerance=None)


HMACS: dict[str, tuple[Hmac, dict[str, str]]] = {
    "hex": (Hmac(at=(Header("x-sig"),)), {"X-Sig": SHA256_HEX}),
    "hex, spaces around": (Hmac(at=(Header("x-sig"),)), {"X-Sig": f" {SHA256_HEX} "}),
    "base64": (Hmac(at=(Header("x-sig"),), encoding="base64"), {"X-Sig": SHA256_BASE64}),
    "sha1": (Hmac(at=(Header("x-sig"),), digest="sha1"), {"X-Sig": SHA1_HEX}),
    "prefix": (Hmac(at=(Header("x-sig"),), prefix="sha256="), {"X-Sig": f"sha256={SHA256_HEX}"}),
    "no prefix where none is required": (
        Hmac(at=(Header("x-sig"),), prefix="sha256=", prefix_required=False),
        {"X-Sig": SHA256_HEX},
    ),
    "second place": (Hmac(at=(Header("x-new"), Header("x-sig"))), {"X-Sig": SHA256_HEX}),
    "empty first place": (
        Hmac(at=(Header("x-new"), Header("x-sig"))),
        {"X-New": "", "X-Sig": SHA256_HEX},
    ),
}


@pytest.mark.parametrize("case", HMACS)
def test_hmac(case: str) -> None:
    scheme, headers = HMACS[case]
    assert holds(scheme, inbound(headers), SECRET)
    assert not holds(scheme, inbound(headers), "other")
    assert not holds(scheme, inbound(headers, body=BODY + b" "), SECRET)


NO_HMAC: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"X-Sig": ""},
    "only the prefix": {"X-Sig": "sha256="},
    "another prefix": {"X-Sig": f"sha1={SHA256_HEX}"},
    "no prefix": {"X-Sig": SHA256_HEX},
    "upper case prefix": {"X-Sig": f"SHA256={SHA256_HEX}"},
    "cut": {"X-Sig": f"sha256={SHA256_HEX[:-1]}"},
    "longer": {"X-Sig": f"sha256={SHA256_HEX}0"},
    "beyond reason": {"X-Sig": f"sha256={' ' * MAX_PRESENTED}{SHA256_HEX}"},
    "not ASCII": {"X-Sig": "sha256=é²\udcff"},
    "another header": {"X-Signature": f"sha256={SHA256_HEX}"},
}


@pytest.mark.parametrize("case", NO_HMAC)
def test_what_is_no_hmac_is_refused(case: str) -> None:
    scheme = Hmac(at=(Header("x-sig"),), prefix="sha256=")
    assert not holds(scheme, inbound(NO_HMAC[case]), SECRET)


def test_a_header_sent_twice_is_none() -> None:
    scheme = Hmac(at=(Header("x-sig"),))
    twice = Inbound("POST", {"x-sig": (SHA256_HEX, SHA256_HEX)}, {}, BODY, NOW)
    assert not holds(scheme, twice, SECRET)


def test_the_first_message_that_fits_counts() -> None:
    def messages(claim: Claim) -> list[bytes]:
        return [b"other", claim.inbound.body]

    scheme = Hmac(at=(Header("x-sig"),), messages=messages)
    assert holds(scheme, inbound({"X-Sig": SHA256_HEX}), SECRET)


STAMPS: dict[str, tuple[str, bool]] = {
    "t and v1": (f"t=1795262400,v1={STAMPED}", True),
    "spaces": (f" t=1795262400 , v1={STAMPED} ", True),
    "unknown schemes are ignored": (f"t=1795262400,v0=00,v1={STAMPED},v2=x,x", True),
    "any v1 of several": (f"t=1795262400,v1=00,v1={STAMPED}", True),
    "milliseconds": (f"t=1795262400123,v1={STAMPED_MILLISECONDS}", True),
    "another time": (f"t=1795262401,v1={STAMPED}", False),
    "two times": (f"t=1795262400,t=1795262400,v1={STAMPED}", False),
    "no time": (f"v1={STAMPED}", False),
    "empty time": (f"t=,v1={STAMPED}", False),
    "time in words": (f"t=now,v1={STAMPED}", False),
    "time in other digits": (f"t=١٧٩٥٢٦٢٤٠٠,v1={STAMPED}", False),
    "superscript time": (f"t=²,v1={STAMPED}", False),
    "negative time": (f"t=-1795262400,v1={STAMPED}", False),
    "endless time": (f"t={'9' * 100},v1={STAMPED}", False),
    "only v0": (f"t=1795262400,v0={STAMPED}", False),
    "no signature": ("t=1795262400", False),
    "empty": ("", False),
    "too many": (f"t=1795262400,{'v1=00,' * MAX_CANDIDATES}v1={STAMPED}", False),
    "beyond reason": (f"t=1795262400,v1={STAMPED}," + "x" * MAX_PRESENTED, False),
    "not ASCII": ("t=1795262400,v1=é\udcff", False),
}


@pytest.mark.parametrize("case", STAMPS)
def test_timestamped_hmac(case: str) -> None:
    value, genuine = STAMPS[case]
    scheme = TimestampedHmac(signature=Header("x-sig"))
    assert holds(scheme, inbound({"X-Sig": value}), SECRET) is genuine


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_a_stamp_is_fresh_both_ways(seconds: int, fresh: bool) -> None:
    scheme = TimestampedHmac(signature=Header("x-sig"))
    late = inbound({"X-Sig": f"t=1795262400,v1={STAMPED}"}, at=NOW + timedelta(seconds=seconds))
    assert holds(scheme, late, SECRET) is fresh


@pytest.mark.parametrize(
    ("headers", "genuine"),
    [
        ({"X-Time": "1795262400", "X-Sig": f"v1={STAMPED}"}, True),
        ({"X-Time": "1795262400", "X-Sig": f"t=1,v2=0,v1={STAMPED}"}, True),
        ({"X-Sig": f"v1={STAMPED}"}, False),
        ({"X-Time": "1795262400"}, False),
        ({"X-Time": "", "X-Sig": f"v1={STAMPED}"}, False),
        ({"X-Time": "1795262400", "X-Sig": STAMPED}, False),
    ],
)
def test_the_time_may_have_a_header_of_its_own(headers: dict[str, str], genuine: bool) -> None:
    scheme = TimestampedHmac(signature=Header("x-sig"), timestamp=Header("x-time"))
    assert holds(scheme, inbound(headers), SECRET) is genuine


TOKEN_BODY = b'{"data":{"token":"s3cret"},"other":{"token":7},"list":[]}'
TOKENS: dict[str, tuple[Token, Inbound, bool]] = {
    "header": (Token(at=(Header("x-token"),)), inbound({"X-Token": "s3cret"}), True),
    "query": (Token(at=(Query("token"),)), inbound(query={"token": "s3cret"}), True),
    "field": (Token(at=(Field("data.token"),)), inbound(body=TOKEN_BODY), True),
    "no text there": (Token(at=(Field("other.token"),)), inbound(body=TOKEN_BODY), False),
    "no object there": (Token(at=(Field("list.token"),)), inbound(body=TOKEN_BODY), False),
    "prefix": (
        Token(at=(Header("authorization"),), prefix="Bearer "),
        inbound({"Authorization": "Bearer s3cret"}),
        True,
    ),
    "the first that holds one decides": (
        Token(at=(Header("x-token"), Query("token"))),
        inbound({"X-Token": "wrong"}, {"token": "s3cret"}),
        False,
    ),
    "wrong": (Token(at=(Header("x-token"),)), inbound({"X-Token": "S3cret"}), False),
    "longer": (Token(at=(Header("x-token"),)), inbound({"X-Token": "s3cret "}), False),
    "missing": (Token(at=(Header("x-token"),)), inbound(), False),
    "empty": (Token(at=(Header("x-token"),)), inbound({"X-Token": ""}), False),
    "beyond reason": (
        Token(at=(Header("x-token"),)),
        inbound({"X-Token": "s3cret" + "x" * MAX_PRESENTED}),
        False,
    ),
    "not ASCII": (Token(at=(Header("x-token"),)), inbound({"X-Token": "é\udcff"}), False),
}


@pytest.mark.parametrize("case", TOKENS)
def test_token(case: str) -> None:
    scheme, request, genuine = TOKENS[case]
    assert holds(scheme, request, "s3cret") is genuine
    assert not holds(scheme, request)
    assert not holds(scheme, request, "")


def test_an_optional_token_counts_once_there_is_a_secret() -> None:
    scheme = Token(at=(Header("x-token"),), required=False)
    assert holds(scheme, inbound())
    assert holds(scheme, inbound({"X-Token": "anything"}), "")
    assert not holds(scheme, inbound(), "s3cret")
    assert holds(scheme, inbound({"X-Token": "s3cret"}), "s3cret")
    assert not scheme.needs_secret


@pytest.mark.parametrize(
    ("value", "genuine"),
    [
        ("Basic dXNlcjpww6Rzcw==", True),  # RFC 7617 writes user:päss in UTF-8
        ("basic  dXNlcjpww6Rzcw== ", True),
        ("Basic dXNlcjpww6Rzcw", False),
        ("Basic dXNlcjpwYXNz", False),
        ("Bearer dXNlcjpww6Rzcw==", False),
        ("Basic", False),
        ("Basic ", False),
        ("", False),
        ("Basic " + "A" * (MAX_PRESENTED + 1), False),
        ("Basic é\udcff", False),
    ],
)
def test_basic(value: str, genuine: bool) -> None:
    assert holds(Basic(), inbound({"Authorization": value}), "user:päss") is genuine
    assert not holds(Basic(), inbound({"Authorization": value}))


def test_a_choice_never_falls_back() -> None:
    signed, token = Hmac(at=(Header("x-sig"),)), Token(at=(Field("token"),))
    scheme = Choice(options=((has_header("x-sig"), signed),), otherwise=token)
    body = b'{"token":"s3cret"}'
    assert holds(scheme, inbound(body=body), "s3cret")
    assert not holds(scheme, inbound({"X-Sig": "00"}, body=body), "s3cret")
    assert not holds(scheme, inbound({"X-Sig": ""}, body=body), "s3cret")
    assert scheme.schemes == (signed, token)
    assert (scheme.binds_body, scheme.needs_secret, scheme.reveals_secret) == (False, True, True)
    assert scheme.window is None


def test_a_choice_promises_what_all_its_schemes_keep() -> None:
    stamped = TimestampedHmac(signature=Header("x-sig"), window=60)
    bound = Choice(options=((has_header("x-a"), stamped),), otherwise=Hmac(at=(Header("x-sig"),)))
    assert (bound.binds_body, bound.needs_secret, bound.reveals_secret) == (True, True, False)
    assert bound.window == 60
    open_ = Choice(options=((has_header("x-a"), stamped),), otherwise=UrlOnly())
    assert (open_.binds_body, open_.needs_secret) == (False, False)
    assert Choice(options=(), otherwise=UrlOnly(), requires_secret=True).needs_secret


def test_url_only_believes_and_refuse_does_not() -> None:
    assert holds(UrlOnly(), inbound())
    assert not holds(Refuse(), inbound({"X-Sig": SHA256_HEX}), SECRET)
    with pytest.raises(VerificationError, match="not here"):
        verify(Refuse("not here"), inbound(), Grant(), parse_body)


SCHEMES: dict[str, Scheme] = {
    "hmac": Hmac(at=(Header("x-sig"),), prefix="v1="),
    "hmac in the query": Hmac(at=(Query("sig"),), encoding="base64"),
    "stamped": TimestampedHmac(signature=Header("x-sig")),
    "stamped apart": TimestampedHmac(signature=Header("x-sig"), timestamp=Header("x-time")),
    "token": Token(at=(Header("x-token"), Field("token")), prefix="Bearer "),
    "token in the body": Token(at=(Field("token"),)),
    "basic": Basic(),
    "choice": Choice(options=((has_header("x-a"), Refuse()),), otherwise=Basic()),
    "nothing": UrlOnly(),
}


@pytest.mark.parametrize("case", SCHEMES)
def test_what_a_scheme_signs_it_believes(case: str) -> None:
    scheme = SCHEMES[case]
    draft = Draft({"X-SIG": "old"}, {}, b'{"token":"old"}', SECRET, 1795262400)
    scheme.sign(draft)
    assert holds(scheme, inbound(draft.headers, draft.query, draft.body), SECRET)
    assert len({name.lower() for name in draft.headers}) == len(draft.headers)


@pytest.mark.parametrize("case", [c for c, scheme in SCHEMES.items() if scheme.needs_secret])
def test_the_empty_key_proves_nothing(case: str) -> None:
    scheme = SCHEMES[case]
    draft = Draft({}, {}, b'{"token":""}', "", 1795262400)
    scheme.sign(draft)
    for secrets in ((), ("",), ("", "")):
        assert not holds(scheme, inbound(draft.headers, draft.query, draft.body), *secrets)


def test_signing_what_cannot_be_signed_changes_nothing() -> None:
    draft = Draft({}, {}, b'{"a":1}', SECRET, 0)
    for scheme in (Refuse(), UrlOnly(), Rs256("https://x.example", lambda _: None)):
        scheme.sign(draft)
    Token(at=(Field("token"),)).sign(draft)
    assert draft == Draft({}, {}, b'{"a":1}', SECRET, 0)


def test_secrets_and_signatures_may_be_any_text() -> None:
    odd = "\ud800\x00é"
    assert same(odd, odd)
    assert not same(odd, "?")
    assert any_match(["a", "b"], ["c", "b"])
    assert any_match(["b", "a"], ["b", "c"])
    assert not any_match([], ["a"])
    for scheme in (Hmac(at=(Header("x-sig"),)), Basic(), Token(at=(Header("x-sig"),))):
        assert not holds(scheme, inbound({"X-Sig": "00", "Authorization": "Basic AA=="}), odd)


def test_an_unreadable_body_is_refused_before_the_proof_and_kept_after_it() -> None:
    with pytest.raises(UnparsableError):
        verify(Token(at=(Field("token"),)), inbound(body=b"{"), Grant(secrets=("x",)), parse_body)
    with pytest.raises(MalformedError):
        verify(UrlOnly(), inbound(body=b"{"), Grant(), parse_body)


def test_a_body_is_parsed_once() -> None:
    parsed = []

    def parse(request: Inbound) -> Any:
        parsed.append(request)
        return None

    claim = Claim(inbound(), parse)
    assert claim.payload() is claim.payload() is None
    assert len(parsed) == 1


def test_a_stored_delivery_is_verified_for_good() -> None:
    stored = restore(inbound({"X-A": "1"}), {"s": 1}, {"id": 1}, {"order": {}})
    assert (stored.payload, stored.settings, stored.enrichment) == (
        {"id": 1},
        {"s": 1},
        {"order": {}},
    )
    assert stored.header("x-a") == "1"
    assert stored.received_at == NOW
