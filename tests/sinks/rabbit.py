"""A RabbitMQ with an account of the tests' own, and a rig that reads it by aio-pika."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from schemas.envelope import envelope
from schemas.events import StoredEvent
from schemas.sink_config import RabbitmqConfig, SinkConfig
from sinks.base import HttpAnswer
from tests.services import RabbitMQ
from tests.sinks.contract import Arrival
from tests.sinks.given import a_context

# Everything that a URI must encode.
USER, PASSWORD, VHOST = "loja", "p@ss/w:rd+%é?#", "lojas/são paulo"
EVENTS = ("order.paid", "messages.upsert", "group-participants.update", "typebot.change-status")


class NoHttp:
    """Brokers are not spoken to by HTTP."""

    async def request(self, method: str, url: str, **options: Any) -> HttpAnswer:
        raise AssertionError(f"{method} {url}")


def make_account(server: RabbitMQ) -> None:
    """The user and virtual host of the tests; the server keeps them when it restarts."""
    server.control("add_user", USER, PASSWORD)
    server.control("add_vhost", VHOST)
    server.control("set_permissions", "-p", VHOST, USER, ".*", ".*", ".*")


def uri_of(server: RabbitMQ, password: str = PASSWORD, vhost: str = VHOST) -> str:
    where = f"127.0.0.1:{server.port}/{quote(vhost, safe='')}"
    return f"amqp://{USER}:{quote(password, safe='')}@{where}"


class RabbitRig:
    """A tenant of its own for each test, so that they share no queue."""

    secrets: tuple[str, ...] = (PASSWORD, quote(PASSWORD, safe=""))

    def __init__(self, server: RabbitMQ) -> None:
        self.server = server
        self.tenant = f"t-{secrets.token_hex(4)}"
        self.context = a_context(NoHttp())
        self.uri = uri_of(server)
        self.config: SinkConfig = self.configured()
        self._connection: AbstractConnection | None = None
        self._got: list[Arrival] = []

    def configured(self, **changes: Any) -> RabbitmqConfig:
        fields: dict[str, Any] = {
            "id": "01hm6sink",
            "tenant": self.tenant,
            "instance": "loja-1",
            "uri": self.uri,
        }
        return RabbitmqConfig(**(fields | changes))

    def queue(self, event: str = "order.paid") -> str:
        return f"{self.tenant}.loja-1.{event}"

    def expected(self, event: StoredEvent) -> bytes:
        return envelope(event, naming="canonical", server_url=self.context.server_url)

    async def arrived(self) -> list[Arrival]:
        for event in EVENTS:
            try:
                messages = await self.drain(self.queue(event))
            except (AMQPError, ConnectionError):
                continue  # no such queue yet, or the server is just being restarted
            for message in messages:
                assert message.message_id
                headers = _texts(message.headers)
                self._got.append(Arrival(message.message_id, message.body, headers))
        return self._got

    async def drain(self, queue: str) -> list[AbstractIncomingMessage]:
        """Everything that is in a queue now."""
        connection = await self.connection()
        channel = await connection.channel()
        try:
            found: list[AbstractIncomingMessage] = []
            source = await channel.get_queue(queue)
            count = source.declaration_result.message_count or 0
            if not count:
                return found
            async with source.iterator() as messages:
                async for message in messages:
                    await message.ack()
                    found.append(message)
                    if len(found) == count:
                        break
            return found
        finally:
            await channel.close()

    async def connection(self) -> AbstractConnection:
        if self._connection is None or not self._connection.connected.is_set():
            self._connection = await aio_pika.connect(
                host="127.0.0.1",
                port=self.server.port,
                login=USER,
                password=PASSWORD,
                virtualhost=VHOST,
            )
        return self._connection

    async def freeze(self) -> None:
        self.server.pause()

    async def thaw(self) -> None:
        self.server.resume()

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.stop)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}
