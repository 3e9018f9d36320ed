"""Drivers: what this gateway understands, and which of it the tenant uses."""

from __future__ import annotations

from aiohttp import web
from pydantic import BaseModel

from drivers import DRIVERS
from drivers.base import Driver
from gateway.api.doc import Doc, words
from gateway.api.driver_shape import (
    DriverData,
    DriverDetail,
    DriverName,
    driver_data,
    driver_detail,
)
from gateway.api.language import language_of
from gateway.api.paging import (
    FLAGS,
    PAGE_QUERY,
    Data,
    Page,
    filters,
    flag,
    in_order,
    one_of,
    paged,
)
from gateway.api.route import ANY_KEY, Call, Route, data
from gateway.api.times import api_time
from gateway.driver_setup import driver_of
from schemas.errors import NotFoundError

FILTERS = ("name", "type", "enabled", "status")
TYPES = ("webhook", "polling")
STATUSES = ("active", "deprecated", "disabled")


class DriftSign(BaseModel):
    """`sign`: what was not understood (`unknown_status:weird`). `example_inbound_id`: the last
    delivery that showed it.
    """

    sign: str
    count: int
    first_seen_at: str | None
    last_seen_at: str | None
    example_inbound_id: str


def found_driver(call: Call) -> Driver:
    """The driver that the path names by id or slug. Raises NotFoundError."""
    driver = driver_of(call.path("id"))
    if driver is None:
        raise NotFoundError("there is no such driver")
    return driver


async def list_drivers(call: Call) -> web.Response:
    """Every driver, filtered, in order, a page at a time."""
    language = language_of(call.request)
    settings = call.services.directory.driver_settings
    tenant = call.principal.tenant
    shown = [driver_data(d, settings(tenant, d.slug), language) for d in DRIVERS]
    chosen = [d for d in shown if _passes(d, filters(call, FILTERS))]
    keys = {
        "name": lambda d: d.name.casefold(),
        "slug": lambda d: d.slug,
        "version": lambda d: d.version,
        "type": lambda d: d.type,
        "status": lambda d: d.status,
        "created_at": lambda d: d.created_at,
    }
    return paged(call, in_order(call, chosen, keys, "name"), lambda d: d)


async def list_names(_call: Call) -> web.Response:
    """Names and slugs, by name."""
    named = sorted(DRIVERS, key=lambda d: d.name.casefold())
    return data([DriverName(name=d.name, slug=d.slug).model_dump() for d in named])


async def show_driver(call: Call) -> web.Response:
    """One driver, with the credentials its installations take."""
    driver = found_driver(call)
    settings = call.services.directory.driver_settings(call.principal.tenant, driver.slug)
    base_url = call.services.settings.base_url
    return data(driver_detail(driver, settings, language_of(call.request), base_url))


async def show_drift(call: Call) -> web.Response:
    """Signs that the provider changed its payload, the most frequent first."""
    driver = found_driver(call)
    signs = await call.services.drift.signs(call.principal.tenant, driver.slug)
    shown = [
        DriftSign(
            sign=word,
            count=sign.count,
            first_seen_at=api_time(sign.first_seen),
            last_seen_at=api_time(sign.last_seen),
            example_inbound_id=sign.example,
        ).model_dump()
        for word, sign in sorted(signs.items(), key=lambda s: (-s[1].count, s[0]))
    ]
    return data(shown)


def _passes(driver: DriverData, wanted: dict[str, str]) -> bool:
    if "name" in wanted and wanted["name"].casefold() not in driver.name.casefold():
        return False
    if "type" in wanted and driver.type != one_of("filter[type]", wanted["type"], TYPES):
        return False
    status = wanted.get("status")
    if status and driver.status != one_of("filter[status]", status, STATUSES):
        return False
    return "enabled" not in wanted or driver.enabled == flag("enabled", wanted["enabled"])


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/drivers",
        handler=list_drivers,
        permission=ANY_KEY,
        summary="Every driver",
        tag="drivers",
        answer=Page[DriverData],
        query=(*PAGE_QUERY, "sort", *(f"filter[{name}]" for name in FILTERS)),
        doc=Doc(
            parameters={
                "sort": {"examples": ["name", "-created_at"]},
                "filter[name]": {"description": "Contained in the driver's name, in any case."},
                "filter[type]": words(*TYPES),
                "filter[enabled]": words(*FLAGS),
                "filter[status]": words(*STATUSES),
            }
        ),
    ),
    # Before /drivers/{id}, which would take `names` for an id.
    Route(
        method="GET",
        path="/drivers/names",
        handler=list_names,
        permission=ANY_KEY,
        summary="Names and slugs of every driver",
        tag="drivers",
        answer=Data[list[DriverName]],
    ),
    Route(
        method="GET",
        path="/drivers/{id}",
        handler=show_driver,
        permission=ANY_KEY,
        summary="One driver, by id or slug",
        tag="drivers",
        answer=Data[DriverDetail],
    ),
    Route(
        method="GET",
        path="/drivers/{id}/drift",
        handler=show_drift,
        permission="EVENTS_READ",
        summary="Signs that the provider changed its payload",
        tag="drivers",
        answer=Data[list[DriftSign]],
    ),
)
