"""The sample deliveries of every driver: `drivers/samples/<slug>/<case>.json`, run as the gateway
would run them.

A sample is one request as its provider sends it (`method`, `headers`, `query`, `body` or the exact
`body_raw`), what the installation holds (`secret`, `settings`, `jwks`), the clock (`now`, Unix
seconds), and what people expect of it (`expect`). Beside it lies `<case>.events.json`, written by
`make golden`: everything that comes of it.

Answers of the provider's API are in `enrichment_responses` (`"GET /path": body`) or `enrichment`
(`{"request": {"method", "path"}, "response": {"body"}}`); then `expect_enriched` (else `expect`)
says what follows with API credentials. A sample of `kind` `poll` is a page of a polled list
(`poll`, of the same form).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import drivers
from drivers import DRIVERS
from drivers.base import Driver, Receipt, interpret, receive
from drivers.describe import Fetch
from drivers.verify import Choice, Claim, Scheme, restore
from schemas import codec
from schemas.errors import UnparsableError, VerificationError
from schemas.events import Event
from schemas.request import Grant, Inbound, Reply

FOLDER = Path(drivers.__file__).parent / "samples"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MAX_ROUNDS = 5  # of questions to a provider's API about one delivery


@dataclass(frozen=True)
class Run:
    """What became of one request: exactly one of `reply`, `refusal` and `receipts` (a polled page
    gives several).
    """

    reply: Reply | None = None
    refusal: str | None = None
    receipts: tuple[Receipt, ...] = ()
    fetched: tuple[str, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(event for receipt in self.receipts for event in receipt.events)


@dataclass(frozen=True)
class Sample:
    """One sample file, read."""

    driver: Driver
    case: str
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        return f"{self.driver.slug}-{self.case}"

    @property
    def golden(self) -> Path:
        return FOLDER / self.driver.slug / f"{self.case}.events.json"

    @property
    def is_poll(self) -> bool:
        return self.content.get("kind") == "poll"

    @property
    def now(self) -> datetime:
        stamp = self.content.get("now")
        return NOON if stamp is None else datetime.fromtimestamp(stamp, UTC)

    @property
    def secret(self) -> str | None:
        """The secret the installation holds; a `path_secret` is part of its URL and no secret of
        the request.
        """
        return None if self.content.get("path_secret") else self.content.get("secret")

    @property
    def body(self) -> bytes:
        raw = self.content.get("body_raw")
        if raw is not None:
            return str(raw).encode("utf-8", "surrogateescape")
        return json.dumps(self.content["body"], ensure_ascii=False).encode()

    @property
    def inbound(self) -> Inbound:
        return Inbound(
            method=self.content.get("method", "POST"),
            headers={k.lower(): (str(v),) for k, v in self.content.get("headers", {}).items()},
            query={k: (str(v),) for k, v in (self.content.get("query") or {}).items()},
            body=self.body,
            received_at=self.now,
        )

    @property
    def settings(self) -> dict[str, Any]:
        told = dict(self.content.get("settings") or {})
        return told | ({"jwks": self.content["jwks"]} if self.content.get("jwks") else {})

    @property
    def grant(self) -> Grant:
        """Without API credentials."""
        return Grant(secrets=(self.secret,) if self.secret else (), settings=self.settings)

    @property
    def answers(self) -> dict[str, Any]:
        """What the provider's API answers, by `METHOD /path`."""
        told = dict(self.content.get("enrichment_responses") or {})
        single = self.content.get("enrichment")
        if single:
            request = single["request"]
            told[f"{request['method']} {request['path']}"] = single["response"]["body"]
        return told

    @property
    def with_api(self) -> Grant:
        """With whatever credentials the driver's API asks for."""
        api = self.driver.api
        assert api is not None, f"{self.id} has answers of an API that the driver does not describe"
        return replace(self.grant, credentials=dict.fromkeys(api.credentials, "invented"))

    def run(self) -> Run:
        """What becomes of it when the installation has no API credentials."""
        return self._poll() if self.is_poll else run(self.driver, self.inbound, self.grant)

    def run_enriched(self) -> Run:
        """What becomes of it when the provider's API may be asked."""
        first = run(self.driver, self.inbound, self.with_api)
        assert first.receipts, f"{self.id}: {first}"
        receipt, fetched, found = first.receipts[0], list[str](), dict[str, Any]()
        payload = self.driver.parse(self.inbound)
        verified = restore(self.inbound, self.settings, payload, found)
        for _ in range(MAX_ROUNDS):
            if receipt.outcome != "enriching":
                break
            for fetch in receipt.fetches:
                fetched.append(route(fetch))
                found[fetch.name] = self._answer(fetch)
            receipt = interpret(
                self.driver, verified, has_api=True, body=receipt.body, headers=receipt.headers
            )
        return Run(receipts=(receipt,), fetched=tuple(fetched))

    def _answer(self, fetch: Fetch) -> Any:
        path = f"{fetch.method} {urlsplit(fetch.url).path}"
        known = self.answers
        assert path in known or fetch.optional, f"{self.id} asks for {path}; answers: {list(known)}"
        return exact(known.get(path))

    def _poll(self) -> Run:
        asked = self.content["poll"]["request"]
        for poll in self.driver.polls:
            fetch = poll.start({}, self.now, self.settings)
            if fetch.method == asked["method"] and urlsplit(fetch.url).path == asked["path"]:
                page = poll.read(exact(self.content["poll"]["response"]["body"]), {})
                inbounds = [poll.inbound(item, self.now) for item in page.items]
                receipts = tuple(self._polled(inbound) for inbound in inbounds)
                return Run(receipts=receipts, fetched=(route(fetch),))
        raise AssertionError(f"{self.id}: no poll of the driver asks for {asked}")

    def _polled(self, inbound: Inbound) -> Receipt:
        verified = restore(inbound, self.settings, self.driver.parse(inbound), {})
        return interpret(self.driver, verified, has_api=False, body=inbound.body, headers={})


def run(driver: Driver, inbound: Inbound, grant: Grant) -> Run:
    """What becomes of one request, as ingress would decide it."""
    reply = driver.handshake(inbound, grant) if driver.handshake else None
    if reply is not None:
        return Run(reply=reply)
    try:
        return Run(receipts=(receive(driver, inbound, grant),))
    except (VerificationError, UnparsableError) as error:
        return Run(refusal=type(error).__name__)


def route(fetch: Fetch) -> str:
    """A request to an API as one line."""
    parts = urlsplit(fetch.url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{fetch.method} {parts.scheme}://{parts.netloc}{parts.path}{query}"


def exact(value: Any) -> Any:
    """A value as it is after it travelled as JSON: Decimals for fractions."""
    return codec.loads(json.dumps(value).encode())


def pick(driver: Driver, inbound: Inbound, grant: Grant) -> Scheme:
    """The scheme that decides about this request."""
    scheme = driver.scheme
    while isinstance(scheme, Choice):
        scheme = scheme.pick(Claim(inbound, driver.parse), grant)
    return scheme


def load() -> Iterator[Sample]:
    """Every sample of every driver, in order."""
    for driver in DRIVERS:
        for path in sorted((FOLDER / driver.slug).glob("*.json")):
            if not path.name.endswith(".events.json"):
                yield Sample(driver, path.stem, json.loads(path.read_text("utf-8")))


SAMPLES: tuple[Sample, ...] = tuple(load())


def plain(value: Any) -> Any:
    """`value` as JSON shows it, without None, empty text, empty lists and empty objects."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, dict):
        told = {str(k): plain(v) for k, v in value.items()}
        return {k: v for k, v in told.items() if v is not None and v not in ("", [], {})}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return json.loads(codec.dumps(value))


def _event(event: Event) -> dict[str, Any]:
    unremarkable = {"test": False, "defer_seconds": 0}
    return {k: v for k, v in plain(event).items() if unremarkable.get(k, ...) != v}


def golden_of(sample: Sample) -> dict[str, Any]:
    """What the golden file of a sample holds; what is None or empty is left out."""
    told = _told(sample.run())
    if sample.answers:
        told["enriched"] = _told(sample.run_enriched())
    return told


def _told(what: Run) -> dict[str, Any]:
    receipts = [
        {
            "outcome": r.outcome,
            "delivery_key": r.delivery_key,
            "reason": r.reason,
            "settles": r.settles,
            "wants": [route(f) for f in r.fetches],
            "events": [_event(e) for e in r.events],
        }
        for r in what.receipts
    ]
    reply = what.reply
    answer = reply and {
        "status": reply.status,
        "body": reply.body.decode(),
        "type": reply.content_type,
    }
    told = plain({"fetched": what.fetched, "reply": answer, "refusal": what.refusal})
    if len(receipts) == 1:
        return {**told, **plain(receipts[0])}
    return {**told, "deliveries": plain(receipts)} if receipts else dict(told)
