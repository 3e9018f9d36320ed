"""The front door for providers: read, verify, normalize, commit, answer.

A 200 means that the raw request, its events and their deliveries are in one committed transaction.
The answer never depends on a sink's health.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from drivers import BY_SLUG
from drivers.base import Driver, Receipt, receive
from drivers.body import is_known_type
from gateway import log
from gateway.answers import Answer, error_answer
from gateway.arrival import Arrival
from gateway.directory import Directory
from gateway.hops import read_hops
from gateway.intake import Intake
from gateway.key_sets import KeySets
from gateway.metrics import Metrics
from gateway.models import Installation
from gateway.pace import Paces
from gateway.pressure import Pressure
from gateway.reading import refuse_repeated
from gateway.security import digest
from gateway.standing import Standing
from gateway.store.base import Appended
from gateway.tracing import HEADER, Span, Tracing, valid
from schemas import codec
from schemas.errors import (
    BadRequestError,
    NotFoundError,
    RequestError,
    StoreUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnparsableError,
    UnsupportedMediaTypeError,
    VerificationError,
)
from schemas.request import Grant, Inbound, Reply

MOST_PARAMETERS = 200
REFUSALS_KEPT = 200


@dataclass(slots=True)
class Refusal:
    """One delivery that could not be verified: enough for an operator, nothing to use."""

    at: int
    driver: str
    installation_id: str
    instance: str
    tenant: str
    reason: str
    size: int
    remote: str


@dataclass(slots=True, kw_only=True)
class Ingress:
    """Serves `/hooks/{driver}/{token}`."""

    intake: Intake
    directory: Directory
    pressure: Pressure
    metrics: Metrics
    paces: Paces
    max_body: int
    now: Callable[[], int]
    monotonic: Callable[[], float]
    random: Callable[[], float]
    key_sets: KeySets
    standing: Standing
    source: Callable[[str, Sequence[str]], str]
    crash: Callable[[str], None]
    tracing: Tracing | None = None
    refusals: deque[Refusal] = field(default_factory=lambda: deque(maxlen=REFUSALS_KEPT))

    async def handle(self, arrival: Arrival) -> Answer:
        """Any request to an ingest URL; every failure is an answer of the contract's table."""
        slug = arrival.driver
        started, span = self.monotonic(), self._begin(arrival)
        try:
            trace = span.traceparent if span else None
            answer, outcome = await self._serve(arrival, slug, trace)
        except RequestError as error:
            answer, outcome = error_answer(error), error.code
        except StoreUnavailableError as error:
            unavailable = UnavailableError(error.message, retry_after=self._jittered())
            answer, outcome = error_answer(unavailable), "unavailable"
        known = slug if slug in BY_SLUG else "unknown"
        self.metrics.ingested(known, outcome, self.monotonic() - started)
        if span is not None:
            failed = outcome if answer.status >= 500 else None
            span.end(failed, driver=known, outcome=outcome, http_status=answer.status)
        return answer

    def _begin(self, arrival: Arrival) -> Span | None:
        if self.tracing is None:
            return None
        parent = valid(next(iter(arrival.headers.get(HEADER, ())), None))
        return self.tracing.begin("POST /hooks/{driver}/{token}", "server", parent)

    async def _serve(self, arrival: Arrival, slug: str, trace: str | None) -> tuple[Answer, str]:
        driver, installation = self._find(slug, arrival.token)
        self.pressure.check(self.random)
        wait = self.paces.take(installation.id, self.monotonic())
        if wait:
            raise TooManyRequestsError("too many deliveries a second", retry_after=int(wait) + 1)
        inbound = await self.read(arrival)
        self.crash("after_read")
        grant = self._grant(driver, installation)
        if driver.handshake is not None:
            reply = driver.handshake(inbound, grant)
            if reply is not None:
                return _reply(reply), "handshake"
        if arrival.method != "POST" and driver.handshake is None:
            raise web.HTTPMethodNotAllowed(arrival.method, ["POST"])
        receipt = await self._receive(driver, installation, inbound, grant, arrival)
        self.crash("after_verify")
        told = await self.intake.take(installation, inbound, receipt, trace)
        if not told.duplicate:
            await self.standing.heard(installation, receipt.events)
        self.crash("before_answer")
        outcome = "duplicate" if told.duplicate else receipt.outcome
        return _answer(receipt, told), outcome

    def _find(self, slug: str, token: str) -> tuple[Driver, Installation]:
        """One answer for an unknown token, another driver's, and one that is switched off."""
        key = digest(token)
        installation = self.directory.installation_by_token(key)
        driver = BY_SLUG.get(slug)
        if driver is None or installation is None or not self._is_open(installation, driver, key):
            raise NotFoundError("there is no such ingest URL")
        return driver, installation

    def _is_open(self, installation: Installation, driver: Driver, key: str) -> bool:
        if installation.driver != driver.slug or installation.status == "disabled":
            return False
        settings = self.directory.driver_settings(installation.tenant, driver.slug)
        if settings is not None and not settings.enabled:
            return False
        now = self.now()
        return any(t == key and (until is None or until > now) for t, until in installation.tokens)

    async def read(self, arrival: Arrival) -> Inbound:
        """A request as drivers see it. Raises a RequestError for what nobody could read."""
        headers = arrival.headers
        refuse_repeated(headers)
        media = next(iter(headers.get("content-type", ())), "")
        if not is_known_type(media.partition(";")[0].strip().lower()):
            raise UnsupportedMediaTypeError("send JSON or a form")
        read_hops(headers)
        return Inbound(
            method=arrival.method,
            body=await arrival.body(self.max_body),
            headers=headers,
            query=_query(arrival.query) if arrival.query else {},
            received_at=datetime.fromtimestamp(self.now() / 1_000_000, UTC),
        )

    def _grant(self, driver: Driver, installation: Installation) -> Grant:
        url = driver.key_set_url
        return Grant(
            secrets=installation.secrets_at(self.now()),
            settings=installation.settings,
            credentials=installation.known_credentials,
            keys={url: self.key_sets.get(url)} if url else {},
        )

    async def _receive(
        self,
        driver: Driver,
        installation: Installation,
        inbound: Inbound,
        grant: Grant,
        arrival: Arrival,
    ) -> Receipt:
        try:
            try:
                return receive(driver, inbound, grant)
            except VerificationError:
                if not await self._has_new_keys(driver, installation):
                    raise
                return receive(driver, inbound, self._grant(driver, installation))
        except VerificationError as error:
            self._refuse(installation, inbound, error.message, arrival)
            raise UnauthorizedError(
                "the delivery could not be verified", code="verification_failed"
            ) from None
        except UnparsableError as error:
            self._refuse(installation, inbound, error.message, arrival)
            raise BadRequestError(error.message, code="unparsable_body") from None

    async def _has_new_keys(self, driver: Driver, installation: Installation) -> bool:
        """Whether the provider has other public keys by now than those that did not fit."""
        url = driver.key_set_url
        if url is None or installation.settings.get("jwks"):
            return False
        return await self.key_sets.refresh(url)

    def _refuse(
        self, installation: Installation, inbound: Inbound, reason: str, arrival: Arrival
    ) -> None:
        """Keep a bounded record; what was sent is not kept, because anybody could have sent it."""
        self.refusals.append(
            Refusal(
                at=self.now(),
                driver=installation.driver,
                installation_id=installation.id,
                instance=installation.instance,
                tenant=installation.tenant,
                reason=reason,
                size=len(inbound.body),
                remote=self.source(arrival.remote, arrival.headers.get("x-forwarded-for", ())),
            )
        )
        log.get().warning(
            "inbound.refused",
            driver=installation.driver,
            installation_id=installation.id,
            reason=reason,
        )

    def _jittered(self) -> int:
        return 5 + int(10 * self.random())


def _query(raw: str) -> dict[str, tuple[str, ...]]:
    """Raises BadRequestError."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise BadRequestError(f"more than {MOST_PARAMETERS} query parameters") from None
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found


def _reply(reply: Reply) -> Answer:
    return Answer(reply.body, reply.status, reply.content_type)


def _answer(receipt: Receipt, told: Appended) -> Answer:
    body: dict[str, Any] = {
        "received": True,
        "inbound_id": told.inbound_id,
        "events": [
            {"id": e.id, "event": e.name, "duplicate": e.duplicate or told.duplicate}
            for e in told.events
        ],
    }
    if receipt.outcome == "quarantined" and not told.duplicate:
        body["quarantined"] = True
    if receipt.outcome == "enriching" and not told.duplicate:
        body["enriching"] = True
    return Answer(codec.dumps(body))
