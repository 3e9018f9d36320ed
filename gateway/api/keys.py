"""API keys: shown once when they are made, and never able to give more than they have."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, Field

from gateway.api.doc import Doc
from gateway.api.paging import PAGE_QUERY, Data, Page, paged, refuse
from gateway.api.route import Call, Route, data
from gateway.api.text import Body, InstanceName, Name, Overlap
from gateway.api.times import api_time
from gateway.changes import change
from gateway.models import ApiKey
from gateway.security import EVERYTHING, Principal, digest, new_api_key
from schemas.errors import ForbiddenError, NotFoundError

HINT_CHARACTERS = 4
KEYS_PER_PAGE = 100
Permission = Literal[
    "DRIVERS_MANAGE",
    "INSTALLATIONS_MANAGE",
    "SINKS_MANAGE",
    "EVENTS_READ",
    "EVENTS_WRITE",
    "EVENTS_REPLAY",
    "KEYS_MANAGE",
    "*",
]


class NewKey(Body):
    """A key to make. `instance`: the only one it may touch. `expires_at`: with its zone."""

    name: Name
    permissions: Annotated[list[Permission], Field(max_length=20)]
    instance: InstanceName | None = None
    expires_at: AwareDatetime | None = None


class Rotation(Body):
    """`overlap_seconds`: how much longer the old key works."""

    overlap_seconds: Overlap = 3600


class KeyData(BaseModel):
    """A key as it is listed; `hint` is how it ends."""

    id: str
    name: str
    permissions: list[str]
    instance: str | None
    expires_at: str | None
    last_used_at: str | None
    hint: str
    created_at: str | None
    updated_at: str | None


class FreshKey(KeyData):
    """A key just made or rotated: the only answer that ever shows it."""

    key: str


async def list_keys(call: Call) -> web.Response:
    """Every key of the tenant, or of the caller's instance; never the keys themselves."""
    keys = call.services.directory.keys(call.principal.tenant)
    return paged(call, [k for k in keys if _within(call.principal, k)], _shown, KEYS_PER_PAGE)


async def create_key(call: Call) -> web.Response:
    """Make a key with no more than the caller's own permissions and instance."""
    wish = await call.model(NewKey)
    _refuse_more(call.principal, wish.permissions)
    if not _covers(call.principal, wish.instance):
        raise ForbiddenError(
            f"this API key can only make keys of instance {call.principal.instance}"
        )
    services = call.services
    expires_at = None if wish.expires_at is None else _micros(wish.expires_at)
    if expires_at is not None and expires_at <= services.now():
        raise refuse("expires_at", "must be in the future")
    secret = new_api_key(services.random)
    made = ApiKey(
        id=services.ids(),
        tenant=call.principal.tenant,
        name=wish.name,
        digest=digest(secret),
        permissions=tuple(dict.fromkeys(wish.permissions)),
        instance=wish.instance,
        expires_at=expires_at,
        hint=secret[-HINT_CHARACTERS:],
    )
    return data(_fresh(await services.directory.save("api_key", made), secret), 201)


async def delete_key(call: Call) -> web.Response:
    """Revoke a key, and what it replaced, at once."""
    await call.services.directory.remove("api_key", _found(call).id)
    return web.Response(status=204)


async def rotate_key(call: Call) -> web.Response:
    """Give a key new characters under the same id; the old ones work `overlap_seconds` longer."""
    key, wish = _found(call), await call.model(Rotation)
    # Whoever sees the new characters holds the key's permissions.
    _refuse_more(call.principal, key.permissions)
    services = call.services
    now, secret = services.now(), new_api_key(services.random)
    until = now + wish.overlap_seconds * 1_000_000

    def rotated(current: ApiKey) -> ApiKey:
        before = ((current.digest, until), *current.previous)
        kept = tuple((d, min(end, until)) for d, end in before if min(end, until) > now)
        update = {
            "digest": digest(secret),
            "previous": kept,
            "hint": secret[-HINT_CHARACTERS:],
        }
        return current.model_copy(update=update)

    saved = await change(
        services.directory, "api_key", lambda: services.directory.api_key(key.id), rotated
    )
    return data(_fresh(saved, secret))


def _found(call: Call) -> ApiKey:
    key = call.services.directory.api_key(call.path("id"))
    if key is None or key.tenant != call.principal.tenant or not _within(call.principal, key):
        raise NotFoundError("there is no such API key")
    return key


def _within(principal: Principal, key: ApiKey) -> bool:
    return _covers(principal, key.instance)


def _covers(principal: Principal, instance: str | None) -> bool:
    """Whether what is limited to `instance` (None: not at all) is no more than the caller."""
    return principal.instance is None or principal.instance == instance


def _refuse_more(principal: Principal, permissions: list[Permission] | tuple[str, ...]) -> None:
    if EVERYTHING in principal.permissions:
        return
    more = [p for p in permissions if p not in principal.permissions]
    if more:
        raise ForbiddenError(f"this API key cannot give what it lacks: {', '.join(more)}")


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _shown(key: ApiKey) -> KeyData:
    return KeyData(
        id=key.id,
        name=key.name,
        permissions=list(key.permissions),
        instance=key.instance,
        expires_at=api_time(key.expires_at),
        last_used_at=api_time(key.last_used_at),
        hint=key.hint,
        created_at=api_time(key.created_at),
        updated_at=api_time(key.updated_at),
    )


def _fresh(key: ApiKey, secret: str) -> FreshKey:
    return FreshKey(key=secret, **_shown(key).model_dump())


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api-keys",
        handler=list_keys,
        permission="KEYS_MANAGE",
        summary="Every API key, without its characters",
        tag="api-keys",
        answer=Page[KeyData],
        query=PAGE_QUERY,
    ),
    Route(
        method="POST",
        path="/api-keys",
        handler=create_key,
        permission="KEYS_MANAGE",
        summary="Make an API key; it is shown this once",
        tag="api-keys",
        body=NewKey,
        answer=Data[FreshKey],
        status=201,
        answers={403: "the caller lacks what the key would be given"},
        doc=Doc(
            examples={
                "To read what happened": {"name": "reports", "permissions": ["EVENTS_READ"]},
                "For one instance, with an end": {
                    "name": "partner",
                    "permissions": ["SINKS_MANAGE", "EVENTS_READ"],
                    "instance": "loja-1",
                    "expires_at": "2035-01-01T00:00:00Z",
                },
            }
        ),
    ),
    Route(
        method="DELETE",
        path="/api-keys/{id}",
        handler=delete_key,
        permission="KEYS_MANAGE",
        summary="Revoke an API key at once",
        tag="api-keys",
        status=204,
    ),
    Route(
        method="POST",
        path="/api-keys/{id}/rotate",
        handler=rotate_key,
        permission="KEYS_MANAGE",
        summary="Replace an API key; the old one works a little longer",
        tag="api-keys",
        body=Rotation,
        answer=Data[FreshKey],
        answers={409: "changed by others all the time"},
        doc=Doc(examples={"The old one works for an hour more": {"overlap_seconds": 3600}}),
    ),
)
