"""How providers prove that a delivery is theirs: the few schemes that every driver chooses from.

Verification is total: any bytes and any header give an answer or one of our errors, never another
exception. Every secret that is valid now is tried, and compared in constant time. A scheme says
what it guarantees (`binds_body`, `window`), and the generic tests hold every driver to exactly
that. `sign` is its inverse, for samples and tests.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from drivers.claim import Claim, Draft, Field, Header, Location, Parse, Query
from schemas.errors import MalformedError, UnparsableError, VerificationError
from schemas.request import Grant, Inbound, Verified

MAX_PRESENTED = 4096  # characters of a signature header; longer is an attack
MAX_CANDIDATES = 10  # signatures in one header

__all__ = ["Claim", "Draft", "Field", "Header", "Location", "Parse", "Query"]


class Scheme(Protocol):
    """One way to prove a delivery."""

    @property
    def binds_body(self) -> bool:
        """Whether a delivery with a changed body is refused."""

    @property
    def window(self) -> int | None:
        """Seconds after which a delivery is stale, or None."""

    @property
    def needs_secret(self) -> bool:
        """Whether nothing can be verified without a secret."""

    @property
    def reveals_secret(self) -> bool:
        """Whether the secret itself is in the request, so that what is stored must be redacted."""

    def check(self, claim: Claim, grant: Grant) -> None:
        """Return when proven; raise VerificationError (or UnparsableError for an unreadable body
        token).
        """

    def sign(self, draft: Draft) -> None:
        """Make the draft genuine for its secret at its time."""


def verify(scheme: Scheme, inbound: Inbound, grant: Grant, parse: Parse) -> Verified:
    """The proven request with its body parsed: with `restore`, the only way to get one.

    Raises VerificationError when not proven; UnparsableError when the body must be read to prove it
    and cannot be; MalformedError when it is proven but cannot be read (kept in quarantine: sending
    it again would not help).
    """
    claim = Claim(inbound, parse)
    scheme.check(claim, grant)
    try:
        payload = claim.payload()
    except UnparsableError as error:
        raise MalformedError(error.message) from None
    return Verified(inbound, payload, grant.settings)


def restore(
    inbound: Inbound, settings: Mapping[str, Any], payload: Any, enrichment: Mapping[str, Any]
) -> Verified:
    """A request that the store remembers as verified (or a page we polled ourselves), ready to
    normalize again.
    """
    return Verified(inbound, payload, settings, enrichment)


def same(presented: str, expected: str) -> bool:
    """Constant-time comparison of text, safe for any characters."""
    return hmac.compare_digest(_bytes(presented), _bytes(expected))


def _bytes(text: str) -> bytes:
    """UTF-8, also of lone surrogates: no text may make a comparison fail."""
    return text.encode("utf-8", "surrogatepass")


def any_match(presented: Iterable[str], expected: Iterable[str]) -> bool:
    """Whether one of `presented` equals one of `expected`, without telling by time which."""
    wanted = list(expected)
    found = False
    for candidate in presented:
        for value in wanted:
            found |= same(candidate, value)
    return found


def raw_body(claim: Claim) -> Iterator[bytes]:
    """The usual signed message: the body as it came."""
    yield claim.inbound.body


def _hexdigest(digest: str, secret: str, message: bytes) -> str:
    return hmac.digest(_bytes(secret), message, digest).hex()


def _base64digest(digest: str, secret: str, message: bytes) -> str:
    return b64encode(hmac.digest(_bytes(secret), message, digest)).decode()


def _present(at: tuple[Location, ...], draft: Draft, value: str) -> None:
    """Write `value` where a draft has one already, else at the first place."""
    claim = draft.claim()
    next((place for place in at if place.read(claim)), at[0]).write(draft, value)


@dataclass(frozen=True, slots=True)
class Hmac:
    """HMAC over the body (or over the first of `messages` that fits), presented at one of `at`.

    `prefix` stands before the digest (`sha256=`). `encoding` is `hex` or `base64`.
    `binds_body=False` where `messages` leave out a part of the body.
    """

    at: tuple[Location, ...]
    digest: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    prefix_required: bool = True
    messages: Callable[[Claim], Iterable[bytes]] = raw_body
    binds_body: bool = True
    window: int | None = field(default=None, init=False)
    needs_secret: bool = field(default=True, init=False)
    reveals_secret: bool = field(default=False, init=False)

    def _digest(self, secret: str, message: bytes) -> str:
        encode = _base64digest if self.encoding == "base64" else _hexdigest
        return encode(self.digest, secret, message)

    def presented(self, claim: Claim) -> str | None:
        """The signature that came, without its prefix; None when there is none or it is not of this
        form.
        """
        value = next((v for v in (place.read(claim) for place in self.at) if v), None)
        if value is None or len(value) > MAX_PRESENTED:
            return None
        if value.startswith(self.prefix):
            return value[len(self.prefix) :].strip()
        return None if self.prefix_required else value.strip()

    def check(self, claim: Claim, grant: Grant) -> None:
        """See Scheme."""
        presented = self.presented(claim)
        if not presented:
            raise VerificationError("the signature is missing")
        for message in self.messages(claim):
            if any_match([presented], (self._digest(s, message) for s in grant.secrets if s)):
                return
        raise VerificationError("the signature does not match")

    def sign(self, draft: Draft) -> None:
        """See Scheme."""
        _present(self.at, draft, self.prefix + self._digest(draft.secret, draft.body))


@dataclass(frozen=True, slots=True)
class TimestampedHmac:
    """HMAC-SHA256 in hex over `timestamp.body`, with one or more `v1=` signatures.

    Without `timestamp` the signature header holds both (`t=…,v1=…`, Stripe); with it the time has
    its own header. A time in milliseconds (13 digits) is understood. `window`: seconds of
    tolerance, both ways.
    """

    signature: Header
    timestamp: Header | None = None
    window: int = 300
    binds_body: bool = field(default=True, init=False)
    needs_secret: bool = field(default=True, init=False)
    reveals_secret: bool = field(default=False, init=False)

    def check(self, claim: Claim, grant: Grant) -> None:
        """See Scheme."""
        stamp, presented = self._read(claim)
        if not stamp or not presented:
            raise VerificationError("the signature is missing or not of the documented form")
        now = int(claim.inbound.received_at.timestamp())
        if abs(now - _seconds(stamp)) > self.window:
            raise VerificationError("the signature's time is outside the tolerated window")
        message = stamp.encode() + b"." + claim.inbound.body
        if not any_match(presented, (_hexdigest("sha256", s, message) for s in grant.secrets if s)):
            raise VerificationError("the signature does not match")

    def _read(self, claim: Claim) -> tuple[str | None, list[str]]:
        value = self.signature.read(claim) or ""
        if len(value) > MAX_PRESENTED:
            return None, []
        pairs = [(k.strip(), v.strip()) for k, _, v in (p.partition("=") for p in value.split(","))]
        presented = [v for k, v in pairs if k == "v1"]
        if len(presented) > MAX_CANDIDATES:
            return None, []
        if self.timestamp is not None:
            return self.timestamp.read(claim), presented
        stamps = [v for k, v in pairs if k == "t"]
        return (stamps[0] if len(stamps) == 1 else None), presented

    def sign(self, draft: Draft) -> None:
        """See Scheme."""
        stamp = str(draft.now)
        digest = _hexdigest("sha256", draft.secret, stamp.encode() + b"." + draft.body)
        if self.timestamp is None:
            self.signature.write(draft, f"t={stamp},v1={digest}")
        else:
            self.timestamp.write(draft, stamp)
            self.signature.write(draft, f"v1={digest}")


def _seconds(stamp: str) -> int:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 13):
        raise VerificationError("the signature's time is not a number of seconds")
    return int(stamp) // 1000 if len(stamp) == 13 else int(stamp)


@dataclass(frozen=True, slots=True)
class Token:
    """A static secret inside the request, at the first of `at` that holds one.

    It proves who knows the secret, not what was sent. `required=False` is for providers that send
    nothing of the kind by themselves: without a configured secret the installation's URL alone
    protects.
    """

    at: tuple[Location, ...]
    required: bool = True
    prefix: str = ""
    binds_body: bool = field(default=False, init=False)
    window: int | None = field(default=None, init=False)
    reveals_secret: bool = field(default=True, init=False)

    @property
    def needs_secret(self) -> bool:
        """See Scheme."""
        return self.required

    def check(self, claim: Claim, grant: Grant) -> None:
        """See Scheme."""
        secrets = [s for s in grant.secrets if s]
        if not secrets and not self.required:
            return
        presented = next((v for v in (place.read(claim) for place in self.at) if v), None)
        if presented is None or len(presented) > MAX_PRESENTED:
            raise VerificationError("the token is missing")
        if not any_match([presented.removeprefix(self.prefix)], secrets):
            raise VerificationError("the token does not match")

    def sign(self, draft: Draft) -> None:
        """See Scheme."""
        _present(self.at, draft, self.prefix + draft.secret)


@dataclass(frozen=True, slots=True)
class Basic:
    """HTTP Basic authentication; the secret is `user:password`."""

    binds_body: bool = field(default=False, init=False)
    window: int | None = field(default=None, init=False)
    needs_secret: bool = field(default=True, init=False)
    reveals_secret: bool = field(default=True, init=False)

    def check(self, claim: Claim, grant: Grant) -> None:
        """See Scheme."""
        kind, _, presented = (claim.inbound.header("authorization") or "").partition(" ")
        if kind.lower() != "basic" or len(presented) > MAX_PRESENTED:
            raise VerificationError("Basic authentication is missing")
        if not any_match(
            [presented.strip()], (b64encode(_bytes(s)).decode() for s in grant.secrets if s)
        ):
            raise VerificationError("user or password do not match")

    def sign(self, draft: Draft) -> None:
        """See Scheme."""
        Header("authorization").write(draft, f"Basic {b64encode(draft.secret.encode()).decode()}")


@dataclass(frozen=True, slots=True)
class Choice:
    """Several schemes; the first whose evidence is present decides alone: there is no falling back
    from a wrong signature to a weaker proof. `options` pairs a test for that evidence with its
    scheme; `otherwise` takes the rest. `requires_secret`: an installation must have a secret,
    although one of the schemes could do without.
    """

    options: tuple[tuple[Callable[[Claim, Grant], bool], Scheme], ...]
    otherwise: Scheme
    requires_secret: bool = False

    def pick(self, claim: Claim, grant: Grant) -> Scheme:
        """The scheme that decides about this claim."""
        return next((s for holds, s in self.options if holds(claim, grant)), self.otherwise)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Every scheme, strongest first."""
        return (*(scheme for _, scheme in self.options), self.otherwise)

    @property
    def binds_body(self) -> bool:
        """See Scheme."""
        return all(s.binds_body for s in self.schemes)

    @property
    def window(self) -> int | None:
        """See Scheme."""
        return next((s.window for s in self.schemes if s.window), None)

    @property
    def needs_secret(self) -> bool:
        """See Scheme."""
        return self.requires_secret or all(s.needs_secret for s in self.schemes)

    @property
    def reveals_secret(self) -> bool:
        """See Scheme."""
        return any(s.reveals_secret for s in self.schemes)

    def check(self, claim: Claim, grant: Grant) -> None:
        """See Scheme."""
        self.pick(claim, grant).check(claim, grant)

    def sign(self, draft: Draft) -> None:
        """See Scheme."""
        self.pick(draft.claim(), Grant(secrets=(draft.secret,))).sign(draft)


@dataclass(frozen=True, slots=True)
class UrlOnly:
    """Nothing is signed: who knows the installation's secret URL is believed."""

    binds_body: bool = field(default=False, init=False)
    window: int | None = field(default=None, init=False)
    needs_secret: bool = field(default=False, init=False)
    reveals_secret: bool = field(default=False, init=False)

    def check(self, claim: Claim, grant: Grant) -> None:
        """Every claim holds."""

    def sign(self, draft: Draft) -> None:
        """There is nothing to sign."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """No proof is acceptable here."""

    reason: str = "the signature is missing"
    binds_body: bool = field(default=True, init=False)
    window: int | None = field(default=None, init=False)
    needs_secret: bool = field(default=True, init=False)
    reveals_secret: bool = field(default=False, init=False)

    def check(self, claim: Claim, grant: Grant) -> None:
        """Always raises."""
        raise VerificationError(self.reason)

    def sign(self, draft: Draft) -> None:
        """There is nothing that would help."""


def has_header(*names: str) -> Callable[[Claim, Grant], bool]:
    """Evidence for `Choice`: one of these headers (lower case) was sent, however often."""
    return lambda claim, _grant: any(name in claim.inbound.headers for name in names)
