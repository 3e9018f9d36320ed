"""The visitor's own: who is signed in, API keys, the audit, this server, and code for receivers."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from aiohttp import web

from gateway.portal.door import Opening
from gateway.portal.fields import errors_of
from gateway.portal.page import Page, quoted
from gateway.portal.views.history import instance_names
from gateway.portal.views.instances import REFUSED
from gateway.security import PERMISSIONS
from gateway.version import VERSION
from schemas.errors import RequestError

KEYS = "KEYS_MANAGE"
HOUR = 3600
RECEIVERS = (("Python", "receiver.py"), ("Node.js", "receiver.mjs"), ("PHP", "receiver.php"))


async def show_settings(page: Page) -> web.Response:
    """Who is signed in, and what this server is."""
    settings = page.services.settings
    return page.show(
        "settings.html",
        permissions=PERMISSIONS,
        facts=[
            (page.say("Version"), VERSION),
            (page.say("Address"), settings.base_url),
            (page.say("Store"), "PostgreSQL" if settings.is_postgres else "SQLite"),
            (page.say("Kept for"), page.say("{count} days", count=f"{settings.retention_days:g}")),
            (page.say("Processes"), str(settings.workers)),
        ],
    )


async def list_keys(page: Page) -> web.Response:
    """API keys, and the form of a new one."""
    return await _keys(page, 200)


async def _keys(page: Page, status: int, error: RequestError | None = None) -> web.Response:
    query = {"limit": "100", "page": page.query("page")}
    found = await page.ask("GET", "/api-keys", query=query)
    return page.show(
        "keys.html",
        status,
        items=found["data"],
        meta=found["meta"],
        instances=instance_names(page),
        permissions=[p for p in PERMISSIONS if page.may(p)],
        may_all=page.may("*"),
        typed={n: page.form.get(n, "") for n in ("name", "instance", "expires_at")},
        chosen=set(page.form.getall("permissions", [])),
        error=error,
        errors=errors_of(error) if error else {},
    )


async def create_key(page: Page) -> web.Response:
    """Make one; it is shown this once."""
    body: dict[str, Any] = {
        "name": page.form.get("name", ""),
        "permissions": page.form.getall("permissions", []),
    }
    if page.typed("instance"):
        body["instance"] = page.typed("instance")
    if page.typed("expires_at"):
        body["expires_at"] = page.typed("expires_at") + "Z"
    try:
        made = (await page.ask("POST", "/api-keys", body))["data"]
    except REFUSED as error:
        return await _keys(page, error.status, error)
    told = page.say("The API key {name} was created.", name=made["name"])
    return page.go("settings/keys", told, secret=made["key"])


async def rotate_key(page: Page) -> web.Response:
    """New characters under the same id; the old ones work an hour longer."""
    path = f"/api-keys/{quoted(page.path('id'))}/rotate"
    try:
        made = (await page.ask("POST", path, {"overlap_seconds": HOUR}))["data"]
    except REFUSED as error:
        return page.go("settings/keys", error.message, tone="bad")
    told = page.say("{name} has a new key. The old one works for another hour.", name=made["name"])
    return page.go("settings/keys", told, secret=made["key"])


async def revoke_key(page: Page) -> web.Response:
    """End it at once."""
    await page.ask("DELETE", f"/api-keys/{quoted(page.path('id'))}")
    return page.go("settings/keys", page.say("The API key was revoked."))


async def show_audit(page: Page) -> web.Response:
    """Who changed what."""
    names = ("action", "key", "instance", "cursor")
    own = {name: page.query(name) for name in names}
    query = {f"filter[{name}]": own[name] for name in names[:-1]}
    found = await page.ask("GET", "/audit", query=query | {"limit": "50", "cursor": own["cursor"]})
    return page.show(
        "audit.html",
        items=found["data"],
        following=found["meta"]["next_cursor"],
        query=own,
        filtered=any(own.values()),
    )


async def show_receivers(page: Page) -> web.Response:
    """Code to copy that takes deliveries and believes only genuine ones."""
    folder = files("gateway") / "portal" / "receivers"
    shown = [
        (language, name, (folder / f"{name}.txt").read_text(encoding="utf-8"))
        for language, name in RECEIVERS
    ]
    return page.show("receivers.html", shown=shown)


PAGES: tuple[Opening, ...] = (
    Opening("GET", "/settings", show_settings),
    Opening("GET", "/settings/keys", list_keys, KEYS),
    Opening("POST", "/settings/keys", create_key, KEYS),
    Opening("POST", "/settings/keys/{id}/rotate", rotate_key, KEYS),
    Opening("POST", "/settings/keys/{id}/revoke", revoke_key, KEYS),
    Opening("GET", "/settings/audit", show_audit, "EVENTS_READ"),
    Opening("GET", "/receivers", show_receivers),
)
