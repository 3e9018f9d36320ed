"""A rig that reads NATS by nats-py: a pull consumer of the stream."""

import asyncio
import secrets
from contextlib import suppress
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from schemas.envelope import envelope
from schemas.events import StoredEvent
from schemas.sink_config import NatsConfig, SinkConfig
from tests.services import Nats
from tests.services.server import converse
from tests.sinks.contract import Arrival
from tests.sinks.given import a_context
from tests.sinks.rabbit import NoHttp


class SecuredNats(Nats):
    """One that wants a password, which a URL must encode."""

    user, password = "loja", "p@ss/w:rd+%é?#"

    def command(self) -> list[str]:
        return [*super().command(), "--user", self.user, "--pass", self.password]


class NatsWith(Nats):
    """One with a configuration file of the test's own."""

    def __init__(self, configuration: str, *, jetstream: bool = True) -> None:
        self._configuration, self._jetstream = configuration, jetstream
        super().__init__()

    def prepare(self) -> None:
        super().prepare()
        self.write("nats.conf", self._configuration)

    def command(self) -> list[str]:
        words = list(super().command())
        if not self._jetstream:
            words.remove("--jetstream")
        return [*words, "--config", str(self.folder / "nats.conf")]

    def ready(self) -> bool:
        return super().ready() if self._jetstream else converse(self.port, b"PING\r\n", b"INFO")


class NatsRig:
    """A tenant of its own for each test, so that they share no stream."""

    secrets: tuple[str, ...] = (SecuredNats.password,)

    def __init__(self, server: Nats) -> None:
        self.server = server
        self.tenant = f"t-{secrets.token_hex(4)}"
        self.context = a_context(NoHttp())
        self.config: SinkConfig = self.configured()
        self._client: Client | None = None
        self._got: dict[int, Arrival] = {}

    def configured(self, **changes: Any) -> NatsConfig:
        fields: dict[str, Any] = {
            "id": "01hm6sink",
            "tenant": self.tenant,
            "instance": "loja-1",
            "url": self.server.url,
        }
        if isinstance(self.server, SecuredNats):
            fields |= {"user": self.server.user, "password": self.server.password}
        return NatsConfig(**(fields | changes))

    @property
    def subjects(self) -> str:
        return f"{self.tenant}.loja-1.>"

    def expected(self, event: StoredEvent) -> bytes:
        return envelope(event, naming="canonical", server_url=self.context.server_url)

    async def arrived(self) -> list[Arrival]:
        try:
            stream = (await self.client()).jetstream()
            consumer = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
            pull = await stream.pull_subscribe(self.subjects, config=consumer)
        except (Error, OSError, NotFoundError):
            return list(self._got.values())  # no stream yet, or the server is just being restarted
        with suppress(TimeoutError):
            while messages := await pull.fetch(500, timeout=0.1):
                for message in messages:
                    headers = {k.lower(): v for k, v in (message.headers or {}).items()}
                    number = message.metadata.sequence.stream
                    self._got[number] = Arrival(headers["id"], message.data, headers)
        return list(self._got.values())

    async def client(self) -> Client:
        if self._client is None or not self._client.is_connected:
            await self.close()
            login: dict[str, Any] = {}
            if isinstance(self.server, SecuredNats):
                login = {"user": self.server.user, "password": self.server.password}
            self._client = await nats.connect(self.server.url, allow_reconnect=False, **login)
        return self._client

    async def freeze(self) -> None:
        self.server.pause()

    async def thaw(self) -> None:
        self.server.resume()

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.stop)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None
