"""Coming and going: signing in and out, how pages look, and the way around on a phone."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from gateway.api.auth import identified
from gateway.portal import session as sessions
from gateway.portal.door import Opening
from gateway.portal.page import THEME_COOKIE, THEMES, YEAR, Page
from gateway.portal.texts import COOKIE as LANGUAGE_COOKIE
from gateway.security import digest, is_mistyped
from schemas.errors import TooManyRequestsError, UnauthorizedError


async def show_sign_in(page: Page) -> web.Response:
    """The form; who is signed in already goes on."""
    wanted = _inside(page.query("next"))
    if page.principal is not None:
        return page.go(wanted)
    return _form(page, wanted)


def _form(page: Page, wanted: str, status: int = 200, wrong: str = "") -> web.Response:
    page.principal = None  # who shows another key that does not fit sees what a visitor sees
    errors = {"key": wrong} if wrong else {}
    return page.show("sign_in.html", status, wanted=wanted, errors=errors)


async def sign_in(page: Page) -> web.Response:
    """Begin a session for the key that was typed."""
    key, wanted = page.typed("key"), _inside(page.typed("next"))
    services = page.services
    try:
        identified(services, key or " ", services.callers.sources.of(page.request))
    except UnauthorizedError as error:
        wrong = page.say("This API key is not valid.")
        if is_mistyped(key):
            wrong = page.say("This API key is not valid: it was cut off or mistyped.")
        return _form(page, wanted, error.status, wrong)
    except TooManyRequestsError as error:
        wrong = page.say("Too many keys that are not valid came from here. Try again in a minute.")
        return _form(page, wanted, error.status, wrong)
    begun = sessions.new_session(services.random, services.now(), digest(key))
    page.keep(sessions.COOKIE, sessions.seal(services.vault, begun), sessions.LIFETIME)
    return page.go(wanted)


async def sign_out(page: Page) -> web.Response:
    """End the session."""
    page.keep(sessions.COOKIE, "", 0)
    return page.go("sign-in")


async def change_look(page: Page) -> web.Response:
    """Keep the chosen theme or language, and go back."""
    if page.typed("theme") in THEMES:
        page.keep(THEME_COOKIE, page.typed("theme"), YEAR, is_secret=False)
    if page.typed("language") in {"pt", "en"}:
        page.keep(LANGUAGE_COOKIE, page.typed("language"), YEAR, is_secret=False)
    back = page.typed("back").removeprefix("/portal").lstrip("/")
    return page.go(_inside(back))


async def show_menu(page: Page) -> web.Response:
    """Every part of the portal, for small screens."""
    return page.show("menu.html")


def _inside(place: str) -> str:
    """A place below /portal/, "" for any other: nobody is led away from here."""
    parts = urlsplit(place)
    strange = parts.scheme or parts.netloc or place.startswith(("/", "\\")) or ".." in place
    return "" if strange or ":" in parts.path or not place.isprintable() else place


PAGES: tuple[Opening, ...] = (
    Opening("GET", "/sign-in", show_sign_in, is_open=True),
    Opening("POST", "/sign-in", sign_in, is_open=True),
    Opening("POST", "/sign-out", sign_out, is_open=True),
    Opening("POST", "/look", change_look, is_open=True),
    Opening("GET", "/menu", show_menu),
)
