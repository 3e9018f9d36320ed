"""One request for a page: who asks, in which language, and the ways to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from aiohttp import web
from multidict import MultiDict

from gateway.api.auth import principal_with
from gateway.api.language import Language
from gateway.portal import session as sessions
from gateway.portal.assets import Asset
from gateway.portal.inside import ask
from gateway.portal.session import Session
from gateway.portal.texts import Say, chosen_language, say_in
from gateway.reading import read_body
from gateway.security import Principal
from gateway.services import SERVICES, Services
from gateway.store.trends import Trends
from schemas.errors import BadRequestError, ForbiddenError, UnauthorizedError

MAX_FORM = 1_048_576
MOST_FIELDS = 2000
THEME_COOKIE = "comporta_theme"
THEMES = ("auto", "light", "dark")
YEAR = 365 * 86_400
MOST_SAID, MOST_LINES = 300, 3
FORM_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Portal:
    """What all pages share. `templates`: a jinja2.Environment."""

    templates: Any
    assets: Mapping[str, Asset]
    portuguese: Mapping[str, str]
    trends: Trends


PORTAL: web.AppKey[Portal] = web.AppKey("portal", Portal)


@dataclass(slots=True)
class Page:
    """`principal`: None for a visitor. `root`: what leads from this page to /portal/, so that
    links work behind a proxy that adds a prefix. `form`: what was posted, once it was read.
    """

    request: web.Request
    portal: Portal
    services: Services
    session: Session
    principal: Principal | None
    language: Language
    say: Say
    root: str
    is_new_session: bool
    form: MultiDict[str] = field(default_factory=MultiDict)
    cookies: list[tuple[str, str, int, bool]] = field(default_factory=list)

    @property
    def who(self) -> Principal:
        """Who is signed in. Raises UnauthorizedError."""
        if self.principal is None:
            raise UnauthorizedError("sign in")
        return self.principal

    def may(self, permission: str) -> bool:
        """Whether this permission was given."""
        return self.principal is not None and self.principal.may(permission)

    def path(self, name: str) -> str:
        """A path parameter, decoded."""
        return self.request.match_info[name]

    def query(self, name: str) -> str:
        """A query parameter, "" when absent."""
        return self.request.query.get(name, "").strip()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """What the API answers this visitor; see `inside.ask`."""
        return await ask(
            self.request,
            self.who,
            method,
            path,
            body=body,
            query=query,
            language=self.language,
        )

    def to(self, place: str = "", /, **query: str | None) -> str:
        """A link to a page below /portal/, relative to this one."""
        kept = {k: v for k, v in query.items() if v}
        target = self.root + place
        return (target or "./") + ("?" + urlencode(kept) if kept else "")

    def asset(self, name: str) -> str:
        """A link to a static file."""
        return self.to(f"static/{name}", v=self.portal.assets[name].tag)

    async def read_form(self) -> None:
        """Take the posted fields in. Raises ForbiddenError for a form that is not of this
        session, and BadRequestError for what is no form.
        """
        if self.request.content_type != FORM_TYPE:
            raise BadRequestError(f"send a form as {FORM_TYPE}")
        raw = await read_body(self.request, MAX_FORM)
        try:
            pairs = parse_qsl(
                raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
            )
        except ValueError:
            raise BadRequestError("this form cannot be read") from None
        self.form = MultiDict(pairs)
        if not self.session.vouches(self.form.get("csrf", "")):
            raise ForbiddenError(
                self.say("This form is too old, or was not made here. Go back and try again.")
            )

    def typed(self, name: str) -> str:
        """A posted field without space around it, "" when absent."""
        return self.form.get(name, "").strip()

    def show(self, template: str, status: int = 200, /, **values: Any) -> web.Response:
        """A page of a template."""
        flash = None
        if not template.startswith("part_"):
            flash = self._flash()
        text = self.portal.templates.get_template(template).render(
            page=self,
            _=self.say,
            to=self.to,
            may=self.may,
            flash=flash,
            theme=self.theme,
            **values,
        )
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")

    @property
    def theme(self) -> str:
        """Light, dark, or as the browser has it."""
        chosen = self.request.cookies.get(THEME_COOKIE, "")
        return chosen if chosen in THEMES else "auto"

    def go(
        self, place: str, say: str | None = None, *, tone: str = "good", **shown: Any
    ) -> web.Response:
        """A redirect to another page, which tells `say` (said already) once, with what else it is
        to show.
        """
        if say is not None:
            told = dict.fromkeys(("secret", "lines", "href", "link")) | shown
            # A browser keeps no cookie over 4 KiB, sealed and all.
            told |= {"say": say[:MOST_SAID], "tone": tone}
            told["lines"] = [line[:MOST_SAID] for line in (told["lines"] or ())[:MOST_LINES]]
            sealed = sessions.seal_flash(self.services.vault, told, self.services.now())
            self.keep(sessions.FLASH_COOKIE, sealed, sessions.FLASH_LIFETIME)
        return web.Response(status=303, headers={"Location": self.to(place)})

    def keep(self, name: str, value: str, seconds: int, *, is_secret: bool = True) -> None:
        """Have the browser keep a cookie; no seconds: forget it."""
        self.cookies.append((name, value, seconds, is_secret))

    def _flash(self) -> dict[str, Any] | None:
        value = self.request.cookies.get(sessions.FLASH_COOKIE)
        if value:
            self.keep(sessions.FLASH_COOKIE, "", 0)
        return sessions.unseal_flash(self.services.vault, value, self.services.now())


def page_of(request: web.Request) -> Page:
    """The page behind a request."""
    services, portal = request.app[SERVICES], request.app[PORTAL]
    now = services.now()
    session = sessions.unseal(services.vault, request.cookies.get(sessions.COOKIE), now)
    is_new = session is None
    session = session or sessions.new_session(services.random, now, None)
    principal = principal_with(services, session.digest) if session.digest else None
    if principal is None and not services.settings.auth:
        principal = services.admin
    language = chosen_language(request)
    return Page(
        request=request,
        portal=portal,
        services=services,
        session=session,
        principal=principal,
        language=language,
        say=say_in(language, portal.portuguese),
        root=_root(request.path),
        is_new_session=is_new,
    )


def _root(path: str) -> str:
    """From `/portal/a/b` to `/portal/`: `../`."""
    below = path.removeprefix("/portal")
    if not below:
        return "portal/"
    return "../" * (below.count("/") - 1)


def over_tls(request: web.Request, settings_url: str) -> bool:
    """Whether the browser came by https, perhaps to a proxy in front."""
    public = urlsplit(settings_url)
    return request.secure or (public.scheme == "https" and request.host == public.netloc)


def quoted(part: str) -> str:
    """One segment of a path."""
    return quote(part, safe="")
