"""Installations: connecting a provider, and keeping it connected."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from aiohttp import web
from yarl import URL

from drivers import BY_SLUG
from gateway import samples
from gateway.portal.door import Opening
from gateway.portal.fields import errors_of
from gateway.portal.page import Page, quoted
from gateway.portal.views.history import driver_names, instance_names
from gateway.portal.views.instances import REFUSED
from schemas import codec
from schemas.errors import Detail, InvalidError, NotFoundError, RequestError, UnparsableError

MANAGE = "INSTALLATIONS_MANAGE"
STATUSES = ("pending_auth", "active", "error", "disabled")
FILTERS = ("driver", "instance", "status")
HOURS = 3600
SECRET_PLACE = "YOUR-SECRET"  # noqa: S105 - stands where one goes


async def list_installations(page: Page) -> web.Response:
    """Every installation the key may touch."""
    own = {name: page.query(name) for name in FILTERS}
    query = {f"filter[{name}]": value for name, value in own.items()}
    query |= {"limit": "100", "page": page.query("page")}
    found = await page.ask("GET", "/installations", query=query)
    return page.show(
        "installations.html",
        items=found["data"],
        meta=found["meta"],
        query=own,
        filtered=any(own.values()),
        drivers=await driver_names(page),
        instances=instance_names(page),
        states=STATUSES,
    )


async def choose_driver(page: Page) -> web.Response:
    """Which provider? Then its form."""
    if page.query("driver"):
        return await _new_form(page, page.query("driver"), 200)
    found = await page.ask("GET", "/drivers", query={"limit": "100"})
    return page.show("installation_choose.html", drivers=found["data"])


async def _new_form(
    page: Page, slug: str, status: int, error: RequestError | None = None
) -> web.Response:
    if not slug:
        raise NotFoundError(page.say("There is no such driver."))
    driver = (await page.ask("GET", f"/drivers/{quoted(slug)}"))["data"]
    known = BY_SLUG.get(driver["slug"])
    oauth = known.oauth if known else None
    return page.show(
        "installation_new.html",
        status,
        driver=driver,
        instances=instance_names(page),
        wants_shop=oauth is not None and "{shop}" in oauth.authorize_url,
        typed={name: page.form.get(name, "") for name in _form_names(driver)},
        error=error,
        errors=_errors(error),
    )


def _form_names(driver: Mapping[str, Any]) -> list[str]:
    own = [f"credentials.{name}" for name in driver["credentials_schema"]]
    return ["instance", "name", "shop", "settings", *own]


def _errors(error: RequestError | None) -> dict[str, str]:
    """Faults of credentials by their whole path, of settings under `settings`."""
    if error is None:
        return {}
    found: dict[str, str] = {}
    for detail in error.details:
        head, _, rest = detail.path.partition(".")
        if head == "credentials":
            found[detail.path] = detail.message
        elif detail.path == "settings.shop":
            found["shop"] = detail.message
        elif head == "settings" and rest:
            found["settings"] = f"{rest}: {detail.message}"
        else:
            found[detail.path] = detail.message
    return found


async def create_installation(page: Page) -> web.Response:
    """Connect it, and show where its webhooks go."""
    slug = page.typed("driver")
    try:
        body = {
            "driver": slug,
            "instance": page.typed("instance"),
            "credentials": _credentials(page, keep_empty=False),
            "settings": _settings(page),
        }
        if page.typed("name"):
            body["name"] = page.typed("name")
        made = (await page.ask("POST", "/installations", body))["data"]
    except REFUSED as error:
        return await _new_form(page, slug, error.status, error)
    told = page.say("It is connected. Paste the ingest URL into the provider's webhook settings.")
    if made["auth_url"]:
        told = page.say("Almost there: authorize it at the provider.")
        return page.go(
            f"installations/{made['id']}",
            told,
            tone="warn",
            href=made["auth_url"],
            link=page.say("Authorize at {name}", name=made["driver"]["name"]),
        )
    return page.go(f"installations/{made['id']}", told)


def _credentials(page: Page, *, keep_empty: bool) -> dict[str, str | None]:
    """What was typed. An empty field was never there, or is taken away."""
    found: dict[str, str | None] = {}
    for name, value in page.form.items():
        head, dot, rest = name.partition(".")
        if head == "credentials" and dot and (value.strip() or keep_empty):
            found[rest] = value.strip() or None
    return found


def _settings(page: Page) -> dict[str, Any]:
    """The settings that were typed as JSON. Raises InvalidError when they are none."""
    text = page.typed("settings") or "{}"
    try:
        value = codec.loads(text.encode(errors="replace"))
    except UnparsableError as error:
        raise InvalidError(details=(Detail("settings", error.message),)) from None
    if not isinstance(value, dict):
        message = page.say("must be a JSON object")
        raise InvalidError(details=(Detail("settings", message),))
    if page.typed("shop"):
        value["shop"] = page.typed("shop")
    return value


async def show_installation(page: Page) -> web.Response:
    """One installation."""
    return await _shown(page, 200)


def _path(page: Page, action: str = "") -> str:
    return f"/installations/{quoted(page.path('id'))}" + (f"/{action}" if action else "")


async def _shown(page: Page, status: int, error: RequestError | None = None) -> web.Response:
    one = (await page.ask("GET", _path(page)))["data"]
    driver, known = await _driver(page, one["driver"]["slug"]), BY_SLUG.get(one["driver"]["slug"])
    inbounds = []
    if page.may("EVENTS_READ"):
        query = {"filter[installation_id]": one["id"], "limit": "5"}
        inbounds = (await page.ask("GET", "/processing/webhooks", query=query))["data"]
    credentials = dict(one["credentials"])
    settings = codec.dumps(one["settings"]).decode()
    if error is not None:
        for name in driver["credentials_schema"]:
            credentials[name] = page.form.get(f"credentials.{name}", credentials.get(name, ""))
        settings = page.form.get("settings", settings)
    return page.show(
        "installation.html",
        status,
        one=one,
        driver=driver,
        polls=bool(known and known.polls),
        rotates=known.api.used(one["credentials"]) if known and known.api else (),
        oauth=bool(known and known.oauth),
        credentials=credentials,
        settings=settings,
        name=page.form.get("name", one["name"]),
        inbounds=inbounds,
        first_request=None if inbounds else _first_request(page, one),
        error=error,
        errors=_errors(error),
    )


async def _driver(page: Page, slug: str) -> Any:
    try:
        return (await page.ask("GET", f"/drivers/{quoted(slug)}"))["data"]
    except NotFoundError:  # gone from this version
        return {"slug": slug, "name": slug, "credentials_schema": {}, "docs_url": ""}


def _first_request(page: Page, one: Mapping[str, Any]) -> str | None:
    """A command that sends one of the driver's samples, signed for this installation; None where
    there is none. A provider that shows its secret with each request gets a place for it: secrets
    are never shown.
    """
    driver, slug = BY_SLUG.get(one["driver"]["slug"]), one["driver"]["slug"]
    stored = page.services.directory.installation(one["id"])
    cases = [c for c in samples.names(slug) if samples.load(c).body] if driver else []
    if driver is None or stored is None or not cases:
        return None
    now = page.services.now()
    secrets = stored.secrets_at(now)
    secret = SECRET_PLACE if driver.scheme.reveals_secret or not secrets else secrets[0]
    draft = samples.load(_telling(cases)).signed(secret, now // 1_000_000)
    url = str(URL(one["ingest_url"]).update_query(draft.query))
    headers = " ".join(f"-H {quote(f'{k}: {v}')}" for k, v in draft.headers.items())
    body = draft.body.decode(errors="replace")
    return f"curl {quote(url)} {headers} --data-raw {quote(body)}"


def _telling(cases: list[str]) -> str:
    """The sample that is most like a first order."""
    return next((c for c in cases if "paid" in c or "approved" in c), cases[0])


async def change_installation(page: Page) -> web.Response:
    """Change its name, credentials and settings to what was typed."""
    try:
        before = (await page.ask("GET", _path(page)))["data"]["settings"]
        settings = _settings(page)
        settings |= {name: None for name in before if name not in settings}
        credentials = _credentials(page, keep_empty=True)
        body: dict[str, Any] = {"credentials": credentials, "settings": settings}
        if page.typed("name"):
            body["name"] = page.typed("name")
        await page.ask("PATCH", _path(page), body)
    except REFUSED as error:
        return await _shown(page, error.status, error)
    return page.go(_path(page)[1:], page.say("Saved."))


async def steer_installation(page: Page) -> web.Response:
    """Enable, disable, poll now, authorize, a new ingest URL."""
    action = page.path("action")
    body = None
    if action == "rotate-token":
        body = {"overlap_seconds": _overlap(page)}
    try:
        answer = await page.ask("POST", _path(page, action), body)
    except REFUSED as error:
        return page.go(_path(page)[1:], error.message, tone="bad")
    one = (answer or {}).get("data") or {}
    if action == "authorize" and one.get("auth_url"):
        return page.go(
            _path(page)[1:],
            page.say("Continue at the provider. The link works once, and not for long."),
            tone="warn",
            href=one["auth_url"],
            link=page.say("Authorize at {name}", name=one["driver"]["name"]),
        )
    told = {
        "enable": page.say("It is on: deliveries to its ingest URL are taken."),
        "disable": page.say("It is off: deliveries to its ingest URL are refused."),
        "poll": page.say("The provider is asked now."),
        "authorize": page.say("This gateway cannot start the authorization."),
        "rotate-token": page.say("There is a new ingest URL: paste it at the provider."),
    }
    return page.go(_path(page)[1:], told[action], tone="bad" if action == "authorize" else "good")


def _overlap(page: Page, name: str = "hours") -> int:
    text = page.typed(name) or "24"
    return int(text) * HOURS if text.isascii() and text.isdigit() and len(text) < 5 else 24 * HOURS


async def rotate_secret(page: Page) -> web.Response:
    """A new secret beside the old one."""
    body = {"secret": page.typed("secret"), "overlap_seconds": _overlap(page)}
    told = page.say("The new secret is in use; the old one still works.")
    return await _rotated(page, body, told)


async def rotate_credentials(page: Page) -> web.Response:
    """New API credentials beside the old ones."""
    typed = {name: page.typed(name) for name in page.form if name.startswith("rotate.")}
    fresh = {name.removeprefix("rotate."): value for name, value in typed.items() if value}
    body = {"credentials": fresh, "overlap_seconds": _overlap(page, "key_hours")}
    told = page.say("The new credentials are in use; the old ones count until their time is over.")
    return await _rotated(page, body, told)


async def _rotated(page: Page, body: Mapping[str, Any], told: str) -> web.Response:
    try:
        await page.ask("POST", _path(page, "rotate-credentials"), body)
    except REFUSED as error:
        faults = "; ".join(dict.fromkeys(errors_of(error).values()))
        return page.go(_path(page)[1:], faults or error.message, tone="bad")
    return page.go(_path(page)[1:], told)


async def delete_installation(page: Page) -> web.Response:
    """Remove it, when its name was typed."""
    one = (await page.ask("GET", _path(page)))["data"]
    if page.typed("confirm") != one["name"]:
        told = page.say("Nothing was removed: the name that was typed is another one.")
        return page.go(_path(page)[1:], told, tone="bad")
    await page.ask("DELETE", _path(page))
    return page.go("installations", page.say("{name} was removed.", name=one["name"]))


ACTIONS = "{action:enable|disable|poll|authorize|rotate-token}"
PAGES: tuple[Opening, ...] = (
    Opening("GET", "/installations", list_installations, MANAGE),
    Opening("GET", "/installations/new", choose_driver, MANAGE),
    Opening("POST", "/installations/new", create_installation, MANAGE),
    Opening("GET", "/installations/{id}", show_installation, MANAGE),
    Opening("POST", "/installations/{id}", change_installation, MANAGE),
    Opening("POST", "/installations/{id}/rotate-secret", rotate_secret, MANAGE),
    Opening("POST", "/installations/{id}/rotate-credentials", rotate_credentials, MANAGE),
    Opening("POST", "/installations/{id}/delete", delete_installation, MANAGE),
    Opening(
        method="POST",
        path="/installations/{id}/" + ACTIONS,
        view=steer_installation,
        permission=MANAGE,
    ),
)
