"""The front door for providers: read, verify, normalize, commit, answer.

A 200 means that the raw request, its events and their deliveries are in one committed transaction.
The answer never depends on a sink's health.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from drivers import BY_SLUG
from drivers.base import Driver, Receipt, receive
from drivers.body import is_known_type
from gateway import log
from gateway.answers import error_response
from gateway.directory import Directory
from gateway.hops import read_hops
from gateway.intake import Intake
from gateway.key_sets import KeySets
from gateway.metrics import Metrics
from gateway.models import Installation
from gateway.pace import Paces
from gateway.pressure import Pressure
from gateway.reading import read_body, refuse_repeated
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
    source: Callable[[web.BaseRequest], str]
    crash: Callable[[str], None]
    tracing: Tracing | None = None
    refusals: deque[Refusal] = field(default_factory=lambda: deque(maxlen=REFUSALS_KEPT))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request to an ingest URL; every failure is an answer of the contract's table."""
        slug = request.match_info["driver"]
        started, span = self.monotonic(), self._begin(request)
        try:
            trace = span.traceparent if span else None
            response, outcome = await self._serve(request, slug, trace)
        except RequestError as error:
            response, outcome = error_response(error), error.code
        except StoreUnavailableError as error:
            unavailable = UnavailableError(error.message, retry_after=self._jittered())
            response, outcome = error_response(unavailable), "unavailable"
        known = slug if slug in BY_SLUG else "unknown"
        self.metrics.ingested(known, outcome, self.monotonic() - started)
        if span is not None:
            failed = outcome if response.status >= 500 else None
            span.end(failed, driver=known, outcome=outcome, http_status=response.status)
        return response

    def _begin(self, request: web.Request) -> Span | None:
        if self.tracing is None:
            return None
        parent = valid(request.headers.get(HEADER))
        return self.tracing.begin("POST /hooks/{driver}/{token}", "server", parent)

    async def _serve(
        self, request: web.Request, slug: str, trace: str | None
    ) -> tuple[web.Response, str]:
        driver, installation = self._find(slug, request.match_info["token"])
        self.pressure.check(self.random)
        wait = self.paces.take(installation.id, self.monotonic())
        if wait:
            raise TooManyRequestsError("too many deliveries a second", retry_after=int(wait) + 1)
        inbound = await self.read(request)
        self.crash("after_read")
        grant = self._grant(driver, installation)
        if driver.handshake is not None:
            reply = driver.handshake(inbound, grant)
            if reply is not None:
                return _reply(reply), "handshake"
        if request.method != "POST" and driver.handshake is None:
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        receipt = await self._receive(driver, installation, inbound, grant, request)
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

    async def read(self, request: web.Request) -> Inbound:
        """A request as drivers see it. Raises a RequestError for what nobody could read."""
        refuse_repeated(request.headers)
        if not is_known_type(
            request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        ):
            raise UnsupportedMediaTypeError("send JSON or a form")
        read_hops(request.headers)
        body = await read_body(request, self.max_body)
        headers: dict[str, tuple[str, ...]] = {}
        for raw_name, raw_value in request.raw_headers:
            name = raw_name.decode("latin-1").lower()
            value = raw_value.decode("utf-8", "surrogateescape")
            headers[name] = (*headers[name], value) if name in headers else (value,)
        return Inbound(
            method=request.method,
            headers=headers,
            query=_query(request.rel_url.raw_query_string),
            body=body,
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
        request: web.Request,
    ) -> Receipt:
        try:
            try:
                return receive(driver, inbound, grant)
            except VerificationError:
                if not await self._has_new_keys(driver, installation):
                    raise
                return receive(driver, inbound, self._grant(driver, installation))
        except VerificationError as error:
            self._refuse(installation, inbound, error.message, request)
            raise UnauthorizedError(
                "the delivery could not be verified", code="verification_failed"
            ) from None
        except UnparsableError as error:
            self._refuse(installation, inbound, error.message, request)
            raise BadRequestError(error.message, code="unparsable_body") from None

    async def _has_new_keys(self, driver: Driver, installation: Installation) -> bool:
        """Whether the provider has other public keys by now than those that did not fit."""
        url = driver.key_set_url
        if url is None or installation.settings.get("jwks"):
            return False
        return await self.key_sets.refresh(url)

    def _refuse(
        self, installation: Installation, inbound: Inbound, reason: str, request: web.Request
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
                remote=self.source(request),
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


def _reply(reply: Reply) -> web.Response:
    return web.Response(
        body=reply.body, status=reply.status, headers={"Content-Type": reply.content_type}
    )


def _answer(receipt: Receipt, told: Appended) -> web.Response:
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
    return web.Response(body=codec.dumps(body), content_type="application/json")
