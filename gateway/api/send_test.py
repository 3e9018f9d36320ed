"""`POST /drivers/{id}/send-test-event`: five checks of a receiver, by one real delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from drivers.base import Driver
from gateway.api.doc import Doc
from gateway.api.drivers import found_driver
from gateway.api.language import Language, language_of
from gateway.api.paging import Data, refuse
from gateway.api.route import Call, Route, data
from gateway.api.text import Body
from gateway.trial import Witness, example, send
from schemas.events import NAME_OF, StoredEvent, to_key
from schemas.sink_config import WebhookConfig
from schemas.target import AllowList, InvalidTargetError, Target, check_url
from sinks.signing import new_secret

CheckName = Literal["valid_url", "https", "gzip", "timeout", "post_success"]
CHECKS: tuple[CheckName, ...] = ("valid_url", "https", "gzip", "timeout", "post_success")
SECRET_BYTES = 32
MESSAGES: dict[str, dict[Language, str]] = {
    "valid": {"pt": "URL é válida", "en": "URL is valid"},
    "invalid": {"pt": "URL inválida: {reason}", "en": "URL is not valid: {reason}"},
    "https": {"pt": "URL usa HTTPS", "en": "URL uses HTTPS"},
    "http_allowed": {
        "pt": "HTTP é permitido para este destino",
        "en": "Plain HTTP is allowed for this host",
    },
    "no_https": {"pt": "URL deve usar HTTPS", "en": "URL must use HTTPS"},
    "gzip": {"pt": "Servidor aceita compressão gzip", "en": "Server accepts gzip compression"},
    "no_gzip": {
        "pt": "Servidor não aceita compressão gzip",
        "en": "Server does not accept gzip compression",
    },
    "unreachable": {
        "pt": "Não foi possível conectar ao servidor: {reason}",
        "en": "Could not reach the server: {reason}",
    },
    "in_time": {"pt": "Timeout adequado", "en": "Server answered in time"},
    "late": {
        "pt": "Servidor não respondeu em 5 segundos",
        "en": "Server did not answer within 5 seconds",
    },
    "ok": {"pt": "POST retornou código 2xx", "en": "POST returned a 2xx status"},
    "not_ok": {"pt": "POST retornou código {reason}", "en": "POST returned status {reason}"},
}


class TestEvent(Body):
    """Where to send what. `event_name`: one of the driver's `supported_events`, in any spelling."""

    __test__ = False  # no test class, whatever a collector thinks of its name

    webhook_url: Annotated[str, Field(min_length=1)]
    event_name: Annotated[str, Field(min_length=1, max_length=100)]


class Check(BaseModel):
    """One check; `message` is null when it was skipped."""

    result: Literal["succeeded", "failed", "skipped"]
    message: str | None


class Checks(BaseModel):
    """In the order in which they run; after a failure the rest are skipped."""

    valid_url: Check
    https: Check
    gzip: Check
    timeout: Check
    post_success: Check


class TrialData(BaseModel):
    """`signing_secret`: what the delivery was signed with, when no webhook of this tenant has the
    URL already.
    """

    success: bool
    checks: Checks
    event_id: str | None
    signing_secret: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one check: which message, and whether that is good."""

    good: bool
    message: str
    reason: str = ""


async def send_test_event(call: Call) -> web.Response:
    """Send a realistic event of the driver and tell how the receiver took it: 200 when every check
    succeeded, else 400 with the same shape.
    """
    driver, wish = found_driver(call), await call.model(TestEvent)
    name = _event_name(driver, wish.event_name)
    services, language = call.services, language_of(call.request)
    verdicts = list(_before_sending(call, wish.webhook_url))
    event: StoredEvent | None = None
    fresh: str | None = None
    if all(v.good for v in verdicts):
        event = await asyncio.to_thread(
            example,
            driver,
            name,
            ident=services.ids(),
            tenant=call.principal.tenant,
            now=services.now(),
        )
        if event is None:
            raise refuse("event_name", f"there is no example of {name} by {driver.name}")
        secrets = _known_secrets(call, wish.webhook_url)
        if not secrets:
            fresh = new_secret(services.random(SECRET_BYTES))
            secrets = (fresh,)
        witness = await send(services.sink_context, event, wish.webhook_url, secrets)
        verdicts += _after_sending(witness)
    checks = dict(zip(CHECKS, (_shown(v, language) for v in verdicts), strict=False))
    skipped = {name: Check(result="skipped", message=None) for name in CHECKS}
    success = len(checks) == len(CHECKS) and all(v.good for v in verdicts)
    answer = TrialData(
        success=success,
        checks=Checks(**(skipped | checks)),
        event_id=event.id if event else None,
        signing_secret=fresh,
    )
    return data(answer, 200 if success else 400)


def _event_name(driver: Driver, spelled: str) -> str:
    name = NAME_OF.get(to_key(spelled), spelled)
    if name not in driver.supported_events:
        known = ", ".join(driver.supported_events)
        raise refuse("event_name", f"{driver.name} has no such event, but {known}")
    return name


def _before_sending(call: Call, url: str) -> Iterator[Verdict]:
    """What the URL says by itself; ends with the first failure."""
    allow = AllowList.parse(call.services.settings.allow_targets)
    try:
        target = check_url(url, allow, require_https=False)
    except InvalidTargetError as error:
        yield Verdict(good=False, message="invalid", reason=error.message)
        return
    yield Verdict(good=True, message="valid")
    yield _of_scheme(target)


def _of_scheme(target: Target) -> Verdict:
    """Plain HTTP is fine for hosts that the operator named, as it is for sinks."""
    if target.scheme == "https":
        return Verdict(good=True, message="https")
    return Verdict(good=target.listed, message="http_allowed" if target.listed else "no_https")


def _after_sending(witness: Witness) -> Iterator[Verdict]:
    """What the one delivery told; ends with the first failure."""
    if witness.answer is None:
        error = witness.error
        if error is not None and error.kind == "timeout":
            yield Verdict(good=True, message="gzip")
            yield Verdict(good=False, message="late")
        else:
            yield Verdict(good=False, message="unreachable", reason=error.message if error else "?")
        return
    status = witness.answer.status
    if status == 415:
        yield Verdict(good=False, message="no_gzip")
        return
    yield Verdict(good=True, message="gzip")
    yield Verdict(good=True, message="in_time")
    good = 200 <= status < 300
    yield Verdict(good=good, message="ok" if good else "not_ok", reason=str(status))


def _known_secrets(call: Call, url: str) -> tuple[str, ...]:
    """What webhooks of this URL, that the key may touch, are signed with."""
    now = call.services.now()
    for sink in call.services.directory.sinks():
        if sink.tenant != call.principal.tenant or not call.principal.sees(sink.instance):
            continue
        if isinstance(sink, WebhookConfig) and sink.url == url:
            return tuple(s for s, end in sink.secrets if end is None or end > now)
    return ()


def _shown(verdict: Verdict, language: Language) -> Check:
    message = MESSAGES[verdict.message][language].format(reason=verdict.reason)
    return Check(result="succeeded" if verdict.good else "failed", message=message)


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/drivers/{id}/send-test-event",
        handler=send_test_event,
        permission="DRIVERS_MANAGE",
        summary="Send a realistic event of the driver to a URL",
        tag="drivers",
        body=TestEvent,
        answer=Data[TrialData],
        answers={400: "a check failed; the same shape"},
        doc=Doc(
            about="Sends one signed, gzip-encoded event marked `test` and tells how it went: 200"
            " when all checks succeeded, else 400. They run in order; after a failure the rest are"
            " `skipped`. Messages are Portuguese, or English by `Accept-Language`.",
            examples={
                "A paid order": {
                    "webhook_url": "https://example.com/hooks",
                    "event_name": "order.paid",
                }
            },
            alike=(400,),
        ),
    ),
)
