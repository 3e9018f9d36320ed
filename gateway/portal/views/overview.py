"""The first page: what goes through, whether anything is stuck, and since when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.drift import KIND as DRIFT
from gateway.portal.backlog import Backlog
from gateway.portal.chart import Chart, chart
from gateway.portal.door import Opening
from gateway.portal.page import Page
from gateway.store.rows import Wanted
from gateway.store.trends import WINDOWS, Slice

BACKLOG: web.AppKey[Backlog] = web.AppKey("backlog", Backlog)
LATE_AFTER = 300  # seconds
MOST_LISTED = 8
COUNTED = 100


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sink or an installation that does not work. `place`: its page."""

    name: str
    state: str
    reason: str | None
    place: str


async def show_overview(page: Page) -> web.Response:
    """Figures, charts and what is in trouble."""
    if not page.may("EVENTS_READ"):
        return page.show("overview_without.html")
    template = "part_overview.html" if page.query("part") else "overview.html"
    told = await _told(page)
    return page.show(template, window=_window(page), windows=list(WINDOWS), **told)


def _window(page: Page) -> str:
    asked = page.query("window")
    return asked if asked in WINDOWS else "1h"


async def _told(page: Page) -> dict[str, Any]:
    services, who, window = page.services, page.who, _window(page)
    now, backlog = services.now(), page.request.app[BACKLOG]
    slices, hour, waiting, quarantined, drift = await asyncio.gather(
        page.portal.trends.slices(who.tenant, who.instance, window, now),
        page.portal.trends.slices(who.tenant, who.instance, "1h", now),
        backlog.waiting(who.tenant, who.instance),
        _quarantined(page),
        services.registry.list(DRIFT, who.tenant),
    )
    oldest = None if waiting.oldest_at is None else (now - waiting.oldest_at) / 1000
    return {
        "figures": _figures(hour),
        "waiting": waiting,
        "oldest_ms": oldest,
        "is_late": oldest is not None and oldest > LATE_AFTER * 1000,
        "charts": _charts(page, slices, backlog.history(who.tenant, who.instance, window)),
        "sinks_in_trouble": _sinks(page)[:MOST_LISTED],
        "installations_in_trouble": _installations(page)[:MOST_LISTED],
        "quarantined": quarantined,
        "drift": sum(len(record.doc) for record in drift),
        "is_empty": not any(s.accepted for s in slices) and not _has_installations(page),
    }


def _figures(hour: Sequence[Slice]) -> dict[str, Any]:
    """Per minute over the last five, and the success of the last hour."""
    recent = hour[-6:-1]
    delivered, dead = sum(s.delivered for s in hour), sum(s.dead for s in hour)
    ended = delivered + dead
    return {
        "accepted": sum(s.accepted for s in recent) / len(recent),
        "delivered": sum(s.delivered for s in recent) / len(recent),
        "success": 100 * delivered / ended if ended else None,
        "accepted_line": chart([[s.accepted for s in hour[-31:-1]]], 120, 24),
        "delivered_line": chart([[s.delivered for s in hour[-31:-1]]], 120, 24),
    }


def _charts(
    page: Page, slices: Sequence[Slice], backlog: Sequence[int | None]
) -> list[tuple[str, str, list[str], Chart]]:
    """(name, unit, its lines' names, the chart) of each."""
    say = page.say
    rates = [
        None if not s.delivered + s.dead else 100 * s.delivered / (s.delivered + s.dead)
        for s in slices
    ]
    times = [s.at for s in slices]
    return [
        (
            say("Throughput"),
            "",
            [say("accepted"), say("delivered"), say("dead")],
            chart(
                [
                    [s.accepted for s in slices],
                    [s.delivered for s in slices],
                    [s.dead for s in slices],
                ],
                times=times,
            ),
        ),
        (
            say("Time to delivery"),
            "ms",
            [say("median"), say("95th percentile")],
            chart([[s.p50 for s in slices], [s.p95 for s in slices]], times=times),
        ),
        (say("Success rate"), "%", [say("delivered")], chart([rates], times=times, top=100)),
        (say("Backlog"), "", [say("waiting")], chart([list(backlog)], times=times)),
    ]


def _sinks(page: Page) -> list[Trouble]:
    """Open circuits, and sinks that were switched off for a reason."""
    services, who = page.services, page.who
    found = []
    for sink in services.directory.sinks():
        if sink.tenant != who.tenant or not who.sees(sink.instance):
            continue
        lane = services.dispatcher.lane(sink.id)
        place = f"instances/{sink.instance}/sinks/{sink.kind}/{sink.name}"
        name = f"{sink.instance} · {sink.kind}" + (
            f"/{sink.name}" if sink.name != "default" else ""
        )
        if not sink.enabled and sink.disabled_reason:
            found.append(Trouble(name, "disabled", sink.disabled_reason, place))
        elif sink.enabled and (shared := services.circuits.find(sink.id)) is not None:
            found.append(Trouble(name, "open", shared.reason, place))
        elif sink.enabled and lane is not None and lane.breaker.state != "closed":
            found.append(Trouble(name, "open", lane.last_error, place))
    return found


def _installations(page: Page) -> list[Trouble]:
    who = page.who
    return [
        Trouble(f"{i.instance} · {i.name}", i.status, i.reason, f"installations/{i.id}")
        for i in page.services.directory.installations(who.tenant)
        if who.sees(i.instance) and i.status in {"error", "pending_auth"}
    ]


def _has_installations(page: Page) -> bool:
    who = page.who
    found = page.services.directory.installations(who.tenant)
    return any(who.sees(i.instance) for i in found)


async def _quarantined(page: Page) -> int:
    """How many, at most COUNTED."""
    who = page.who
    wanted = Wanted(tenant=who.tenant, instances=who.instances, outcome="quarantined")
    return len(await page.services.history.inbounds(wanted, limit=COUNTED, below=None))


PAGES: tuple[Opening, ...] = (
    Opening("GET", "", show_overview),
    Opening("GET", "/", show_overview),
)
