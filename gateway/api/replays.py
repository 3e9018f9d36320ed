"""Bulk replay: choose deliveries, send them again slowly, follow and steer it."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from gateway.api.doc import Doc
from gateway.api.history_query import (
    ULID,
    event_name,
    id_cursor,
    limit_of,
    micros,
    sink_ids,
    sliced,
)
from gateway.api.paging import Data, Slice, refuse
from gateway.api.route import Call, Handler, Route, data
from gateway.api.text import Body, InstanceName
from gateway.api.times import api_time
from gateway.replay import DEFAULT_RATE, What
from gateway.store.base import Record
from gateway.store.rows import Wanted
from schemas.errors import ForbiddenError, NotFoundError
from schemas.events import WIRE_NAMES

Status = Literal["running", "paused", "canceled"]
Ident = Annotated[str, Field(pattern=ULID.pattern)]


class Chosen(Body):
    """Which deliveries. `sink`: kind, kind/name or id. `from` is included, `to` is not. `ids`: none
    but these.
    """

    instance: InstanceName | None = None
    name: Annotated[str, Field(max_length=100)] | None = None
    sink: Annotated[str, Field(max_length=100)] | None = None
    from_: Annotated[datetime | None, Field(alias="from")] = None
    to: datetime | None = None
    ids: Annotated[list[Ident], Field(min_length=1, max_length=500)] | None = None


class ReplayFilter(Chosen):
    """Dead letters unless told otherwise."""

    status: Literal["dead", "succeeded", "canceled", "retrying"] = "dead"


class PurgeFilter(Chosen):
    """Only what was given up or canceled may go."""

    status: Literal["dead", "canceled"] = "dead"


class NewPurge(Body):
    """The filter has to be given, if only as `{}`."""

    filter: PurgeFilter


class NewReplay(Body):
    """`rate`: deliveries a second at most."""

    filter: ReplayFilter
    rate: Annotated[float, Field(gt=0, le=10_000)] = DEFAULT_RATE


class ReplayData(BaseModel):
    """How far a bulk job is. `type`: `dispatches` sends again, `inbounds` reads again, `purge`
    forgets. `failed`: what was being sent, or is gone. `by`: the API key that wanted it.
    """

    id: str
    type: str
    status: str
    filter: dict[str, Any]
    matched: int
    done: int
    failed: int
    rate: float
    by: str
    created_at: str | None
    updated_at: str | None
    finished_at: str | None


async def start_replay(call: Call) -> web.Response:
    """Start sending deliveries again."""
    wish = await call.model(NewReplay)
    return await _start(call, "dispatches", wish.filter, wish.rate)


async def start_purge(call: Call) -> web.Response:
    """Start forgetting deliveries that were given up."""
    wish = await call.model(NewPurge)
    return await _start(call, "purge", wish.filter, DEFAULT_RATE)


async def _start(
    call: Call, what: What, chosen: ReplayFilter | PurgeFilter, rate: float
) -> web.Response:
    wanted = _wanted(call, chosen)
    shown = chosen.model_dump(mode="json", by_alias=True, exclude_none=True)
    by = call.principal.name
    record = await call.services.replays.start(what, wanted, shown, rate, by)
    call.services.jobs.wake()
    return data(_shown(record), 202)


def _wanted(call: Call, chosen: ReplayFilter | PurgeFilter) -> Wanted:
    principal = call.principal
    if chosen.instance is not None and not principal.sees(chosen.instance):
        raise ForbiddenError(f"this API key is limited to instance {principal.instance}")
    sinks = None
    if chosen.sink is not None:
        sinks = sink_ids(call, chosen.sink, "filter.sink", chosen.instance)
    return Wanted(
        tenant=principal.tenant,
        instances=principal.instances,
        instance=chosen.instance,
        name=_known_name(chosen.name) if chosen.name else None,
        status=chosen.status,
        sink_ids=sinks,
        ids=chosen.ids,
        after=micros(chosen.from_) - 1 if chosen.from_ else None,
        before=micros(chosen.to) if chosen.to else None,
    )


def _known_name(spelled: str) -> str:
    name = event_name(spelled)
    if name not in WIRE_NAMES:
        raise refuse("filter.name", "is no event that this gateway knows")
    return name


async def list_replays(call: Call) -> web.Response:
    """Bulk jobs, newest first."""
    limit, below = limit_of(call), id_cursor(call)
    records = await call.services.replays.all(call.principal.tenant)
    seen = [r for r in records if _sees(call, r) and (below is None or r.id < below)]
    return sliced(seen[: limit + 1], limit, _shown, lambda r: r.id)


async def show_replay(call: Call) -> web.Response:
    """One bulk job."""
    return data(_shown(await _found(call)))


async def steer_replay(status: Status, call: Call) -> web.Response:
    """Pause, resume or cancel a bulk job."""
    record = await call.services.replays.steer(await _found(call), status)
    call.services.jobs.wake()
    return data(_shown(record))


async def _found(call: Call) -> Record:
    record = await call.services.replays.find(call.principal.tenant, call.path("id"))
    if not _sees(call, record):
        raise NotFoundError("there is no such replay")
    return record


def _sees(call: Call, record: Record) -> bool:
    """A limited key sees what concerns its instance and no other."""
    limit = call.principal.instance
    wanted = record.doc["wanted"]
    return limit is None or limit == wanted["instance"] or wanted["instances"] == [limit]


def _shown(record: Record) -> ReplayData:
    doc = record.doc
    return ReplayData(
        id=record.id,
        type=doc["type"],
        status=doc["status"],
        filter=doc["filter"],
        matched=doc["matched"],
        done=doc["done"],
        failed=doc["failed"],
        rate=doc["rate"],
        by=doc.get("by", ""),
        created_at=api_time(record.created_at),
        updated_at=api_time(record.updated_at),
        finished_at=api_time(doc["finished_at"]),
    )


def _steers(action: str, status: Status) -> Route:
    handler: Handler = partial(steer_replay, status)
    return Route(
        method="POST",
        path=f"/processing/replays/{{id}}/{action}",
        handler=handler,
        permission="EVENTS_REPLAY",
        summary=f"{action.capitalize()} a bulk job",
        tag="processing",
        answer=Data[ReplayData],
        answers={409: "it has ended"},
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/processing/replay",
        handler=start_replay,
        permission="EVENTS_REPLAY",
        summary="Send many deliveries again",
        tag="processing",
        body=NewReplay,
        answer=Data[ReplayData],
        status=202,
        doc=Doc(
            about="Every delivery keeps its event's id and `webhook-id`.",
            examples={
                "Every dead letter of an instance": {"filter": {"instance": "loja-1"}},
                "What a sink got on one day, 50 a second": {
                    "filter": {
                        "status": "succeeded",
                        "name": "order.paid",
                        "from": "2024-01-15T00:00:00Z",
                        "to": "2024-01-16T00:00:00Z",
                    },
                    "rate": 50,
                },
            },
        ),
    ),
    Route(
        method="POST",
        path="/processing/purge",
        handler=start_purge,
        permission="EVENTS_REPLAY",
        summary="Forget many dead letters",
        tag="processing",
        body=NewPurge,
        answer=Data[ReplayData],
        status=202,
        doc=Doc(
            about="Followed and steered as a replay is.",
            examples={"Dead letters of a sink": {"filter": {"sink": "webhook"}}},
        ),
    ),
    Route(
        method="GET",
        path="/processing/replays",
        handler=list_replays,
        permission="EVENTS_READ",
        summary="Bulk jobs, newest first",
        tag="processing",
        answer=Slice[ReplayData],
        query=("limit", "cursor"),
    ),
    Route(
        method="GET",
        path="/processing/replays/{id}",
        handler=show_replay,
        permission="EVENTS_READ",
        summary="How far a bulk job is",
        tag="processing",
        answer=Data[ReplayData],
    ),
    _steers("pause", "paused"),
    _steers("resume", "running"),
    _steers("cancel", "canceled"),
)
