"""What happened: events, what providers sent, deliveries with every attempt, and finding one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.api.dispatches import STATUSES as DELIVERY_STATES
from gateway.api.events import STATUSES as EVENT_STATES
from gateway.api.history_query import ULID
from gateway.api.inbounds import OUTCOMES
from gateway.portal.door import Opening
from gateway.portal.page import Page, quoted
from gateway.store.rows import Wanted
from schemas.errors import ConflictError, InvalidError, NotFoundError

EVENT_FILTERS = ("name", "instance", "driver", "status", "key", "installation_id")
INBOUND_FILTERS = ("instance", "driver", "outcome", "installation_id")
DELIVERY_FILTERS = ("instance", "name", "sink", "status")
TIMES = {"from": "created_at_greater_than", "to": "created_at_less_than"}
SEARCHED, AT_ONCE = 500, 100  # events whose data are looked into


def asked(page: Page, filters: tuple[str, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """The filters of the page's own query, and the same as the API spells them."""
    own = {n: page.query(n) for n in (*filters, *TIMES, "cursor")}
    spelled = {f"filter[{n}]": v for n, v in own.items() if n in filters}
    spelled |= {TIMES[n]: v for n, v in own.items() if n in TIMES}
    return own, spelled | {"cursor": own["cursor"], "limit": "50"}


async def listed(
    page: Page, path: str, filters: tuple[str, ...], template: str, **values: Any
) -> web.Response:
    """A page of what the API lists at `path`; a filter it refuses is told, not an error."""
    own, spelled = asked(page, filters)
    error = None
    try:
        found = await page.ask("GET", path, query=spelled)
    except InvalidError as refused:
        error, found = refused, {"data": [], "meta": {"next_cursor": None}}
    names = {"instances": instance_names(page), "drivers": await driver_names(page)}
    return page.show(
        template,
        422 if error else 200,
        items=found["data"],
        following=found["meta"]["next_cursor"],
        query=own,
        filtered=any(own.values()),
        error=error,
        **names,
        **values,
    )


def instance_names(page: Page) -> list[str]:
    """The instances this visitor may see, by name."""
    found = page.services.directory.instances(page.who.tenant)
    return sorted(i.name for i in found if page.who.sees(i.name))


async def driver_names(page: Page) -> list[tuple[str, str]]:
    """(slug, name) of every driver."""
    return [(d["slug"], d["name"]) for d in (await page.ask("GET", "/drivers/names"))["data"]]


async def list_events(page: Page) -> web.Response:
    """Events, newest first."""
    return await listed(
        page, "/processing/events", EVENT_FILTERS, "events.html", states=EVENT_STATES
    )


async def list_inbounds(page: Page) -> web.Response:
    """What providers sent, newest first."""
    return await listed(
        page, "/processing/webhooks", INBOUND_FILTERS, "inbounds.html", states=OUTCOMES
    )


async def list_deliveries(page: Page) -> web.Response:
    """Deliveries to sinks, newest first."""
    return await listed(
        page,
        "/processing/dispatches",
        DELIVERY_FILTERS,
        "deliveries.html",
        states=DELIVERY_STATES,
    )


async def show_event(page: Page) -> web.Response:
    """The trace of one event: how it came, what it says, and where it went."""
    event = (await page.ask("GET", f"/processing/events/{quoted(page.path('id'))}"))["data"]
    inbound, deliveries = await asyncio.gather(
        _inbound(page, event["inbound_id"]),
        asyncio.gather(*(_delivery(page, d["id"]) for d in event["dispatches"][-20:])),
    )
    told = [d for d in deliveries if d is not None]
    slowest = max((float(a["duration_ms"]) for d in told for a in d["attempts"]), default=1.0)
    sinks = page.services.directory.sinks_of(page.who.tenant, event["instance"])
    return page.show(
        "event.html",
        event=event,
        inbound=inbound,
        deliveries=told,
        slowest=slowest or 1.0,
        sinks=sinks,
        installation=_installation(page, event["installation_id"]),
    )


async def _inbound(page: Page, ident: str | None) -> Any:
    if ident is None:
        return None
    try:
        return (await page.ask("GET", f"/processing/webhooks/{ident}"))["data"]
    except NotFoundError:
        return None  # purged before the event, or of a time before it was kept


async def _delivery(page: Page, ident: str) -> Any:
    try:
        return (await page.ask("GET", f"/processing/dispatches/{ident}"))["data"]
    except NotFoundError:
        return None  # purged meanwhile


def _installation(page: Page, ident: str | None) -> Any:
    return page.services.directory.installation(ident) if ident else None


async def replay_event(page: Page) -> web.Response:
    """Send an event again, to one sink or to all that want it."""
    ident = quoted(page.path("id"))
    sink = page.typed("sink")
    body = {"sinks": [sink]} if sink else {}
    try:
        await page.ask("POST", f"/processing/events/{ident}/replay", body)
    except (ConflictError, InvalidError) as error:
        return page.go(f"events/{ident}", error.message, tone="bad")
    return page.go(f"events/{ident}", page.say("It is being sent again."))


async def show_inbound(page: Page) -> web.Response:
    """One request of a provider, whole."""
    found = (await page.ask("GET", f"/processing/webhooks/{quoted(page.path('id'))}"))["data"]
    installation = _installation(page, found["installation_id"])
    return page.show("inbound.html", inbound=found, installation=installation)


async def renormalize(page: Page) -> web.Response:
    """Read one request again with the driver as it is now."""
    ident = quoted(page.path("id"))
    try:
        found = await page.ask("POST", f"/processing/webhooks/{ident}/renormalize")
    except ConflictError as error:
        return page.go(f"inbounds/{ident}", error.message, tone="bad")
    told = page.say("It was read again.")
    if found["data"]["outcome"] == "quarantined":
        told = page.say("It was read again, and is still in quarantine.")
    return page.go(f"inbounds/{ident}", told)


async def show_delivery(page: Page) -> web.Response:
    """One delivery with every attempt."""
    found = (await page.ask("GET", f"/processing/dispatches/{quoted(page.path('id'))}"))["data"]
    slowest = max((float(a["duration_ms"]) for a in found["attempts"]), default=1.0)
    return page.show("delivery.html", delivery=found, slowest=slowest or 1.0)


async def steer_delivery(page: Page) -> web.Response:
    """Try a delivery again now, or end it."""
    ident, action = quoted(page.path("id")), page.path("action")
    try:
        await page.ask("POST", f"/processing/dispatches/{ident}/{action}")
    except ConflictError as error:
        return page.go(f"deliveries/{ident}", error.message, tone="bad")
    told = page.say("It is being tried again.")
    if action == "cancel":
        told = page.say("The delivery was canceled.")
    return page.go(f"deliveries/{ident}", told)


async def search(page: Page) -> web.Response:
    """To the trace of what was typed: an id of ours, an order's key, or a word in recent events."""
    text = page.query("q")
    found: Mapping[str, Any] = {"events": [], "searched": 0}
    if text:
        place = await _place_of(page, text.lower()) if ULID.fullmatch(text.lower()) else None
        if place is not None:
            return page.go(place)
        found = await _events_with(page, text)
        ids = [e["id"] for e in found["events"]]
        if len(ids) == 1:
            return page.go(f"events/{ids[0]}")
    return page.show("search.html", query_text=text, **found)


async def _place_of(page: Page, ident: str) -> str | None:
    kinds = (
        ("/processing/events/", "events"),
        ("/processing/dispatches/", "deliveries"),
        ("/processing/webhooks/", "inbounds"),
        ("/installations/", "installations"),
    )
    for path, place in kinds:
        try:
            await page.ask("GET", path + ident)
        except NotFoundError:
            continue
        return f"{place}/{ident}"
    return None


async def _events_with(page: Page, text: str) -> Mapping[str, Any]:
    """Events of this key; failing that, recent ones whose data holds the text."""
    query = {"filter[key]": text, "limit": "50"}
    keyed = (await page.ask("GET", "/processing/events", query=query))["data"]
    if keyed:
        return {"events": keyed, "searched": 0}
    who, needle = page.who, text.casefold()
    wanted = Wanted(tenant=who.tenant, instances=who.instances)
    ids: list[str] = []
    below, searched = None, 0
    while searched < SEARCHED:
        rows = await page.services.history.events(wanted, limit=AT_ONCE, below=below)
        ids += [r.event.id for r in rows if needle in _text(r.event.data)]
        searched += len(rows)
        if len(rows) < AT_ONCE:
            break
        below = rows[-1].event.seq
    shown = [(await page.ask("GET", f"/processing/events/{ident}"))["data"] for ident in ids[:50]]
    return {"events": shown, "searched": searched}


def _text(data: bytes) -> str:
    return data.decode(errors="replace").casefold()


READ = "EVENTS_READ"
REPLAY = "EVENTS_REPLAY"
PAGES: tuple[Opening, ...] = (
    Opening("GET", "/events", list_events, READ),
    Opening("GET", "/events/{id}", show_event, READ),
    Opening("POST", "/events/{id}/replay", replay_event, REPLAY),
    Opening("GET", "/inbounds", list_inbounds, READ),
    Opening("GET", "/inbounds/{id}", show_inbound, READ),
    Opening("POST", "/inbounds/{id}/renormalize", renormalize, REPLAY),
    Opening("GET", "/deliveries", list_deliveries, READ),
    Opening("GET", "/deliveries/{id}", show_delivery, READ),
    Opening("POST", "/deliveries/{id}/{action:retry|cancel}", steer_delivery, REPLAY),
    Opening("GET", "/search", search, READ),
)
