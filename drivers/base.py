"""The driver seam: the facts of one provider, and `receive`, which runs any driver on any request.

A driver is data and one pure function. Adding one is a module with a `DRIVER`, a line in
`drivers.DRIVERS`, and sample files; nothing here changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from drivers.body import parse_body
from drivers.describe import Api, Fetch, OAuth, Poll
from drivers.redact import redact
from drivers.verify import Parse, Scheme, verify
from schemas import codec
from schemas.errors import MalformedError
from schemas.events import Event
from schemas.request import Grant, Inbound, Reply, Verified

Outcome = Literal["accepted", "ignored", "quarantined", "enriching"]
MAX_EXTRA = 16_384  # bytes of data.extra or data.raw as JSON
MAX_KEY = 300  # characters of a key, an id or a reason; an index entry must stay small


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One credential an installation may or must have, in the provider's own words."""

    name: str
    label: str
    required: bool = False
    secret: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Everything the gateway knows of a provider.

    `slug`: unique, also the module's name. `id`: a stable lower-case ULID. `description`: by
    language (`pt`, `en`), for a merchant. `scheme`: how a delivery is proven. `normalize`: the
    events of a verified delivery, the order's first; [] for what is of no interest; raises
    MalformedError (or KeyError, TypeError, ValueError, which become it) for what cannot be
    understood. `settles`: names of deferred events (`Event.defer_as`) that this delivery makes
    untrue: an order names its checkout. `delivery_key`: the provider's own id of this delivery,
    None for none (then a hash of the body serves). `supported_events`: every name `normalize` can
    give. `credentials`: beside `secret`, which exists for every scheme that can use one.
    `available_settings`: as `GET /drivers` shows it, of the driver's settings per tenant.
    `handshake`: the reply to a request that is no delivery, else None. `secret_fields`: names of
    fields, at any depth, that hold secrets of the provider or the merchant: taken out before
    anything is stored. `docs_url`: the vendor's page.
    """

    slug: str
    id: str
    name: str
    description: Mapping[str, str]
    docs_url: str
    scheme: Scheme
    normalize: Callable[[Verified], Sequence[Event]]
    supported_events: tuple[str, ...]
    delivery_key: Callable[[Verified], str | None]
    settles: Callable[[Verified], tuple[str, ...]] | None = None
    version: str = "v1"
    type: Literal["webhook", "polling"] = "webhook"
    status: Literal["active", "deprecated", "disabled"] = "active"
    credentials: tuple[Credential, ...] = ()
    available_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    handshake: Callable[[Inbound, Grant], Reply | None] | None = None
    secret_fields: tuple[str, ...] = ()
    parse: Parse = parse_body
    key_set_url: str | None = None
    api: Api | None = None
    oauth: OAuth | None = None
    polls: tuple[Poll, ...] = ()
    created_at: str = "2026-11-21T00:00:00.000000Z"
    updated_at: str = "2026-11-21T00:00:00.000000Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of one delivery: to be stored as it is. `body` and `headers` hold no secret any
    more.
    """

    outcome: Outcome
    delivery_key: str
    body: bytes
    headers: Mapping[str, tuple[str, ...]]
    events: tuple[Event, ...] = ()
    reason: str | None = None
    fetches: tuple[Fetch, ...] = ()
    settles: tuple[str, ...] = ()


def receive(driver: Driver, inbound: Inbound, grant: Grant) -> Receipt:
    """Verify, then normalize.

    Raises VerificationError (401) or UnparsableError (400); whatever is wrong after the proof
    becomes a receipt with outcome `quarantined`, because sending the same bytes again would not
    help.
    """
    secrets = grant.secrets if driver.scheme.reveals_secret else ()
    try:
        verified = verify(driver.scheme, inbound, grant, driver.parse)
    except MalformedError as error:
        body, headers = redact(inbound, None, secrets, driver.secret_fields)
        key = _body_key(inbound.body)
        return _quarantined(error, delivery_key=key, body=body, headers=headers)
    body, headers = redact(inbound, verified.payload, secrets, driver.secret_fields)
    return interpret(driver, verified, has_api=can_call(driver, grant), body=body, headers=headers)


def interpret(
    driver: Driver,
    verified: Verified,
    *,
    has_api: bool,
    body: bytes,
    headers: Mapping[str, tuple[str, ...]],
) -> Receipt:
    """The receipt of a verified delivery; also for renormalizing, enriched and polled ones."""
    told: dict[str, Any] = {"body": body, "headers": headers}
    key: str | None = None
    try:
        given = driver.delivery_key(verified)
        key = storable(given) if given else _body_key(verified.inbound.body)
        fetches = driver.api.needs(verified) if has_api and driver.api and driver.api.needs else ()
        if fetches:
            return Receipt(outcome="enriching", delivery_key=key, fetches=fetches, **told)
        events = tuple(map(_storable_event, driver.normalize(verified)))
        settles = tuple(map(storable, driver.settles(verified))) if driver.settles else ()
    except _MISREAD as error:
        key = key or _body_key(verified.inbound.body)
        return _quarantined(error, delivery_key=key, **told)
    outcome: Outcome = "accepted" if events else "ignored"
    return Receipt(outcome=outcome, delivery_key=key, events=events, settles=settles, **told)


# What reading a payload of an unknown shape may raise.
_MISREAD = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MalformedError,
)


def _quarantined(error: Exception, **told: Any) -> Receipt:
    reason = str(error) if isinstance(error, MalformedError) else f"{type(error).__name__}: {error}"
    return Receipt(outcome="quarantined", reason=storable(reason), **told)


def storable(text: str) -> str:
    """Text any store takes and can index: no NUL, no lone surrogate, of bounded length."""
    if len(text) <= MAX_KEY and text.isascii() and "\x00" not in text:
        return text
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "")
    if len(clean) <= MAX_KEY:
        return clean
    return clean[: MAX_KEY - 41] + "~" + hashlib.sha256(clean.encode()).hexdigest()[:40]


def _storable_event(event: Event) -> Event:
    changed: dict[str, Any] = {
        name: clean
        for name in ("key", "dedupe_key", "provider_event", "provider_event_id", "defer_as")
        if (text := getattr(event, name)) is not None and (clean := storable(text)) is not text
    }
    drift = tuple(map(storable, event.drift))
    return replace(event, drift=drift, **changed) if changed or drift else event


def can_call(driver: Driver, grant: Grant) -> bool:
    """Whether the installation has what the provider's API asks for."""
    return driver.api is not None and bool(driver.api.used(grant.credentials))


def _body_key(body: bytes) -> str:
    return "body:" + hashlib.sha256(body).hexdigest()[:40]


def capped(value: Any) -> Any:
    """`value` when it is small enough for `extra` or `raw`, else a note of its size."""
    size = len(codec.dumps(value))
    return value if size <= MAX_EXTRA else {"omitted": "too large", "bytes": size}


def leftovers(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth keeping in `extra`, without its absent parts."""
    # A zero and a no are told, too; asking for the truth first spares most values the comparisons.
    told: dict[str, Any] = capped({k: v for k, v in kept.items() if v or v == 0})
    return told


def fact(*parts: Any) -> str:
    """A dedupe key from what names the fact; times by their instant, absent parts as nothing."""
    return "|".join(_part(p) for p in parts)


def _part(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if abs(value.adjusted()) < MAX_KEY else str(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def raw_event(
    verified: Verified,
    *,
    provider_event: str,
    key: str | None,
    drift: tuple[str, ...] = (),
    **known: Any,
) -> Event:
    """`provider.event`: verified and with an id, but with no meaning of ours. `known`: further
    fields of Event.

    Without a key of its own a hash of what it says serves.
    """
    # Of the payload and not of the bytes: those that are stored have lost their secrets.
    content = _body_key(codec.dumps(verified.payload))
    ident = key or content
    fields: dict[str, Any] = {"dedupe_key": fact(provider_event, ident, content)} | known
    return Event(
        name="provider.event",
        key=ident,
        provider_event=provider_event,
        data={"raw": capped(verified.payload)},
        drift=drift,
        **fields,
    )
