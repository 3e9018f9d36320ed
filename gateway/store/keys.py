"""The keys both engines make of an append: digests of what was seen, ordering keys, and text every
database takes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from gateway.store.base import Append, NewEvent
from schemas.events import StoredEvent, family_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def scope_of(item: Append) -> str:
    """Inside what its keys are unique: the installation, else the instance. Holds no NUL."""
    return item.installation_id or f"{item.tenant}/{item.instance}"


def delivery_digest(scope: str, delivery_key: str) -> bytes:
    """16 bytes that recognise a redelivery."""
    return _digest(f"0\0{scope}\0{delivery_key}")


def fact_digest(scope: str, event: NewEvent) -> bytes:
    """16 bytes that recognise a fact told twice."""
    return _digest(f"1\0{scope}\0{event.name}\0{event.dedupe_key}")


def _digest(text: str) -> bytes:
    # What a stranger writes comes last, so that no choice of words makes two keys one.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def ordering_key(item: Append, event: NewEvent) -> str:
    """`okey` of a delivery that wants order: one queue per installation and key."""
    return f"{scope_of(item)}/{event.key}"


def storable(text: str) -> str:
    """`text` without what a database cannot keep: NUL and lone surrogates become U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def storable_value(value: Any) -> Any:
    """An argument of a query: text as it would have been stored."""
    return storable(value) if isinstance(value, str) else value


def moment(microseconds: int) -> datetime:
    """An aware UTC datetime, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=microseconds)


def stored_event(item: Append, event: NewEvent, seq: int, *, superseded: bool) -> StoredEvent:
    """`event` as a later read would give it, for whoever sends it from memory. Needs no read."""
    return StoredEvent(
        id=event.id,
        seq=seq,
        tenant=item.tenant,
        instance=item.instance,
        installation_id=item.installation_id,
        driver=item.driver,
        name=event.name,
        key=storable(event.key),
        occurred_at=moment(event.occurred_at),
        received_at=moment(item.received_at),
        provider_event=storable(event.provider_event),
        provider_event_id=event.provider_event_id and storable(event.provider_event_id),
        inbound_id=item.inbound.id if item.inbound else None,
        dedupe_key=storable(event.dedupe_key),
        test=event.test,
        superseded=superseded,
        data=event.data,
        version=event.version,
        hop=event.hop,
        trace=event.trace,
    )


def family_prefix(event: NewEvent) -> str:
    """How the names of this event's family begin, as in `order.`."""
    return family_of(event.name) + "."
