"""What processes tell each other of events: the payload of topic `events`.

`tenant/instance/` and then the seq up to which there is news; or the id of an event to push again;
or, for a test, the whole event, because it is not stored. None of the names holds a slash.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

import orjson

from schemas.events import StoredEvent

_TIMES = ("occurred_at", "received_at")


@dataclass(slots=True, frozen=True, kw_only=True)
class Hint:
    """Exactly one of `seq`, `event_id` and `event` is there."""

    place: tuple[str, str]
    seq: int | None = None
    event_id: str | None = None
    event: StoredEvent | None = None


def news_hint(place: tuple[str, str], seq: int) -> str:
    """There are events up to `seq`."""
    return f"{place[0]}/{place[1]}/{seq}"


def again_hint(event: StoredEvent) -> str:
    """This one once more; whole when it has no place in the store."""
    told = event.id
    if not event.seq:
        told = orjson.dumps(asdict(event) | {"data": event.data.decode()}).decode()
    return f"{event.tenant}/{event.instance}/{told}"


def read_hint(payload: str) -> Hint | None:
    """The hint in a payload; None when hints were missed."""
    tenant, _, rest = payload.partition("/")
    instance, _, told = rest.partition("/")
    if not told:
        return None
    if told.isdecimal() and len(told) < 20:
        return Hint(place=(tenant, instance), seq=int(told))
    if not told.startswith("{"):
        return Hint(place=(tenant, instance), event_id=told)
    fields = orjson.loads(told)
    fields |= {name: datetime.fromisoformat(fields[name]) for name in _TIMES}
    event = StoredEvent(**fields | {"data": fields["data"].encode()})
    return Hint(place=(tenant, instance), event=event)
