"""Instances: the streams, each with its sinks, installations and latest events."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gateway.portal.door import Opening
from gateway.portal.fields import errors_of
from gateway.portal.page import Page, quoted
from schemas.errors import BadRequestError, ConflictError, ForbiddenError, InvalidError
from schemas.sink_config import KINDS

REFUSED = (BadRequestError, InvalidError, ConflictError, ForbiddenError)
MANAGE = "SINKS_MANAGE"


async def list_instances(page: Page) -> web.Response:
    """Every instance the key may touch."""
    return await _listed(page, 200)


async def _listed(page: Page, status: int, error: Any = None) -> web.Response:
    found = await page.ask("GET", "/instances", query={"limit": "100", "page": page.query("page")})
    return page.show(
        "instances.html",
        status,
        items=found["data"],
        meta=found["meta"],
        error=error,
        errors=errors_of(error) if error else {},
        typed={"name": page.typed("name"), "number": page.typed("number")},
    )


async def create_instance(page: Page) -> web.Response:
    """Make one, and go to it."""
    name = page.typed("name")
    body: dict[str, Any] = {"name": name, "skip_superseded": "skip_superseded" in page.form}
    if page.typed("number"):
        body["number"] = page.typed("number")
    try:
        await page.ask("POST", "/instances", body)
    except REFUSED as error:
        return await _listed(page, error.status, error)
    return page.go(f"instances/{quoted(name)}", page.say("The instance was created."))


async def show_instance(page: Page) -> web.Response:
    """One instance."""
    return await _shown(page, 200)


async def _shown(page: Page, status: int, error: Any = None) -> web.Response:
    name = page.path("instance")
    instance = (await page.ask("GET", f"/instances/{quoted(name)}"))["data"]
    told = await asyncio.gather(
        *(page.ask("GET", _status_path(name, s["kind"], s["name"])) for s in instance["sinks"])
    )
    events = []
    if page.may("EVENTS_READ"):
        query = {"filter[instance]": name, "limit": "10"}
        events = (await page.ask("GET", "/processing/events", query=query))["data"]
    installations = [
        i for i in page.services.directory.installations(page.who.tenant) if i.instance == name
    ]
    by_kind = {kind: [s for s in told if s["kind"] == kind] for kind in KINDS}
    return page.show(
        "instance.html",
        status,
        instance=instance,
        by_kind=by_kind,
        events=events,
        installations=installations,
        error=error,
        errors=errors_of(error) if error else {},
    )


def _status_path(instance: str, kind: str, name: str) -> str:
    return f"/{kind}/status/{quoted(instance)}/{quoted(name)}"


async def change_instance(page: Page) -> web.Response:
    """Change what can be changed of it."""
    name = page.path("instance")
    body = {
        "skip_superseded": "skip_superseded" in page.form,
        "number": page.typed("number") or None,
    }
    try:
        await page.ask("PATCH", f"/instances/{quoted(name)}", body)
    except REFUSED as error:
        return await _shown(page, error.status, error)
    return page.go(f"instances/{quoted(name)}", page.say("Saved."))


async def delete_instance(page: Page) -> web.Response:
    """Remove it, when its name was typed."""
    name = page.path("instance")
    query = {"confirm": page.typed("confirm")}
    try:
        await page.ask("DELETE", f"/instances/{quoted(name)}", query=query)
    except InvalidError:
        told = page.say("Nothing was removed: the name that was typed is another one.")
        return page.go(f"instances/{quoted(name)}", told, tone="bad")
    return page.go("instances", page.say("{name} was removed.", name=name))


PAGES: tuple[Opening, ...] = (
    Opening("GET", "/instances", list_instances),
    Opening("POST", "/instances", create_instance, MANAGE),
    Opening("GET", "/instances/{instance}", show_instance),
    Opening("POST", "/instances/{instance}", change_instance, MANAGE),
    Opening("POST", "/instances/{instance}/delete", delete_instance, MANAGE),
)
