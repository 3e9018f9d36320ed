"""The Pusher sink: up to ten events to a signed call of Pusher's HTTP API.

https://pusher.com/docs/channels/library_auth_reference/rest-api/, which self-hosted servers speak,
too. It keeps no history, so that what is too large goes out as a claim check, never not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from schemas.delivery import Delivered, Exchange, Health, Message, Outcome, Rejected, Retry
from schemas.envelope import claim, envelope, trace_parent
from schemas.sink_config import PusherConfig, SinkConfig
from sinks.base import Context, HttpAnswer, HttpError, Sink
from sinks.flight import Flight, grounded
from sinks.http_outcome import KEPT_BYTES, of_answer, of_failure, recorded

BATCH_SIZE, PARALLEL = 10, 4
DATA_BYTES = 10_240
NOTHING = (
    "no Pusher app: set `app_id`, `key`, `secret` and `cluster` (or `host`) here, or"
    " PUSHER_GLOBAL_APP_ID, _KEY, _SECRET and _CLUSTER on the server"
)
_CLUSTER = re.compile(r"[a-z0-9-]{1,20}")
_HINTS = {
    401: "the key, the secret or our clock is wrong",
    403: "the app is disabled or over its quota",
}


def open_pusher(config: SinkConfig, context: Context) -> Sink:
    """The sink of a Pusher configuration."""
    if not isinstance(config, PusherConfig):
        raise TypeError(f"a {config.kind} configuration is not Pusher's")
    return PusherSink(config, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A Pusher app. `origin`: scheme and host of the server. `fault`: why it cannot be used."""

    app_id: str
    key: str
    secret: str = field(repr=False)
    origin: str
    fault: str = ""

    @classmethod
    def of(cls, config: PusherConfig, wide: Mapping[str, Any]) -> Self:
        """The sink's own app, else the server's; and where it is, likewise."""
        own = bool(config.app_id or config.key or config.secret)
        app_id, key, secret = (
            (config.app_id, config.key, config.secret)
            if own
            else (str(wide.get(name, "")) for name in ("app_id", "key", "secret"))
        )
        placed = bool(config.host or config.cluster)
        host = config.host if placed else str(wide.get("host", ""))
        cluster = config.cluster if placed else str(wide.get("cluster", ""))
        fault = "" if app_id and key and secret and (host or cluster) else NOTHING
        if config.tenant != "default" and config.host and not own:
            # Else the server would sign, for whoever asks, what opens its own app.
            fault = "a `host` of its own needs an app of its own"
        elif not host and cluster and not _CLUSTER.fullmatch(cluster):
            fault = "a Pusher cluster is 1 to 20 of a-z 0-9 -, like sa1"
        scheme = "https" if config.use_tls else "http"
        host = host.rstrip("/") or f"api-{cluster}.pusher.com"
        origin = host if "://" in host else f"{scheme}://{host}"
        return cls(app_id=app_id, key=key, secret=secret, origin=origin, fault=fault)

    def signed(self, path: str, body: bytes, now: int) -> str:
        """The URL of a POST. `now`: seconds; Pusher refuses what is ten minutes off."""
        # Sorted by name, as they are signed. No value needs to be encoded.
        query = (
            f"auth_key={self.key}&auth_timestamp={now}&auth_version=1.0"
            f"&body_md5={hashlib.md5(body, usedforsecurity=False).hexdigest()}"
        )
        text = f"POST\n{path}\n{query}"
        signature = hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return f"{self.origin}{path}?{query}&auth_signature={signature}"


class PusherSink:
    """See `sinks.base.Sink`. The HTTP client is the gateway's and outlives it."""

    batch_size = BATCH_SIZE

    def __init__(self, config: PusherConfig, context: Context) -> None:
        self._config, self._context = config, context
        self.parallel = config.concurrency or PARALLEL
        self._timeout = config.timeout or context.timeout
        self._app = App.of(config, context.server_wide.get("pusher", {}))
        self._path = f"/apps/{self._app.app_id}/batch_events"
        self._channel = config.wire_channel
        self._flight = Flight()
        self._last = Health(state="unknown")

    def __repr__(self) -> str:
        return f"PusherSink({self._config.id})"

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """See `sinks.base.Sink.send`."""
        if self._flight.closed:
            return grounded(len(batch))
        if self._app.fault:
            self._last = Health(state="failing", detail={"error": self._app.fault})
            return [Retry(reason=self._app.fault)] * len(batch)
        with self._flight.one():
            deadline = asyncio.get_running_loop().time() + self._timeout
            return await self._trigger(batch, deadline)

    def health(self) -> Health:
        """What the last call told."""
        return self._last

    async def close(self) -> None:
        """See `sinks.base.Sink.close`."""
        await self._flight.close()

    async def _trigger(
        self, batch: Sequence[Message], deadline: float, *, small: bool = False
    ) -> list[Outcome]:
        """One call; when Pusher refuses its content, each message by itself. `small`: all of them
        as claim checks.
        """
        answered = await self._call(batch, deadline, small=small)
        if not isinstance(answered, HttpAnswer):
            return [answered] * len(batch)
        answer, exchange = answered, recorded(self._headers(batch), answered)
        if answer.status in {400, 413} and len(batch) > 1:
            singly = [await self._trigger([m], deadline, small=small) for m in batch]
            return [outcome for outcomes in singly for outcome in outcomes]
        if answer.status == 413 and not small:  # a server that is stricter than Pusher
            return await self._trigger(batch, deadline, small=True)
        return [self._outcome(answer, exchange)] * len(batch)

    async def _call(
        self, batch: Sequence[Message], deadline: float, *, small: bool
    ) -> HttpAnswer | Outcome:
        """The answer, or what its lack means."""
        headers = self._headers(batch)
        body = orjson.dumps({"batch": [self._event(message, small=small) for message in batch]})
        left = deadline - asyncio.get_running_loop().time()
        try:
            answer = await self._context.http.request(
                "POST",
                self._app.signed(self._path, body, self._context.now() // 1_000_000),
                headers=headers,
                body=body,
                timeout=max(left, 0.0),
                limit=KEPT_BYTES,
            )
        except HttpError as error:
            self._last = Health(state="failing", detail={"error": error.kind})
            return of_failure(error, Exchange(request_headers=headers))
        good = 200 <= answer.status < 300
        self._last = Health(state="ok" if good else "failing", detail={"status": answer.status})
        return answer

    def _headers(self, batch: Sequence[Message]) -> dict[str, str]:
        """Nothing secret. A call has one trace, so that a batch of several events has none."""
        headers = {"Content-Type": "application/json", "User-Agent": self._context.user_agent}
        if len(batch) == 1:
            [message] = batch
            attempt = f"{message.delivery_id}/{message.attempt}"
            trace = message.traceparent or trace_parent(message.event.id, attempt)
            headers["traceparent"] = trace
        return headers

    def _event(self, message: Message, *, small: bool) -> dict[str, str]:
        event = message.event
        data = self._data(message)
        if small or len(data) > DATA_BYTES:
            url = self._context.claim_url(event.tenant, event.id)
            data = self._data(message, claim(url, len(event.data)))
        return {"channel": self._channel, "name": event.name, "data": data.decode()}

    def _data(self, message: Message, data: bytes | None = None) -> bytes:
        return envelope(
            message.event,
            naming=self._config.naming,
            server_url=self._context.server_url,
            apikey=self._config.shown_apikey,
            data=data,
            gap=message.gap,
        )

    def _outcome(self, answer: HttpAnswer, exchange: Exchange) -> Outcome:
        """400 and 413 are about the message; the rest, for which the app or its server are to
        blame, may do better later.
        """
        status = answer.status
        if 200 <= status < 300:
            return Delivered(exchange=exchange)
        said = answer.body[:200].decode(errors="replace").strip()
        if status in {400, 413}:
            return Rejected(reason=f"HTTP {status}: {said}".rstrip(": "), exchange=exchange)
        if status == 410:  # Pusher gives it no meaning, and nothing is switched off by accident
            return Retry(reason="HTTP 410", exchange=exchange)
        if status in _HINTS:
            return Retry(reason=f"HTTP {status}: {_HINTS[status]}", exchange=exchange)
        return of_answer(answer, exchange, self._context.now())
