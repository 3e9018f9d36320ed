"""Every page's way in and out: who may see it, forms that are genuine, headers, errors as pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from gateway import log
from gateway.portal import session as sessions
from gateway.portal.page import Page, over_tls, page_of
from schemas.errors import (
    ForbiddenError,
    RequestError,
    StoreUnavailableError,
    UnauthorizedError,
    UnavailableError,
)

View = Callable[[Page], Awaitable[web.StreamResponse]]
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class BrokenError(RequestError):
    """Something went wrong here."""

    status, error, code = 500, "Internal error", "internal_error"


@dataclass(frozen=True, slots=True)
class Opening:
    """One page. `permission`: what the key must have; None: any key. `is_open`: no key needed."""

    method: Literal["GET", "POST"]
    path: str
    view: View
    permission: str | None = None
    is_open: bool = False


def guarded(one: Opening) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of a page."""

    async def handle(request: web.Request) -> web.StreamResponse:
        page = page_of(request)
        response = await _answer(page, one)
        if not response.prepared:
            _finish(page, response)
        return response

    return handle


async def _answer(page: Page, one: Opening) -> web.StreamResponse:
    try:
        if not one.is_open and page.principal is None:
            return _to_sign_in(page)
        await _enter(page, one)
        return await one.view(page)
    except UnauthorizedError:
        return _to_sign_in(page)
    except RequestError as error:
        return show_error(page, error)
    except StoreUnavailableError as error:
        return show_error(page, UnavailableError(error.message, retry_after=5))
    except (web.HTTPException, ConnectionResetError):
        raise
    except Exception:  # noqa: BLE001 - whatever it is, a person gets a page and we a trace
        ident = page.services.ids()
        log.get().exception("portal.failed", error_id=ident, view=one.path)
        return show_error(page, BrokenError(page.say("The log has it under {id}.", id=ident)))


async def _enter(page: Page, one: Opening) -> None:
    """Raises ForbiddenError without the permission; takes a posted form in."""
    if one.permission is not None and not page.may(one.permission):
        raise ForbiddenError(
            page.say("This API key lacks the permission {name}.", name=one.permission)
        )
    if one.method == "POST":
        await page.read_form()


def show_error(page: Page, error: RequestError) -> web.Response:
    """The page of an error."""
    answer = page.show("error.html", error.status, error=error)
    if error.retry_after is not None:
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _to_sign_in(page: Page) -> web.Response:
    """To the form; afterwards back to where a link was to lead.

    A browser sends no SameSite=Strict cookie with a link from another site. That page asking for
    itself again is a request of our own site, and has it.
    """
    is_get = page.request.method == "GET"
    if is_get and page.request.headers.get("Sec-Fetch-Site") == "cross-site":
        return page.show("again.html", here=page.request.path_qs.rpartition("/")[2] or "./")
    if page.request.headers.get("X-Part"):
        return web.Response(status=401)
    wanted = page.request.path_qs.removeprefix("/portal").lstrip("/") if is_get else ""
    return web.Response(status=303, headers={"Location": page.to("sign-in", next=wanted or None)})


def _finish(page: Page, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    services, session = page.services, page.session
    now = services.now()
    if page.is_new_session or session.is_aged(now):
        renewed = sessions.Session(
            session.digest, session.token, now + sessions.LIFETIME * 1_000_000
        )
        sealed = sessions.seal(services.vault, renewed)
        if not any(name == sessions.COOKIE for name, *_ in page.cookies):
            page.keep(sessions.COOKIE, sealed, sessions.LIFETIME)
    secure = over_tls(page.request, services.settings.base_url)
    for name, value, seconds, is_secret in page.cookies:
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path="/",
            httponly=is_secret,
            samesite="Strict" if is_secret else "Lax",
            secure=secure,
        )
