"""Drivers: what this gateway understands, their settings, a test event, and signs of drift."""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web

from drivers import BY_SLUG
from drivers.base import Driver
from gateway.portal.door import Opening
from gateway.portal.fields import errors_of
from gateway.portal.page import Page, quoted
from gateway.portal.views.instances import REFUSED
from schemas.errors import NotFoundError, RequestError

MANAGE = "DRIVERS_MANAGE"
Grade = Literal["signed", "token", "url"]


def grade(driver: Driver) -> Grade:
    """How well a delivery proves where it comes from, at its best."""
    schemes = getattr(driver.scheme, "schemes", (driver.scheme,))
    if any(s.binds_body for s in schemes):
        return "signed"
    return "token" if any(s.reveals_secret for s in schemes) else "url"


async def list_drivers(page: Page) -> web.Response:
    """The catalogue."""
    query = {"limit": "100", "filter[name]": page.query("name")}
    found = (await page.ask("GET", "/drivers", query=query))["data"]
    grades = {slug: grade(driver) for slug, driver in BY_SLUG.items()}
    return page.show("drivers.html", items=found, grades=grades, name=page.query("name"))


async def show_driver(page: Page) -> web.Response:
    """One driver."""
    return await _shown(page, 200)


async def _shown(
    page: Page,
    status: int,
    *,
    error: RequestError | None = None,
    trial: Any = None,
    trial_error: RequestError | None = None,
) -> web.Response:
    slug = quoted(page.path("slug"))
    driver = (await page.ask("GET", f"/drivers/{slug}"))["data"]
    settings, drift = None, []
    if page.may(MANAGE):
        try:
            settings = (await page.ask("GET", f"/drivers/{slug}/settings"))["data"]
        except NotFoundError:
            settings = None
    if page.may("EVENTS_READ"):
        drift = (await page.ask("GET", f"/drivers/{slug}/drift"))["data"]
    return page.show(
        "driver.html",
        status,
        driver=driver,
        grade=grade(BY_SLUG[driver["slug"]]),
        polls=bool(BY_SLUG[driver["slug"]].polls),
        settings=settings,
        values=_values(settings) | ({k: page.form.get(k, "") for k in TEXTS} if error else {}),
        drift=drift,
        trial=trial,
        typed={k: page.form.get(k, "") for k in ("webhook_url", "event_name")},
        error=error,
        errors=_flat(error),
        trial_error=trial_error,
        trial_errors=errors_of(trial_error) if trial_error else {},
    )


TEXTS = ("redirect_url", "client_id", "client_secret", "custom_client_id", "custom_client_secret")


def _values(settings: Any) -> dict[str, Any]:
    """Settings as the form has them."""
    if settings is None:
        return {"enabled": False, "custom_oauth_enabled": False, **dict.fromkeys(TEXTS, "")}
    oauth = settings["oauth_settings"]
    custom = oauth["custom_oauth"] or {}
    return {
        "enabled": settings["enabled"],
        "custom_oauth_enabled": settings["custom_oauth_enabled"],
        "redirect_url": oauth["redirect_url"],
        "client_id": oauth["client_id"] or "",
        "client_secret": oauth["client_secret"] or "",
        "custom_client_id": custom.get("client_id", ""),
        "custom_client_secret": custom.get("client_secret", ""),
    }


def _flat(error: RequestError | None) -> dict[str, str]:
    """Faults by the names of the form's fields."""
    found: dict[str, str] = {}
    for detail in error.details if error else ():
        path = detail.path.removeprefix("oauth_settings.")
        found[path.replace("custom_oauth.", "custom_")] = detail.message
    return found


async def save_settings(page: Page) -> web.Response:
    """The tenant's settings of the driver."""
    slug, driver = page.path("slug"), BY_SLUG.get(page.path("slug"))
    body: dict[str, Any] = {"enabled": "enabled" in page.form}
    if driver is not None and driver.oauth is not None:
        oauth = {name: page.typed(name) for name in ("client_id", "client_secret")}
        body["oauth_settings"] = oauth
        if "oauth_settings.redirect_url" in driver.available_settings:
            body["oauth_settings"]["redirect_url"] = page.typed("redirect_url")
        if "custom_oauth_enabled" in driver.available_settings and "is_frozen" not in page.form:
            body["custom_oauth_enabled"] = "custom_oauth_enabled" in page.form
            body["oauth_settings"]["custom_oauth"] = {
                "client_id": page.typed("custom_client_id"),
                "client_secret": page.typed("custom_client_secret"),
            }
    try:
        await page.ask("PUT", f"/drivers/{quoted(slug)}/settings", body)
    except REFUSED as error:
        return await _shown(page, error.status, error=error)
    return page.go(f"drivers/{quoted(slug)}", page.say("Saved."))


async def try_driver(page: Page) -> web.Response:
    """A realistic event to a URL; the five checks are shown."""
    body = {"webhook_url": page.typed("webhook_url"), "event_name": page.typed("event_name")}
    try:
        path = f"/drivers/{quoted(page.path('slug'))}/send-test-event"
        answer = await page.ask("POST", path, body)
    except REFUSED as error:
        return await _shown(page, error.status, trial_error=error)
    return await _shown(page, 200, trial=answer["data"])


PAGES: tuple[Opening, ...] = (
    Opening("GET", "/drivers", list_drivers),
    Opening("GET", "/drivers/{slug}", show_driver),
    Opening("POST", "/drivers/{slug}", save_settings, MANAGE),
    Opening("POST", "/drivers/{slug}/try", try_driver, MANAGE),
)
