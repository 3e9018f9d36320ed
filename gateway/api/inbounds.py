"""`/processing/webhooks`: what providers sent, and reading it again with today's driver."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field

from gateway.api.doc import Doc, words
from gateway.api.history_query import (
    CURSOR_QUERY,
    id_cursor,
    limit_of,
    micros,
    sliced,
    wanted_of,
)
from gateway.api.history_shape import InboundData, inbound_data
from gateway.api.paging import Data, Slice, one_of, refuse
from gateway.api.route import Call, Route, data
from gateway.api.text import Body, InstanceName
from gateway.driver_setup import driver_of
from gateway.renormalize import renormalize
from gateway.store.rows import InboundRow, Wanted
from schemas.errors import ForbiddenError, NotFoundError

OUTCOMES = ("accepted", "duplicate", "ignored", "quarantined", "enriching")
FILTERS = ("instance", "installation_id", "driver", "outcome", "status", "key")


class BulkRenormalize(Body):
    """Which deliveries to read again: of a driver, by default those in quarantine. `from` is
    included, `to` is not.
    """

    driver: str
    instance: InstanceName | None = None
    outcome: Literal["quarantined", "ignored", "accepted", "all"] = "quarantined"
    from_: Annotated[datetime | None, Field(alias="from")] = None
    to: datetime | None = None


class Started(BaseModel):
    """A bulk job to follow at /processing/replays/{id}."""

    id: str
    matched: int


async def list_inbounds(call: Call) -> web.Response:
    """Deliveries of providers, newest first; bodies are cut."""
    wanted, limit = wanted_of(call, FILTERS), limit_of(call)
    wanted.outcome = wanted.outcome or wanted.status
    wanted.status = None
    if wanted.outcome is not None:
        one_of("filter[outcome]", wanted.outcome, OUTCOMES)
    found = await call.services.history.inbounds(wanted, limit=limit + 1, below=id_cursor(call))
    return sliced(found, limit, lambda i: inbound_data(i, whole=False), lambda i: i.row.id)


async def show_inbound(call: Call) -> web.Response:
    """One delivery of a provider, whole."""
    return data(inbound_data(await _found(call), whole=True))


async def renormalize_one(call: Call) -> web.Response:
    """Read one delivery again; what is new is sent, what was told is not told again."""
    services = call.services
    await renormalize(services.directory, services.intake, await _found(call))
    return data(inbound_data(await _found(call), whole=True), 202)


async def renormalize_many(call: Call) -> web.Response:
    """Start reading many deliveries again."""
    wish = await call.model(BulkRenormalize)
    driver = driver_of(wish.driver)
    if driver is None:
        raise refuse("driver", "there is no such driver")
    if wish.instance is not None and not call.principal.sees(wish.instance):
        raise ForbiddenError(f"this API key is limited to instance {call.principal.instance}")
    wanted = Wanted(
        tenant=call.principal.tenant,
        instances=call.principal.instances,
        instance=wish.instance,
        driver=driver.slug,
        outcome=None if wish.outcome == "all" else wish.outcome,
        after=micros(wish.from_) - 1 if wish.from_ else None,
        before=micros(wish.to) if wish.to else None,
    )
    shown: dict[str, Any] = wish.model_dump(mode="json", by_alias=True, exclude_none=True)
    record = await call.services.replays.start("inbounds", wanted, shown)
    call.services.jobs.wake()
    return data(Started(id=record.id, matched=record.doc["matched"]), 202)


async def _found(call: Call) -> InboundRow:
    principal = call.principal
    found = await call.services.history.inbound(
        principal.tenant, call.path("id"), principal.instances
    )
    if found is None:
        raise NotFoundError("there is no such delivery")
    return found


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/processing/webhooks",
        handler=list_inbounds,
        permission="EVENTS_READ",
        summary="What providers sent, newest first",
        tag="processing",
        answer=Slice[InboundData],
        query=(*CURSOR_QUERY, *(f"filter[{name}]" for name in FILTERS)),
        doc=Doc(
            parameters={
                "filter[outcome]": words(*OUTCOMES),
                "filter[status]": words(*OUTCOMES, about="The same as filter[outcome]."),
            }
        ),
    ),
    Route(
        method="GET",
        path="/processing/webhooks/{id}",
        handler=show_inbound,
        permission="EVENTS_READ",
        summary="One delivery of a provider",
        tag="processing",
        answer=Data[InboundData],
    ),
    Route(
        method="POST",
        path="/processing/webhooks/{id}/renormalize",
        handler=renormalize_one,
        permission="EVENTS_REPLAY",
        summary="Read a delivery again with the driver as it is now",
        tag="processing",
        answer=Data[InboundData],
        status=202,
        answers={409: "its installation is gone"},
    ),
    Route(
        method="POST",
        path="/processing/renormalize",
        handler=renormalize_many,
        permission="EVENTS_REPLAY",
        summary="Read many deliveries of a driver again",
        tag="processing",
        body=BulkRenormalize,
        answer=Data[Started],
        status=202,
        answers={403: "the key is limited to another instance"},
        doc=Doc(
            examples={
                "What a driver could not read": {"driver": "hotmart"},
                "All of a day": {
                    "driver": "hotmart",
                    "outcome": "all",
                    "from": "2024-01-15T00:00:00Z",
                    "to": "2024-01-16T00:00:00Z",
                },
            }
        ),
    ),
)
