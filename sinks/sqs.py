"""The SQS sink: a queue per event, FIFO unless told otherwise, ten messages to a call.

Queues are adopted or made before their first message, and again when SQS says that one is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from schemas.delivery import Delivered, Health, Message, Outcome, Rejected, Retry
from schemas.sink_config import SinkConfig, SqsConfig
from sinks.base import Context, HttpError, Sink
from sinks.flight import Flight, grounded
from sinks.http_outcome import retry_after
from sinks.link import Link, LinkError
from sinks.sqs_client import Place, SqsPeer, Trouble, connect, plain_code, trouble
from sinks.sqs_entry import Entry, Writer, batches
from sinks.sqs_queues import GONE_CODES, Queue, Queues, name_fault, queue_name

BATCH_SIZE, PARALLEL = 50, 4
GONE = Retry(reason="the queue does not exist")
TOO_LARGE = Retry(reason="larger than the queue takes")
AT_ONCE = (GONE, TOO_LARGE)  # may do better in a second round
# The message is at fault, and will always be.
_PERMANENT = frozenset(
    "InvalidMessageContents InvalidParameterValue InvalidParameterCombination InvalidAttributeValue"
    " MissingParameter UnsupportedOperation BatchRequestTooLong InvalidBatchEntryId".split()
)
_THROTTLED = frozenset(
    "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException"
    " TooManyRequestsException OverLimit KmsThrottled".split()
)
_TOO_LARGE_CODES = frozenset({"BatchRequestTooLong", "RequestEntityTooLarge", "MessageTooLong"})
_TOO_LARGE_WORDS = "must be shorter than"
_CALL_ERRORS = (ClientError, BotoCoreError, HttpError, OSError, ValueError, KeyError)


def open_sqs(config: SinkConfig, context: Context) -> Sink:
    """The sink of an SQS configuration."""
    if not isinstance(config, SqsConfig):
        raise TypeError(f"a {config.kind} configuration is not SQS's")
    return SqsSink(config, context)


class SqsSink:
    """See `sinks.base.Sink`. The client is shared."""

    batch_size = BATCH_SIZE

    def __init__(self, config: SqsConfig, context: Context) -> None:
        self._config, self._context = config, context
        self.parallel = config.concurrency or PARALLEL
        self._timeout = config.timeout or context.timeout
        self._place = Place.of(config, context.server_wide.get("sqs", {}))
        self._writer = Writer(
            config=config, server_url=context.server_url, claim_url=context.claim_url
        )
        self._link: Link[SqsPeer] | None = None
        self._queues: Queues | None = None
        self._flight = Flight()
        self._asked = False
        self._error: str | None = None

    def __repr__(self) -> str:
        return f"SqsSink({self._config.id})"

    async def send(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """See `sinks.base.Sink.send`."""
        if self._flight.closed:
            return grounded(len(batch))
        with self._flight.one():
            deadline = asyncio.get_running_loop().time() + self._timeout
            outcomes = await self._round(batch, deadline)
            again = [i for i, outcome in enumerate(outcomes) if outcome in AT_ONCE]
            if again:  # the queue is looked at again, once
                second = await self._round([batch[i] for i in again], deadline)
                for i, outcome in zip(again, second, strict=True):
                    outcomes[i] = self._final(outcome)
        self._asked = True
        failures = (outcome.reason for outcome in outcomes if not isinstance(outcome, Delivered))
        self._error = next(failures, None)
        return outcomes

    def health(self) -> Health:
        """What the last batch told."""
        if not self._asked:
            return Health(state="unknown")
        if self._error:
            return Health(state="failing", detail={"error": self._error})
        return Health(state="ok")

    async def close(self) -> None:
        """See `sinks.base.Sink.close`."""
        await self._flight.close()
        link, self._link = self._link, None
        if link is not None:
            await self._context.links.leave(link)

    async def _round(self, batch: Sequence[Message], deadline: float) -> list[Outcome]:
        """Try each message once; those of one queue one batch after the other, in their order."""
        try:
            async with asyncio.timeout_at(deadline):
                peer = await self._linked().ready()
        except LinkError as error:
            return [self._retry(error.reason, counts=not error.ours)] * len(batch)
        except TimeoutError:
            return [self._silence()] * len(batch)
        queues = self._queues
        if queues is None or queues.client is not peer.client:
            place, url = self._place, self._config.queue_url
            queues = self._queues = Queues(peer.client, url=url, account=place.account)
        by_queue: dict[str, list[int]] = {}
        for i, message in enumerate(batch):
            by_queue.setdefault(self._queue_name(message), []).append(i)
        outcomes: list[Outcome] = [self._silence()] * len(batch)
        sent = (
            self._to_queue(queues, name, [batch[i] for i in places], deadline)
            for name, places in by_queue.items()
        )
        for places, found in zip(by_queue.values(), await asyncio.gather(*sent), strict=True):
            for i, outcome in zip(places, found, strict=True):
                outcomes[i] = outcome
        return outcomes

    def _linked(self) -> Link[SqsPeer]:
        if self._place.fault:
            raise LinkError(self._place.fault)
        if self._link is None:
            dial = partial(connect, self._place, self._context)
            self._link = self._context.links.take(("sqs", self._place), dial)
        return self._link

    def _queue_name(self, message: Message) -> str:
        if self._config.queue_url:
            return self._config.queue_url
        return queue_name(self._config, message.event.name)

    async def _to_queue(
        self, queues: Queues, name: str, messages: Sequence[Message], deadline: float
    ) -> list[Outcome]:
        """One outcome each. What was not sent in time is left to the next try."""
        fault = "" if self._config.queue_url else name_fault(name)
        if fault:
            return [Rejected(reason=fault)] * len(messages)
        outcomes: list[Outcome] = [self._silence()] * len(messages)
        queue: Queue | None = None
        try:
            async with asyncio.timeout_at(deadline):
                queue = await queues.get(name)
                entries = [
                    self._writer.entry(i, message, fifo=queue.fifo, limit=queue.limit)
                    for i, message in enumerate(messages)
                ]
                for entries_of_call in batches(entries, queue.limit):
                    for i, outcome in (await self._call(queues, queue, entries_of_call)).items():
                        outcomes[i] = outcome
        except TimeoutError:
            pass
        except _CALL_ERRORS as error:
            why = trouble(error)
            return [GONE if why.code in GONE_CODES else self._told(why)] * len(messages)
        if queue is not None and any(outcome in AT_ONCE for outcome in outcomes):
            queues.forget(name, queue)
        return outcomes

    async def _call(
        self, queues: Queues, queue: Queue, entries: Sequence[Entry]
    ) -> dict[int, Outcome]:
        """Send one batch; outcomes by the entries' places."""
        try:
            told = await queues.client.send_message_batch(
                QueueUrl=queue.url, Entries=[entry.fields for entry in entries]
            )
        except _CALL_ERRORS as error:
            why = trouble(error)
            if why.code in _PERMANENT and len(entries) > 1:
                # One of them spoils it for all: each by itself.
                found: dict[int, Outcome] = {}
                for entry in entries:
                    found |= await self._call(queues, queue, [entry])
                return found
            return dict.fromkeys((entry.at for entry in entries), self._failed(why))
        done: dict[str, Outcome] = {done["Id"]: Delivered() for done in told.get("Successful", ())}
        done |= {failed["Id"]: self._refused(failed) for failed in told.get("Failed", ())}
        unsaid = self._retry("it did not say what became of the message")
        return {entry.at: done.get(entry.fields["Id"], unsaid) for entry in entries}

    def _failed(self, why: Trouble) -> Outcome:
        """What the failure of a whole call means for its messages."""
        if why.code in GONE_CODES:
            return GONE
        if why.code in _TOO_LARGE_CODES or _TOO_LARGE_WORDS in why.message:
            return TOO_LARGE
        if why.code in _PERMANENT:
            return Rejected(reason=f"{self._place}: {why.reason}")
        return self._told(why)

    def _refused(self, entry: Any) -> Outcome:
        """What one failed entry of a batch means."""
        code, message = plain_code(entry["Code"]), str(entry.get("Message", ""))[:200]
        if code in _TOO_LARGE_CODES or _TOO_LARGE_WORDS in message:
            return TOO_LARGE
        reason = f"{code}: {message}" if message else code
        if entry["SenderFault"] and code not in _THROTTLED:
            return Rejected(reason=f"{self._place}: {reason}")
        return self._retry(reason)

    def _final(self, outcome: Outcome) -> Outcome:
        """The outcome of a second round, after which there is no third."""
        if outcome is TOO_LARGE:
            return Rejected(reason=f"{self._place}: {TOO_LARGE.reason}, even as a claim check")
        return self._retry(GONE.reason) if outcome is GONE else outcome

    def _told(self, why: Trouble) -> Retry:
        moment = datetime.fromtimestamp(self._context.now() / 1e6, UTC)
        return self._retry(why.reason, counts=not why.ours, after=retry_after(why.after, moment))

    def _silence(self) -> Retry:
        return self._retry(f"no answer within {self._timeout:g} s")

    def _retry(self, reason: str, *, counts: bool = True, after: float | None = None) -> Retry:
        return Retry(reason=f"{self._place}: {reason}"[:600], counts=counts, after=after)
