"""The rig of SQS: a moto server, read by boto3 as any consumer would."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from schemas.envelope import envelope
from schemas.events import StoredEvent
from schemas.sink_config import SinkConfig, SqsConfig
from sinks.base import Http
from tests.services import Sqs
from tests.sinks.contract import Arrival
from tests.sinks.given import a_context

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import MessageTypeDef

KEY_ID, SECRET, REGION = "AKIDLOJA", "s3cret/of+the/loja", "sa-east-1"


def consumer(url: str) -> "SQSClient":
    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
    )


class SqsRig:
    """A tenant of its own for each test, so that they share no queue.

    It reads all the time, unless told otherwise: what moto does for each message of a FIFO queue
    takes the longer, the more there are, and what is in it when it stops is forgotten.
    """

    secrets: tuple[str, ...] = (SECRET,)
    config: SinkConfig

    def __init__(
        self,
        server: Sqs,
        http: Http,
        wide: Mapping[str, Any] | None = None,
        *,
        reading: bool = True,
    ) -> None:
        self.server = server
        self.tenant = f"t-{secrets.token_hex(4)}"
        self.context = a_context(http, {"sqs": wide or {}}, timeout=60.0)
        self.config = self.configured()
        self.client = consumer(server.url)
        self._got: list[Arrival] = []
        self._turn = asyncio.Lock()
        self._reader = asyncio.create_task(self._read()) if reading else None

    async def close(self) -> None:
        if self._reader:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    def configured(self, **changes: Any) -> SqsConfig:
        fields: dict[str, Any] = {
            "id": "01hm6sink",
            "tenant": self.tenant,
            "instance": "loja-1",
            "endpoint_url": self.server.url,
            "region": REGION,
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
        }
        return SqsConfig(**(fields | changes))

    def expected(self, event: StoredEvent) -> bytes:
        return envelope(event, naming="canonical", server_url=self.context.server_url)

    async def arrived(self) -> list[Arrival]:
        return self._got

    async def freeze(self) -> None:
        self.server.pause()

    async def thaw(self) -> None:
        self.server.resume()

    async def stop(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._read_all)
            await asyncio.to_thread(self.server.stop)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)

    def names(self) -> list[str]:
        """The names of the tenant's queues."""
        urls = self.client.list_queues(QueueNamePrefix=self.tenant).get("QueueUrls", [])
        return sorted(url.rpartition("/")[2] for url in urls)

    def messages(self, name: str) -> list["MessageTypeDef"]:
        """Take everything out of a queue."""
        url = self.client.get_queue_url(QueueName=name)["QueueUrl"]
        found: list[MessageTypeDef] = []
        while messages := self.client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        ).get("Messages"):
            found += messages
            handles = enumerate(message["ReceiptHandle"] for message in messages)
            entries: Any = [{"Id": str(i), "ReceiptHandle": handle} for i, handle in handles]
            self.client.delete_message_batch(QueueUrl=url, Entries=entries)
        return found

    async def _read(self) -> None:
        while True:
            async with self._turn:
                await asyncio.to_thread(self._read_all)
            await asyncio.sleep(0.02)

    def _read_all(self) -> None:
        if not self.server.is_running():
            return
        try:
            for name in self.names():
                self._got += map(arrival, self.messages(name))
        except (BotoCoreError, ClientError):
            return  # the server is just being restarted


def arrival(message: "MessageTypeDef") -> Arrival:
    attributes = message["MessageAttributes"].items()
    headers = {name.lower(): str(value.get("StringValue")) for name, value in attributes}
    return Arrival(id=headers["id"], body=message["Body"].encode(), headers=headers)
