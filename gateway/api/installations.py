"""Installations: one customer's connection to one driver, from the first key to the last."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import BeforeValidator, Field

from drivers.base import Driver
from gateway.api.doc import Doc, words
from gateway.api.driver_shape import SECRET
from gateway.api.installation_answer import found_installation, shown, told
from gateway.api.installation_credentials import held, keep_proven, proven
from gateway.api.installation_rules import Faults, read_credentials, read_settings
from gateway.api.installation_shape import InstallationData
from gateway.api.paging import PAGE_QUERY, Data, Page, filters, in_order, one_of, paged
from gateway.api.route import Call, Route, validate
from gateway.api.text import Body, InstanceName, Name
from gateway.driver_setup import (
    driver_of,
    ensure_enabled,
    oauth_client,
    refuse_unauthorisable,
    refuse_unusable,
)
from gateway.models import Installation, Secret
from gateway.oauth import place
from gateway.security import RandomBytes, digest, random_text
from schemas.errors import Detail, ForbiddenError, InvalidError, NotFoundError
from schemas.target import AllowList

TOKEN_CHARACTERS = 32  # of 62 each: 190 bits
STATUSES = ("pending_auth", "active", "error", "disabled")
FILTERS = ("driver", "instance", "status")
EXAMPLE_CHANGE = {"name": "Loja 1", "settings": {"poll_interval": 30}}
# PHP writes an empty object as `[]`.
Object = Annotated[
    dict[str, Any],
    BeforeValidator(lambda v: {} if v == [] else v),
    Field(default_factory=dict),
]
# What an answer shows beside what can be changed: a client may send back all it got.
ECHOED = frozenset(
    "id reason auth_url ingest_url previous_credentials warnings polls reconciliation subscription "
    "created_at updated_at".split()
)


class NewInstallation(Body):
    """`driver` or `driver_id`: a driver's id or slug. Without a name it has the driver's."""

    driver: str | None = None
    driver_id: str | None = None
    instance: InstanceName
    name: Name | None = None
    settings: Object
    credentials: Object


class InstallationChange(Body):
    """What is left out stays; null inside `settings` or `credentials` takes away; masked values
    stay as they are. Driver, instance and status may be sent back, but do not change here.
    """

    driver: Any = None
    instance: str | None = None
    status: str | None = None
    name: Name | None = None
    settings: Object
    credentials: Object


async def list_installations(call: Call) -> web.Response:
    """Every installation the key may touch, oldest first."""
    services, wanted = call.services, filters(call, FILTERS)
    if "status" in wanted:
        one_of("filter[status]", wanted["status"], STATUSES)
    driver = driver_of(wanted.get("driver", ""))
    wanted |= {"driver": driver.slug} if driver else {}
    chosen = [
        one
        for one in services.directory.installations(call.principal.tenant)
        if call.principal.sees(one.instance)
        and all(getattr(one, name) == value for name, value in wanted.items())
    ]
    keys = {
        "created_at": lambda i: i.id,
        "name": lambda i: i.name.casefold(),
        "driver": lambda i: i.driver,
        "instance": lambda i: i.instance,
        "status": lambda i: i.status,
    }
    return paged(call, in_order(call, chosen, keys, "created_at"), lambda i: told(call, i))


async def create_installation(call: Call) -> web.Response:
    """Connect a driver to an instance; the first installation of a driver switches it on."""
    wish = await call.model(NewInstallation)
    driver = _wanted_driver(wish)
    if not call.principal.sees(wish.instance):
        raise ForbiddenError(f"this API key is limited to instance {call.principal.instance}")
    services, tenant = call.services, call.principal.tenant
    directory = services.directory
    refuse_unusable(directory, tenant, driver)
    faults = Faults()
    credentials = read_credentials(driver, wish.credentials, {}, faults)
    settings = checked_settings(call, wish.settings, {}, faults)
    starts_oauth = needs_oauth(driver, credentials)
    if starts_oauth and driver.oauth and "{shop}" in driver.oauth.authorize_url:
        _want_shop(settings, driver, faults)
    faults.refuse()
    if starts_oauth:
        refuse_unauthorisable(directory, tenant, driver)
    made = _made(call, driver, wish, credentials, settings)
    made = made.model_copy(update={"info": await proven(call, driver, made)})
    await directory.ensure_instance(tenant, wish.instance, services.ids)
    await ensure_enabled(directory, tenant, driver, services.ids, services.now())
    return await shown(call, await directory.save("installation", made), status=201)


def _wanted_driver(wish: NewInstallation) -> Driver:
    path = "driver" if wish.driver is not None else "driver_id"
    ident = wish.driver if wish.driver is not None else wish.driver_id
    if ident is None:
        raise InvalidError(details=(Detail("driver", "name a driver by its slug or id"),))
    driver = driver_of(ident)
    if driver is None:
        raise InvalidError(details=(Detail(path, "there is no such driver"),))
    if wish.driver_id is not None and driver_of(wish.driver_id) is not driver:
        raise InvalidError(details=(Detail("driver_id", "names another driver than `driver`"),))
    return driver


def _want_shop(settings: dict[str, Any], driver: Driver, faults: Faults) -> None:
    if not settings.get("shop"):
        faults.add("settings.shop", f"is required: {driver.name} authorises at the shop's address")
    elif driver.oauth and place(driver.oauth, driver.oauth.authorize_url, settings) is None:
        faults.add("settings.shop", f"must be the shop's own address at {driver.name}")


def needs_oauth(driver: Driver, credentials: dict[str, str]) -> bool:
    """Whether the provider's owner must grant access before anything works."""
    given = credentials.keys() & {SECRET, "access_token"}
    logs_in = driver.api is not None and bool(driver.api.used(credentials))
    return driver.oauth is not None and not given and not logs_in


def checked_settings(
    call: Call, given: dict[str, Any], stored: dict[str, Any], faults: Faults
) -> dict[str, Any]:
    """Settings of an installation by this server's rules."""
    ours = call.services.settings
    return read_settings(
        given,
        stored,
        faults,
        allow=AllowList.parse(ours.allow_targets),
        require_https=ours.require_https,
    )


def new_token(random: RandomBytes) -> str:
    """The part of an ingest URL that nobody can guess."""
    return random_text(random, TOKEN_CHARACTERS)


def _made(
    call: Call,
    driver: Driver,
    wish: NewInstallation,
    credentials: dict[str, str],
    settings: dict[str, Any],
) -> Installation:
    services, tenant = call.services, call.principal.tenant
    token, secret = new_token(services.random), credentials.get(SECRET)
    is_default = False
    if secret is None and driver.oauth is not None and driver.oauth.client_signs:
        configured = services.directory.driver_settings(tenant, driver.slug)
        secret = oauth_client(configured).client_secret or None
        is_default = secret is not None
    return Installation(
        id=services.ids(),
        tenant=tenant,
        driver=driver.slug,
        instance=wish.instance,
        name=wish.name or driver.name,
        status="pending_auth" if needs_oauth(driver, credentials) else "active",
        settings=settings,
        tokens=((digest(token), None),),
        ingest_token=token,
        secrets=(Secret(value=secret),) if secret else (),
        credentials={n: v for n, v in credentials.items() if n != SECRET},
        info={"default_secret": True} if is_default else {},
    )


async def change_installation(call: Call) -> web.Response:
    """Change name, settings or credentials; new credentials mend what was in error."""
    one = found_installation(call)
    body = await call.json()
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in ECHOED}
    wish = validate(InstallationChange, body)
    _refuse_moves(one, wish)
    saved = await keep_proven(call, one, lambda current: _changed(call, current, wish))
    return await shown(call, saved)


def _refuse_moves(one: Installation, wish: InstallationChange) -> None:
    faults = Faults()
    named = wish.driver.get("slug") if isinstance(wish.driver, dict) else wish.driver
    if named is not None and (not isinstance(named, str) or _slug(named) != one.driver):
        faults.add("driver", "an installation stays with its driver: create another one")
    if wish.instance not in {None, one.instance}:
        faults.add("instance", "an installation stays with its instance: create another one")
    if wish.status not in {None, one.status}:
        faults.add("status", "changes by POST …/enable, …/disable and …/authorize")
    faults.refuse()


def _slug(ident: str) -> str:
    driver = driver_of(ident)
    return driver.slug if driver else ident


def _changed(call: Call, one: Installation, wish: InstallationChange) -> Installation:
    driver = driver_of(one.driver)
    if driver is None:
        raise NotFoundError(f"this gateway has no driver {one.driver} any more")
    secrets = one.secrets_at(call.services.now())
    stored = ({SECRET: secrets[0]} if secrets else {}) | one.credentials
    faults = Faults()
    credentials = read_credentials(driver, wish.credentials, stored, faults)
    settings = checked_settings(call, wish.settings, one.settings, faults)
    faults.refuse()
    update: dict[str, Any] = {
        "name": wish.name or one.name,
        "settings": settings,
        **held(one, credentials),
    }
    if credentials.get(SECRET) != stored.get(SECRET):
        secret = credentials.get(SECRET)
        update["secrets"] = (Secret(value=secret),) if secret else ()
        update["info"] = {k: v for k, v in one.info.items() if k != "default_secret"}
    if credentials != stored and one.status in {"error", "pending_auth"}:
        update |= {"status": "active", "reason": None}
    return one.model_copy(update=update)


async def delete_installation(call: Call) -> web.Response:
    """Remove an installation: its ingest URL is gone, what it told stays on record."""
    one = found_installation(call)
    await call.services.subscriptions.end(one)
    await call.services.directory.remove("installation", one.id)
    return web.Response(status=204)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/installations",
        handler=list_installations,
        permission="INSTALLATIONS_MANAGE",
        summary="Every installation the key may touch",
        tag="installations",
        answer=Page[InstallationData],
        query=(*PAGE_QUERY, "sort", *(f"filter[{name}]" for name in FILTERS)),
        doc=Doc(parameters={"filter[status]": words(*STATUSES)}),
    ),
    Route(
        method="POST",
        path="/installations",
        handler=create_installation,
        permission="INSTALLATIONS_MANAGE",
        summary="Connect a driver to an instance",
        tag="installations",
        body=NewInstallation,
        answer=Data[InstallationData],
        status=201,
        answers={409: "the driver is switched off, or needs its settings first"},
        doc=Doc(
            about="`credentials_schema` of `GET /drivers/{id}` tells what credentials there are."
            " The answer's `ingest_url` is where the provider is to send its webhooks.",
            examples={
                "A Hotmart account": {
                    "driver": "hotmart",
                    "instance": "loja-1",
                    "name": "Minha loja",
                    "credentials": {"secret": "the-hottok-of-the-account"},
                },
                "A WooCommerce shop whose orders are polled, too": {
                    "driver": "woocommerce",
                    "instance": "loja-1",
                    "credentials": {
                        "secret": "the-webhook-secret",
                        "consumer_key": "ck_0123",
                        "consumer_secret": "cs_4567",
                    },
                    "settings": {
                        "api_base_url": "https://shop.example.com",
                        "poll_interval": 15,
                    },
                },
            },
        ),
    ),
    Route(
        method="PATCH",
        path="/installations/{id}",
        handler=change_installation,
        permission="INSTALLATIONS_MANAGE",
        summary="Change an installation's name, settings or credentials",
        tag="installations",
        body=InstallationChange,
        answer=Data[InstallationData],
        answers={409: "changed by others all the time"},
        doc=Doc(examples={"Another name, another interval": EXAMPLE_CHANGE}),
    ),
    Route(
        method="DELETE",
        path="/installations/{id}",
        handler=delete_installation,
        permission="INSTALLATIONS_MANAGE",
        summary="Remove an installation",
        tag="installations",
        status=204,
    ),
)
