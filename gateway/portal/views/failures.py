"""What did not go well: dead letters, quarantine, drift, and the bulk jobs that put it right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from drivers import DRIVERS
from gateway.portal.door import Opening
from gateway.portal.fields import errors_of, number
from gateway.portal.page import Page, quoted
from gateway.portal.views.history import driver_names, instance_names
from gateway.portal.views.instances import REFUSED
from schemas.errors import RequestError

READ, REPLAY = "EVENTS_READ", "EVENTS_REPLAY"
PAGES_READ, AT_ONCE = 5, 100
ENDED = frozenset({"finished", "done", "canceled", "failed"})


@dataclass(frozen=True, slots=True)
class Group:
    """What failed the same way. `newest`: the latest of them."""

    count: int
    newest: dict[str, Any]


def grouped(
    items: Iterable[dict[str, Any]], alike: Callable[[dict[str, Any]], tuple[Any, ...]]
) -> list[Group]:
    """Items, newest first, put together by what they have in common; the largest group first."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for item in items:
        found.setdefault(alike(item), []).append(item)
    groups = [Group(len(members), members[0]) for members in found.values()]
    return sorted(groups, key=lambda g: -g.count)


async def _latest(page: Page, path: str, query: dict[str, str]) -> tuple[list[Any], bool]:
    """The latest of a list, and whether there are more."""
    found: list[Any] = []
    cursor = ""
    for _ in range(PAGES_READ):
        told = await page.ask("GET", path, query=query | {"limit": str(AT_ONCE), "cursor": cursor})
        found += told["data"]
        cursor = told["meta"]["next_cursor"] or ""
        if not cursor:
            return found, False
    return found, True


async def show_dead(page: Page) -> web.Response:
    """Dead letters by sink and reason, and sending them again."""
    return await _dead(page, 200)


async def _dead(page: Page, status: int, error: RequestError | None = None) -> web.Response:
    query = {"filter[status]": "dead", "filter[instance]": page.query("instance")}
    found, more = await _latest(page, "/processing/dispatches", query)
    groups = grouped(found, lambda d: (d["instance"], d["sink_id"], d["reason"]))
    return page.show(
        "failures_dead.html",
        status,
        groups=groups,
        count=len(found),
        more=more,
        instances=instance_names(page),
        instance=page.query("instance"),
        typed={n: page.form.get(n, "") for n in ("instance", "sink", "name", "from", "to", "rate")},
        error=error,
        errors=errors_of(error, "filter.") if error else {},
    )


def _chosen(page: Page) -> dict[str, Any]:
    """The filter that was typed; times without a zone are UTC."""
    names = ("instance", "sink", "name", "from", "to")
    return {name: page.typed(name) for name in names if page.typed(name)}


async def start_replay(page: Page) -> web.Response:
    """Send dead letters again, and follow it."""
    body: dict[str, Any] = {"filter": _chosen(page)}
    if page.typed("rate"):
        body["rate"] = number(page.typed("rate"))
    try:
        made = (await page.ask("POST", "/processing/replay", body))["data"]
    except REFUSED as error:
        return await _dead(page, error.status, error)
    return page.go(f"failures/jobs/{made['id']}", page.say("It has begun."))


async def start_purge(page: Page) -> web.Response:
    """Forget dead letters for good, and follow it."""
    try:
        made = (await page.ask("POST", "/processing/purge", {"filter": _chosen(page)}))["data"]
    except REFUSED as error:
        return await _dead(page, error.status, error)
    return page.go(f"failures/jobs/{made['id']}", page.say("It has begun."))


async def show_quarantine(page: Page) -> web.Response:
    """Requests that no driver understood, by driver and reason."""
    query = {"filter[outcome]": "quarantined", "filter[instance]": page.query("instance")}
    found, more = await _latest(page, "/processing/webhooks", query)
    groups = grouped(found, lambda i: (i["driver"], i["reason"]))
    return page.show(
        "failures_quarantine.html",
        groups=groups,
        count=len(found),
        more=more,
        drivers=await driver_names(page),
    )


async def start_renormalize(page: Page) -> web.Response:
    """Read a driver's quarantine again, and follow it."""
    body: dict[str, Any] = {"driver": page.typed("driver")}
    body |= {n: page.typed(n) for n in ("instance", "from", "to") if page.typed(n)}
    try:
        made = (await page.ask("POST", "/processing/renormalize", body))["data"]
    except REFUSED as error:
        return page.go("failures/quarantine", error.message, tone="bad")
    return page.go(f"failures/jobs/{made['id']}", page.say("It has begun."))


async def list_jobs(page: Page) -> web.Response:
    """Bulk jobs, newest first."""
    query = {"limit": "50", "cursor": page.query("cursor")}
    found = await page.ask("GET", "/processing/replays", query=query)
    return page.show(
        "failures_jobs.html",
        items=found["data"],
        following=found["meta"]["next_cursor"],
        query={"cursor": page.query("cursor")},
    )


async def show_job(page: Page) -> web.Response:
    """How far one is."""
    job = (await page.ask("GET", f"/processing/replays/{quoted(page.path('id'))}"))["data"]
    template = "part_job.html" if page.query("part") else "failures_job.html"
    return page.show(template, job=job, has_ended=job["status"] in ENDED)


async def steer_job(page: Page) -> web.Response:
    """Pause, resume or cancel one."""
    ident = quoted(page.path("id"))
    try:
        await page.ask("POST", f"/processing/replays/{ident}/{page.path('action')}")
    except REFUSED as error:
        return page.go(f"failures/jobs/{ident}", error.message, tone="bad")
    return page.go(f"failures/jobs/{ident}")


async def show_drift(page: Page) -> web.Response:
    """Signs that providers changed their payloads, of every driver."""
    told = await asyncio.gather(*(page.ask("GET", f"/drivers/{d.slug}/drift") for d in DRIVERS))
    found = [(d, t["data"]) for d, t in zip(DRIVERS, told, strict=True) if t["data"]]
    return page.show("failures_drift.html", found=found)


PAGES: tuple[Opening, ...] = (
    Opening("GET", "/failures", show_dead, READ),
    Opening("POST", "/failures/replay", start_replay, REPLAY),
    Opening("POST", "/failures/purge", start_purge, REPLAY),
    Opening("GET", "/failures/quarantine", show_quarantine, READ),
    Opening("POST", "/failures/renormalize", start_renormalize, REPLAY),
    Opening("GET", "/failures/jobs", list_jobs, READ),
    Opening("GET", "/failures/jobs/{id}", show_job, READ),
    Opening("POST", "/failures/jobs/{id}/{action:pause|resume|cancel}", steer_job, REPLAY),
    Opening("GET", "/failures/drift", show_drift, READ),
)
