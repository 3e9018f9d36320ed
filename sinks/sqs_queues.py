"""The queues of an SQS sink: their names, and how they come to exist.

One function names a queue, whether it is looked for, made or sent to.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from schemas.envelope import path_suffix
from schemas.sink_config import SqsConfig
from sinks.sqs_client import trouble

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

SUFFIX = ".fifo"
NAME_LENGTH = 80  # with the suffix
# What every queue has taken since 2010; newer ones say themselves how much more.
LEAST_LIMIT, LARGEST_LIMIT = 262_144, 1_048_576
GONE_CODES = frozenset({"NonExistentQueue", "QueueDoesNotExist"})
EXISTS_CODES = frozenset({"QueueAlreadyExists", "QueueNameExists"})
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that exists. `limit`: bytes of one message, attributes included."""

    url: str
    fifo: bool
    limit: int


def queue_name(config: SqsConfig, event: str) -> str:
    """The queue of an event: upstream's name, with the tenant before it unless that is `default`.

    A `queue_name` is taken as it is when the credentials are the sink's own.
    """
    prefix = "" if config.tenant == "default" else f"{config.tenant}_"
    if config.queue_name:
        prefix = "" if config.access_key_id else prefix
        name = prefix + config.queue_name
    else:
        name = f"{prefix}{config.instance}_{path_suffix(event, 'canonical')}"
    return name + SUFFIX if config.fifo and not name.endswith(SUFFIX) else name


def name_fault(name: str) -> str:
    """Why SQS would take no queue of this name; empty when it does.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
    """
    if len(name) > NAME_LENGTH:
        return f"the queue name {name} is longer than {NAME_LENGTH} characters: set `queue_name`"
    if not _NAME.fullmatch(name.removesuffix(SUFFIX)):
        return f"the queue name {name} has other characters than A-Z a-z 0-9 - _: set `queue_name`"
    return ""


class Queues:
    """The queues that one client knows of. `url`: the only one, where the sink names it so.

    `account`: whose queues are adopted, empty for the client's own.
    """

    def __init__(self, client: SQSClient, *, url: str = "", account: str = "") -> None:
        self.client = client
        self._url, self._account = url, account
        self._known: dict[str, Queue] = {}
        self._looking: dict[str, asyncio.Lock] = {}

    async def get(self, name: str) -> Queue:
        """The queue of this name, adopted or made. Raises what the client raises."""
        async with self._looking.setdefault(name, asyncio.Lock()):
            queue = self._known.get(name)
            if queue is None:
                url = self._url or await self._adopted(name) or await self._made(name)
                # By its name, which says it whatever the configuration does.
                fifo = url.endswith(SUFFIX)
                queue = self._known[name] = Queue(url, fifo, await self._limit(url))
        return queue

    def forget(self, name: str, queue: Queue) -> None:
        """Look again: this queue is gone, or is not what it was."""
        if self._known.get(name) is queue:
            del self._known[name]

    async def _adopted(self, name: str) -> str | None:
        owner: dict[str, Any] = {"QueueOwnerAWSAccountId": self._account} if self._account else {}
        try:
            found = await self.client.get_queue_url(QueueName=name, **owner)
        except ClientError as error:
            if trouble(error).code not in GONE_CODES:
                raise
            return None
        return found["QueueUrl"]

    async def _made(self, name: str) -> str:
        fifo: dict[Any, str] = {"FifoQueue": "true"} if name.endswith(SUFFIX) else {}
        try:
            made = await self.client.create_queue(QueueName=name, Attributes=fifo)
        except ClientError as error:
            if trouble(error).code not in EXISTS_CODES:
                raise
            # Somebody else made it meanwhile, in another way.
            return (await self.client.get_queue_url(QueueName=name))["QueueUrl"]
        return made["QueueUrl"]

    async def _limit(self, url: str) -> int:
        """What it takes; the least there is where we may not ask."""
        try:
            told = await self.client.get_queue_attributes(
                QueueUrl=url, AttributeNames=["MaximumMessageSize"]
            )
            return min(int(told["Attributes"]["MaximumMessageSize"]), LARGEST_LIMIT)
        except ClientError as error:
            if trouble(error).code in GONE_CODES:
                raise
        except (BotoCoreError, KeyError, ValueError):
            pass
        return LEAST_LIMIT
