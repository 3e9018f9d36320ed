"""A test event of a driver to a URL, and what its answer says about the receiver.

The event is made from the driver's bundled samples and goes out through the webhook sink itself, so
that the receiver sees exactly what a real delivery would look like.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any
from urllib.parse import urlsplit

from drivers.base import Driver, interpret
from drivers.verify import restore
from gateway import samples
from schemas import codec
from schemas.delivery import Message
from schemas.errors import UnparsableError
from schemas.events import Event, StoredEvent
from schemas.request import Inbound
from schemas.sink_config import WebhookConfig
from sinks.base import Context, Http, HttpAnswer, HttpError
from sinks.webhook import open_webhook

SECONDS = 5.0
INSTANCE = "test"


@dataclass(slots=True)
class Witness:
    """An HTTP client that remembers the last answer, or why there was none."""

    inner: Http
    answer: HttpAnswer | None = None
    error: HttpError | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float = 20.0,  # noqa: ASYNC109 - as sinks.base.Http has it
        limit: int = 4096,
    ) -> HttpAnswer:
        """See `sinks.base.Http.request`."""
        try:
            self.answer = await self.inner.request(
                method, url, headers=headers, body=body, timeout=timeout, limit=limit
            )
        except HttpError as error:
            self.error = error
            raise
        return self.answer


async def send(context: Context, event: StoredEvent, url: str, secrets: tuple[str, ...]) -> Witness:
    """One POST of `event`, gzip-encoded and signed by `secrets`; gives what came back."""
    witness = Witness(context.http)
    config = WebhookConfig(
        id=event.id,
        tenant=event.tenant,
        instance=event.instance,
        url=url,
        gzip=True,
        timeout=SECONDS,
        secrets=tuple((secret, None) for secret in secrets),
    )
    sink = open_webhook(config, replace(context, http=witness))
    await sink.send([Message(delivery_id=event.id, event=event, attempt=1, dedupe_id=event.id)])
    return witness


def example(driver: Driver, name: str, *, ident: str, tenant: str, now: int) -> StoredEvent | None:
    """A realistic event of this name, marked as a test; None when no sample of the driver tells
    one. Reads files.
    """
    told = _told(driver, name, now)
    if told is None:
        return None
    at = datetime.fromtimestamp(now / 1_000_000, UTC)
    return StoredEvent(
        id=ident,
        seq=0,
        tenant=tenant,
        instance=INSTANCE,
        installation_id=None,
        driver=driver.slug,
        name=name,
        key=told.key,
        occurred_at=told.occurred_at or at,
        received_at=at,
        provider_event=told.provider_event,
        provider_event_id=told.provider_event_id,
        inbound_id=None,
        dedupe_key=told.dedupe_key,
        test=True,
        superseded=False,
        data=codec.dumps(told.data),
    )


def _told(driver: Driver, name: str, now: int) -> Event | None:
    """The event of this name from the sample that tells most."""
    for case in _cases(driver.slug, name):
        content = codec.loads(_sample(driver.slug, f"{case}.json").read_bytes())
        at = datetime.fromtimestamp(int(content.get("now") or now // 1_000_000), UTC)
        settings = content.get("settings") or {}
        polled = content.get("kind") == "poll"
        deliveries = _polled if polled else _delivered
        for inbound in deliveries(driver, case, content, at):
            try:
                payload = driver.parse(inbound)
            except UnparsableError:
                continue
            verified = restore(inbound, settings, payload, {})
            receipt = interpret(driver, verified, has_api=False, body=b"", headers={})
            event = next((e for e in receipt.events if e.name == name), None)
            if event is not None:
                return event
    return None


def _delivered(
    driver: Driver, case: str, _content: Mapping[str, Any], at: datetime
) -> Iterator[Inbound]:
    """The request of a sample."""
    sample = samples.load(f"{driver.slug}/{case}")
    headers = {k.lower(): (v,) for k, v in sample.headers.items()}
    query = {k: (v,) for k, v in sample.query.items()}
    yield Inbound(sample.method, headers, query, sample.body, at)


def _polled(
    driver: Driver, _case: str, content: Mapping[str, Any], at: datetime
) -> Iterator[Inbound]:
    """The items of a page that the provider was asked for."""
    asked, answer = content["poll"]["request"], content["poll"]["response"]["body"]
    for poll in driver.polls:
        fetch = poll.start({}, at, content.get("settings") or {})
        if urlsplit(fetch.url).path == asked["path"]:
            yield from (poll.inbound(item, at) for item in poll.read(answer, {}).items)


def _sample(slug: str, name: str) -> Traversable:
    return files("drivers") / "samples" / slug / name


def _cases(slug: str, name: str) -> list[str]:
    """Samples whose expected events have this name, those with the longest story first."""
    folder = _sample(slug, "")
    found: list[tuple[int, str]] = []
    if folder.is_dir():
        for file in folder.iterdir():
            if file.name.endswith(".events.json"):
                text = file.read_text(encoding="utf-8")
                golden: Any = json.loads(text)
                if any(e.get("name") == name for e in golden.get("events", ())):
                    found.append((len(text), file.name.removesuffix(".events.json")))
    return [case for _, case in sorted(found, reverse=True)]
