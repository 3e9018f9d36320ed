"""The far side of Pusher: an HTTP server that takes what the official package would have signed."""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from pusher.http import make_query_string
from pusher.signature import verify

from schemas.envelope import envelope
from schemas.events import StoredEvent
from schemas.sink_config import PusherConfig, SinkConfig
from sinks.base import Http
from tests.sinks.contract import Arrival
from tests.sinks.given import a_context
from tests.sinks.receiver import Got, Receiver

APP_ID, KEY, SECRET = "30717", "278d425bdf160c739803", "7ad3773142a6692b25b8"
MOST_EVENTS, MOST_BYTES, SKEW = 10, 10_240, 600


@dataclass(frozen=True)
class Triggered:
    """One event as it came. `headers`: of the call that brought it."""

    channel: str
    name: str
    data: str
    headers: dict[str, str]


class Channels:
    """Judges as https://pusher.com/docs/channels/library_auth_reference/rest-api/ says."""

    def __init__(self, receiver: Receiver, most_bytes: int = MOST_BYTES) -> None:
        self.events: list[Triggered] = []
        self.most_bytes = most_bytes
        self.warm = asyncio.Event()
        self.warm.set()
        receiver.answer = self.answer

    async def answer(self, got: Got) -> web.Response:
        await self.warm.wait()
        refusal = self._refusal(got)
        if refusal is not None:
            return web.Response(status=refusal[0], text=refusal[1])
        headers = {name.lower(): value for name, value in got.headers.items()}
        for event in json.loads(got.body)["batch"]:
            self.events.append(Triggered(event["channel"], event["name"], event["data"], headers))
        return web.json_response({})

    def _refusal(self, got: Got) -> tuple[int, str] | None:
        target = urlsplit(got.target)
        if (got.method, target.path) != ("POST", f"/apps/{APP_ID}/batch_events"):
            return 404, "no such app"
        if (why := self._distrust(got, target.path, dict(parse_qsl(target.query)))) is not None:
            return 401, why
        return self._dislike(json.loads(got.body)["batch"])

    def _dislike(self, batch: list[dict[str, Any]]) -> tuple[int, str] | None:
        if not 0 < len(batch) <= MOST_EVENTS:
            return 400, "batch too large (> 10)"
        if any(not isinstance(event["data"], str) for event in batch):
            return 400, "data must be a string"
        if any("poison" in event["data"] for event in batch):
            return 400, "an event is not to its liking"
        if any(len(event["data"].encode()) > self.most_bytes for event in batch):
            return 413, "The data content of this event exceeds the allowed maximum"
        return None

    @staticmethod
    def _distrust(got: Got, path: str, query: dict[str, str]) -> str | None:
        signature = query.pop("auth_signature", "")
        if query.get("auth_key") != KEY or query.get("auth_version") != "1.0":
            return "auth_key or auth_version"
        if abs(time.time() - int(query["auth_timestamp"])) > SKEW:
            return "auth_timestamp"
        if query.get("body_md5") != hashlib.md5(got.body).hexdigest():
            return "body_md5"
        # Untyped, both: the package publishes no types.
        signed: Any = make_query_string
        holds: Any = verify
        text = "\n".join([got.method, path, signed(query)])
        return None if holds(SECRET, text, signature) else "auth_signature"


class PusherRig:
    """See `tests.sinks.contract.Rig`."""

    secrets: tuple[str, ...] = (SECRET,)
    config: SinkConfig

    def __init__(self, receiver: Receiver, http: Http) -> None:
        self.receiver = receiver
        self.channels = Channels(receiver)
        self.context = a_context(http)
        self.config = self.configured()

    def configured(self, **changes: Any) -> PusherConfig:
        fields: dict[str, Any] = {
            "id": "01hm6sink",
            "tenant": "default",
            "instance": "loja-1",
            "app_id": APP_ID,
            "key": KEY,
            "secret": SECRET,
            "host": f"127.0.0.1:{self.receiver.port}",
            "use_tls": False,
        }
        return PusherConfig(**(fields | changes))

    def expected(self, event: StoredEvent) -> bytes:
        """The event; where that is more than Pusher takes, a claim check for it."""
        whole = envelope(event, naming="canonical", server_url=self.context.server_url)
        if len(whole) <= MOST_BYTES:
            return whole
        url = self.context.claim_url(event.tenant, event.id)
        data = json.dumps({"claim_url": url, "bytes": len(event.data)}, separators=(",", ":"))
        server_url = self.context.server_url
        return envelope(event, naming="canonical", server_url=server_url, data=data.encode())

    async def arrived(self) -> list[Arrival]:
        return [
            Arrival(
                id=json.loads(event.data)["id"],
                body=event.data.encode(),
                headers=event.headers | {"channel": event.channel, "event": event.name},
            )
            for event in self.channels.events
        ]

    async def freeze(self) -> None:
        self.channels.warm.clear()

    async def thaw(self) -> None:
        self.channels.warm.set()

    async def stop(self) -> None:
        await self.receiver.stop()

    async def start(self) -> None:
        await self.receiver.start()
