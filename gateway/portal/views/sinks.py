"""One sink: its form, its state, a test event through it, and switching it off and on."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.portal import fields
from gateway.portal.door import Opening
from gateway.portal.page import Page, quoted
from gateway.portal.views.instances import MANAGE, REFUSED
from schemas.errors import Detail, InvalidError, NotFoundError, RequestError
from schemas.events import MESSAGING, NAME_OF
from schemas.sink_config import KINDS, Kind

DEFAULT = "default"


def _kind(page: Page) -> Kind:
    kind = page.path("kind")
    if kind not in KINDS:
        raise NotFoundError(page.say("There is no such kind of sink."))
    return kind


def _path(page: Page, action: str) -> str:
    instance, name = quoted(page.path("instance")), quoted(page.path("name"))
    return f"/{_kind(page)}/{action}/{instance}/{name}"


def _place(page: Page) -> str:
    instance, name = quoted(page.path("instance")), quoted(page.path("name"))
    return f"instances/{instance}/sinks/{_kind(page)}/{name}"


def families() -> list[tuple[str, list[tuple[str, str]]]]:
    """Events to choose from: (family, [(key, wire name)])."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, name in NAME_OF.items():
        family = "messages" if key in MESSAGING else name.partition(".")[0]
        groups.setdefault(family, []).append((key, name))
    return list(groups.items())


async def show_sink(page: Page) -> web.Response:
    """The form, filled with what is configured; its state when it is."""
    row = await page.ask("GET", _path(page, "find"))
    kind = _kind(page)
    values = fields.shown(row, fields.fields_of(kind))
    values["enabled"] = row["enabled"] or not row["createdAt"]
    return await _form(page, row, values, row["events"])


async def _form(
    page: Page,
    row: dict[str, Any],
    values: dict[str, Any],
    events: list[str],
    error: RequestError | None = None,
) -> web.Response:
    kind, is_new = _kind(page), not row["createdAt"]
    told = None if is_new else await page.ask("GET", _path(page, "status"))
    return page.show(
        "sink.html",
        error.status if error else 200,
        kind=kind,
        instance=page.path("instance"),
        name=page.path("name"),
        place=_place(page),
        is_new=is_new,
        told=told,
        values=values,
        chosen=set(events),
        all_events=not events,
        own=[f for f in fields.FIELDS[kind] if not f.is_rare],
        rare=[*(f for f in fields.FIELDS[kind] if f.is_rare), *fields.COMMON],
        families=families(),
        error=error,
        errors=fields.errors_of(error, f"{kind}.") if error else {},
        server_wide=bool(page.services.sink_context.server_wide.get(kind)),
    )


async def save_sink(page: Page) -> web.Response:
    """Configure it as typed; what the API refuses is shown beside its field."""
    kind = _kind(page)
    known = fields.fields_of(kind)
    before = await page.ask("GET", _path(page, "find"))
    chosen = [] if page.typed("all_events") == "all" else page.form.getall("events", [])
    try:
        body = fields.read(page.form, known)
        body |= {"enabled": "enabled" in page.form, "events": _events(page, chosen)}
        saved = await page.ask("POST", _path(page, "set"), body)
    except REFUSED as error:
        values = fields.typed(page.form, known) | {"enabled": "enabled" in page.form}
        shown = chosen if page.typed("all_events") == "all" else chosen or ["-"]
        return await _form(page, before, values, shown, error)
    told = page.say("The sink was saved.")
    secret = saved.get("secret") if kind == "webhook" and not before["createdAt"] else None
    lines = list(saved.get("warnings", ()))
    if secret:
        lines.insert(0, page.say("Your server verifies deliveries with this secret."))
    return page.go(_place(page), told, secret=secret, lines=lines)


def _events(page: Page, chosen: list[str]) -> list[str]:
    if page.typed("all_events") != "all" and not chosen:
        message = page.say("choose at least one event, or all of them")
        raise InvalidError(details=(Detail("events", message),))
    return chosen


async def test_sink(page: Page) -> web.Response:
    """A test event through the real sink; what came of it is told."""
    answer = await page.ask("POST", _path(page, "test"))
    took = f"{answer['duration_ms']} ms"
    response = answer["response"]
    lines = [f"{answer['event']} · {answer['event_id']} · {took}"]
    if response["status"] is not None:
        lines.append(f"HTTP {response['status']} {(response['body'] or '')[:300]}")
    if answer["success"]:
        return page.go(_place(page), page.say("The test event was delivered."), lines=lines)
    told = page.say("The test event was not delivered: {reason}", reason=answer["reason"] or "?")
    return page.go(_place(page), told, tone="bad", lines=lines)


async def switch_sink(page: Page) -> web.Response:
    """Off: deliveries wait. On: they go out."""
    on = page.path("action") == "enable"
    try:
        await page.ask("POST", _path(page, "set"), {"enabled": on})
    except REFUSED as error:
        return page.go(_place(page), error.message, tone="bad")
    told = page.say("The sink is on: what waited goes out.")
    if not on:
        told = page.say("The sink is off: its deliveries wait until it is on again.")
    return page.go(_place(page), told)


async def rotate_secret(page: Page) -> web.Response:
    """A new signing secret; both sign for a day."""
    saved = await page.ask("POST", _path(page, "rotate-secret"))
    told = page.say("This is the new signing secret. For 24 hours deliveries are signed with both.")
    return page.go(_place(page), told, secret=saved["secret"])


async def remove_sink(page: Page) -> web.Response:
    """Remove it; what waited for it is canceled."""
    await page.ask("DELETE", _path(page, "set"))
    return page.go(f"instances/{quoted(page.path('instance'))}", page.say("The sink was removed."))


async def add_sink(page: Page) -> web.Response:
    """To the form of another sink of a kind."""
    kind, name = page.typed("kind"), page.typed("name") or DEFAULT
    place = f"instances/{quoted(page.path('instance'))}"
    return page.go(f"{place}/sinks/{quoted(kind)}/{quoted(name)}")


ONE = "/instances/{instance}/sinks/{kind}/{name}"
PAGES: tuple[Opening, ...] = (
    Opening("POST", "/instances/{instance}/sinks", add_sink, MANAGE),
    Opening(method="GET", path=ONE, view=show_sink),
    Opening(method="POST", path=ONE, view=save_sink, permission=MANAGE),
    Opening(method="POST", path=ONE + "/test", view=test_sink, permission=MANAGE),
    Opening(
        method="POST", path=ONE + "/{action:enable|disable}", view=switch_sink, permission=MANAGE
    ),
    Opening(method="POST", path=ONE + "/rotate-secret", view=rotate_secret, permission=MANAGE),
    Opening(method="POST", path=ONE + "/remove", view=remove_sink, permission=MANAGE),
)
