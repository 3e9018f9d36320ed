"""Messages as SQS takes them: legal characters, legal ids, small enough, in batches."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.delivery import Message
from schemas.envelope import claim, envelope, trace_parent, wire_name
from schemas.sink_config import SqsConfig

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import (
        MessageAttributeValueTypeDef,
        SendMessageBatchRequestEntryTypeDef,
    )

MOST_ENTRIES = 10
# The only characters that JSON may hold as they are and SQS refuses, in UTF-8.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_ILLEGAL = ((b"\xef\xbf\xbe", b"\\ufffe"), (b"\xef\xbf\xbf", b"\\uffff"))
_LEGAL_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a batch. `fields`: as the client takes them, its Id is `at` as text. `size`:
    the bytes that SQS counts.
    """

    at: int
    fields: SendMessageBatchRequestEntryTypeDef
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Makes the entries of a sink."""

    config: SqsConfig
    server_url: str
    claim_url: Callable[[str, str], str]

    def entry(self, at: int, message: Message, *, fifo: bool, limit: int) -> Entry:
        """A message as it is, or a claim check for it when that exceeds `limit` bytes."""
        event = message.event
        attributes = self._attributes(message)
        overhead = sum(len(k) + len("String") + len(v) for k, v in attributes.items())
        body = self._body(message)
        if len(body) + overhead > limit:
            url = self.claim_url(event.tenant, event.id)
            body = self._body(message, claim(url, len(event.data)))
        fields: SendMessageBatchRequestEntryTypeDef = {
            "Id": str(at),
            "MessageBody": body.decode(),
            "MessageAttributes": {name: _text(text) for name, text in attributes.items()},
        }
        if fifo:
            fields["MessageGroupId"] = legal_id(event.key or event.id)
            fields["MessageDeduplicationId"] = legal_id(message.dedupe_id)
        return Entry(at, fields, len(body) + overhead)

    def _attributes(self, message: Message) -> dict[str, str]:
        """All of them ASCII: names of events and instances, ids."""
        event = message.event
        trace = message.traceparent or trace_parent(
            event.id, f"{message.delivery_id}/{message.attempt}"
        )
        return {
            "event": wire_name(event.name, self.config.naming),
            "instance": event.instance,
            "id": event.id,
            "traceparent": trace,
        }

    def _body(self, message: Message, data: bytes | None = None) -> bytes:
        body = envelope(
            message.event,
            naming=self.config.naming,
            server_url=self.server_url,
            apikey=self.config.shown_apikey,
            data=data,
            gap=message.gap,
        )
        for illegal, escaped in _ILLEGAL:
            body = body.replace(illegal, escaped)
        return body


def _text(value: str) -> MessageAttributeValueTypeDef:
    return {"DataType": "String", "StringValue": value}


def legal_id(text: str) -> str:
    """A group or deduplication id: the text, or its hash where SQS would not take it."""
    if _LEGAL_ID.fullmatch(text):
        return text
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def batches(entries: Sequence[Entry], limit: int) -> Iterator[list[Entry]]:
    """In order, each of at most ten messages and `limit` bytes: SQS bounds both alike."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == MOST_ENTRIES or size + entry.size > limit):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch
