"""`GET /audit`: who changed or replayed what, when, from where."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel

from gateway.api.history_query import CURSOR_QUERY, TIMES, id_cursor, limit_of, sliced, time_of
from gateway.api.paging import Slice, filters
from gateway.api.route import Call, Route
from gateway.api.times import api_time
from gateway.audit import Entry, Search

FILTERS = ("key", "action", "instance", "source")


class AuditKey(BaseModel):
    """The API key that was used; `id` is `admin` for the bootstrap key."""

    id: str
    name: str


class AuditEntry(BaseModel):
    """One request that changed something. `action`: method and route; `target`: the id of what it
    made or changed; `fields`: the names of what was sent; `source`: the address it came from.
    """

    id: str
    at: str | None
    key: AuditKey
    action: str
    path: str
    instance: str | None
    target: str | None
    fields: list[str]
    status: int
    source: str


async def read_audit(call: Call) -> web.Response:
    """The tenant's log, newest first, within the key's instance."""
    given, limit = filters(call, (*FILTERS, *TIMES)), limit_of(call)
    after, before = (time_of(call, given, name) for name in TIMES)
    search = Search(
        tenant=call.principal.tenant,
        instances=call.principal.instances,
        after=after,
        before=before,
        below=id_cursor(call),
        **{name: given[name] for name in FILTERS if name in given},
    )
    found = await call.services.callers.audit.find(search, limit + 1)
    return sliced(found, limit, _shown, lambda entry: entry.id)


def _shown(entry: Entry) -> AuditEntry:
    return AuditEntry(
        id=entry.id,
        at=api_time(entry.at),
        key=AuditKey(id=entry.key_id, name=entry.key_name),
        action=entry.action,
        path=entry.path,
        instance=entry.instance,
        target=entry.doc.get("id"),
        fields=entry.doc.get("fields", []),
        status=entry.status,
        source=entry.source,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/audit",
        handler=read_audit,
        permission="EVENTS_READ",
        summary="Who changed or replayed what, when, from where",
        tag="operations",
        answer=Slice[AuditEntry],
        query=(*CURSOR_QUERY, *(f"filter[{name}]" for name in FILTERS)),
    ),
)
