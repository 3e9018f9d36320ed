"""The webhook sink: one signed HTTP request per event.

Signed by Standard Webhooks over the body before gzip; the id is the event's and stays the same at
every attempt, the timestamp is the attempt's.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlencode, urlsplit

from jmespath.exceptions import JMESPathError

from schemas import codec
from schemas.delivery import Exchange, Health, Message, Outcome, Rejected, Retry
from schemas.envelope import envelope, path_suffix, trace_parent, wire_name
from schemas.errors import UnparsableError
from schemas.events import StoredEvent
from schemas.expression import Expression
from schemas.sink_config import SinkConfig, WebhookConfig, is_secret_name
from sinks import http_outcome, media
from sinks.base import Context, HttpError, Sink
from sinks.signing import bearer, seal, sealed, secret_key

PARALLEL = 8
MEDIA_TRIES = 3  # then the event goes out with the URL alone
JWT_HEADER = "jwt_key"
REDACTED = "[redacted]"
GZIP_LEVEL = 4


def open_webhook(config: SinkConfig, context: Context) -> Sink:
    """The sink of a webhook configuration."""
    if not isinstance(config, WebhookConfig):
        raise TypeError(f"a {config.kind} configuration is not a webhook's")
    return WebhookSink(config, context)


class WebhookSink:
    """See `sinks.base.Sink`. The HTTP client is the gateway's and outlives it."""

    batch_size = 1

    def __init__(self, config: WebhookConfig, context: Context) -> None:
        self._config, self._context = config, context
        self.parallel = config.concurrency or PARALLEL
        self._url = lru_cache(256)(self._url_for)  # one per event name, and those are few
        self._keys = tuple((seal(secret_key(secret)), end) for secret, end in config.secrets)
        self._template = Expression(config.template) if config.template else None
        custom = dict(config.headers)
        names = {name.lower(): name for name in custom}
        self._jwt_key = custom.pop(names.get(JWT_HEADER, ""), "")
        if self._jwt_key:
            custom.pop(names.get("authorization", ""), None)
        self._fixed = {"Content-Type": "application/json", "User-Agent": context.user_agent}
        self._fixed = {k: v for k, v in self._fixed.items() if k.lower() not in names} | custom
        if config.gzip:
            self._fixed["Content-Encoding"] = "gzip"
        shown = {k: REDACTED if is_secret_name(k) else v for k, v in self._fixed.items()}
        self._shown = None if shown == self._fixed and not self._jwt_key else shown
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._last: int | str | None = None  # the status of the last attempt, or what went wrong

    def __repr__(self) -> str:
        return f"WebhookSink({self._config.id})"

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """See `sinks.base.Sink.send`."""
        if self._closed:
            return [Retry(reason="the sink is closed", counts=False) for _ in batch]
        self._in_flight += 1
        self._idle.clear()
        try:
            if len(batch) == 1:
                return [await self._attempt(batch[0])]
            return await asyncio.gather(*map(self._attempt, batch))
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    def health(self) -> Health:
        """What the last attempt told."""
        last = self._last
        if last is None:
            return Health(state="unknown")
        if isinstance(last, str):
            return Health(state="failing", detail={"error": last})
        return Health(state="ok" if 200 <= last < 300 else "failing", detail={"status": last})

    async def close(self) -> None:
        """See `sinks.base.Sink.close`."""
        self._closed = True
        await self._idle.wait()

    async def _attempt(self, message: Message) -> Outcome:
        try:
            body = await self._body(message)
        except media.MediaUnavailableError as error:
            return Retry(reason=f"media: {error}")
        except (JMESPathError, UnparsableError) as error:
            return Rejected(reason=f"template: {error}"[:300])
        now = self._context.now()
        changing = self._changing(message, body, now)
        headers = self._fixed | changing
        if self._jwt_key:
            headers["Authorization"] = bearer(self._jwt_key, now // 1_000_000)
            changing["Authorization"] = REDACTED
        shown = headers if self._shown is None else self._shown | changing
        try:
            answer = await self._context.http.request(
                self._config.method,
                self._url(message.event.name),
                headers=headers,
                body=gzip.compress(body, GZIP_LEVEL, mtime=0) if self._config.gzip else body,
                timeout=self._config.timeout or self._context.timeout,
                limit=http_outcome.KEPT_BYTES,
            )
        except HttpError as error:
            self._last = error.kind
            return http_outcome.of_failure(error, Exchange(request_headers=shown))
        outcome = http_outcome.of_answer(answer, http_outcome.recorded(shown, answer), now)
        self._last = answer.status
        return outcome

    async def _body(self, message: Message) -> bytes:
        """The bytes to sign."""
        wanted = self._config.webhook_base64
        data = await self._media(message) if wanted else media.without_base64(message.event)
        body = envelope(
            message.event,
            naming=self._config.naming,
            server_url=self._context.server_url,
            apikey=self._config.shown_apikey,
            destination=self._config.url,
            data=data,
            gap=message.gap,
        )
        if self._template is None:
            return body
        return codec.dumps(self._template.made(codec.loads(body)))

    async def _media(self, message: Message) -> bytes | None:
        try:
            return await media.with_base64(
                message.event,
                self._context.http,
                user_agent=self._context.user_agent,
                timeout=self._config.timeout or self._context.timeout,
            )
        except media.MediaUnavailableError:
            if message.attempt < MEDIA_TRIES:
                raise
            return None

    def _changing(self, message: Message, body: bytes, now: int) -> dict[str, str]:
        """The headers of this attempt; none of them is secret."""
        event, seconds = message.event, now // 1_000_000
        headers = {
            "webhook-id": event.id,
            "webhook-timestamp": str(seconds),
            "X-Instance-Name": event.instance,
            "X-Event-Type": wire_name(event.name, self._config.naming),
            "X-Timestamp": str(now // 1000),
            "X-Attempt": str(message.attempt),
            "traceparent": message.traceparent or self._trace_parent(event, message),
            "comporta-hop": str(message.hop + 1),
        }
        keys = [key for key, end in self._keys if end is None or now < end]
        if keys:
            headers["webhook-signature"] = sealed(keys, event.id, seconds, body)
        return headers

    @staticmethod
    def _trace_parent(event: StoredEvent, message: Message) -> str:
        return trace_parent(event.id, f"{message.delivery_id}/{message.attempt}")

    def _url_for(self, name: str) -> str:
        """Where events of this name go: by-events path, then the URL's query and ours."""
        config = self._config
        parts = urlsplit(config.url)
        path = parts.path
        if config.webhook_by_events:
            path = f"{path.rstrip('/')}/{path_suffix(name, config.naming)}"
        query = "&".join(filter(None, (parts.query, urlencode(config.query))))
        return parts._replace(path=path, query=query, fragment="").geturl()
