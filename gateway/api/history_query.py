"""What a query asks of the past: filters as the store takes them, and where to go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.api.paging import MAX_LIMIT, filters, refuse, whole
from gateway.api.route import Call, respond
from gateway.driver_setup import driver_of
from gateway.store.rows import Wanted
from schemas.events import NAME_OF, to_key
from schemas.sink_config import SinkConfig

SLICE_LIMIT = 50
TIMES = ("created_at_greater_than", "created_at_less_than")
CURSOR_QUERY = ("limit", "cursor", *TIMES)
ULID = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}")
_MOMENT = TypeAdapter(datetime)
# `+` in a query is a space: what was an offset is one again.
_LOST_PLUS = re.compile(r"(T[0-9:.]+) ([0-9]{2}:?[0-9]{2})$")
T = TypeVar("T")


def limit_of(call: Call) -> int:
    """How many the caller wants at once."""
    return whole(call, "limit", SLICE_LIMIT, MAX_LIMIT)


def id_cursor(call: Call) -> str | None:
    """The id below which to go on."""
    cursor = call.query("cursor")
    if cursor is not None and not ULID.fullmatch(cursor):
        raise refuse("cursor", "is not one that an answer gave as next_cursor")
    return cursor


def seq_cursor(call: Call) -> int | None:
    """The seq below which to go on."""
    cursor = call.query("cursor")
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise refuse("cursor", "is not one that an answer gave as next_cursor")
    return int(cursor)


def sliced(
    found: Sequence[T], limit: int, shape: Callable[[T], BaseModel], cursor: Callable[[T], str]
) -> web.Response:
    """An answer of at most `limit`, from one more than that. There may be less than that and yet
    more to come: see `Page`.
    """
    kept, more = found[:limit], getattr(found, "below", None)
    following = None if more is None else str(more)
    if len(found) > limit:
        following = cursor(kept[-1])
    meta = {"next_cursor": following, "per_page": limit}
    return respond({"data": [shape(item).model_dump() for item in kept], "meta": meta})


def wanted_of(call: Call, known: Iterable[str]) -> Wanted:
    """The filters of the query, within what the key may see. Raises InvalidError.

    `status`, `outcome` and `sink` are the caller's to read: they differ by resource.
    """
    given = filters(call, (*known, *TIMES))
    wanted = Wanted(tenant=call.principal.tenant, instances=call.principal.instances)
    wanted.instance = given.get("instance")
    wanted.installation_id = given.get("installation_id")
    wanted.key = given.get("key")
    wanted.status, wanted.outcome = given.get("status"), given.get("outcome")
    if "name" in given:
        wanted.name = event_name(given["name"])
    if "driver" in given:
        driver = driver_of(given["driver"])
        wanted.driver = driver.slug if driver else given["driver"]
    if "sink" in given:
        wanted.sink_ids = sink_ids(call, given["sink"], "filter[sink]", wanted.instance)
    after, before = (time_of(call, given, name) for name in TIMES)
    wanted.after, wanted.before = after, before
    return wanted


def event_name(spelled: str) -> str:
    """The wire name of any spelling; what is no event stays as it is."""
    return NAME_OF.get(to_key(spelled), spelled)


def matching(sinks: Iterable[SinkConfig], spelled: str) -> list[SinkConfig]:
    """Sinks by kind (`webhook`), kind and name (`webhook/backup`), or id."""
    return [s for s in sinks if spelled in {s.kind, f"{s.kind}/{s.name}", s.id}]


def sink_ids(call: Call, spelled: str, path: str, instance: str | None = None) -> list[str]:
    """The ids of the sinks meant, within what the key may see. Raises InvalidError when there are
    none; the id of a sink that is gone is taken as it is.
    """
    visible = [
        sink
        for sink in call.services.directory.sinks()
        if sink.tenant == call.principal.tenant
        and call.principal.sees(sink.instance)
        and instance in {None, sink.instance}
    ]
    found = [sink.id for sink in matching(visible, spelled)]
    if not found and not ULID.fullmatch(spelled):
        raise refuse(path, "names no sink: give a kind, kind/name, or an id")
    return found or [spelled]


def time_of(call: Call, given: dict[str, str], name: str) -> int | None:
    """A time of the query, also where it is written as a filter."""
    text = call.query(name) or given.get(name)
    if text is None:
        return None
    try:
        moment = _MOMENT.validate_python(_LOST_PLUS.sub(r"\1+\2", text))
    except ValidationError:
        raise refuse(name, "must be a time such as 2024-01-15T10:45:00Z") from None
    return micros(moment)


def micros(moment: datetime) -> int:
    """Microseconds since 1970; a time without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000_000)
