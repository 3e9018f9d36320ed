"""What is the operator's alone, with the bootstrap key: tenants, and the keys secrets are kept by.

A tenant's own keys, also those with every permission, reach nothing here.
"""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, StringConstraints

from gateway.api.doc import Doc
from gateway.api.paging import PAGE_QUERY, Data, Page, paged
from gateway.api.route import Call, Route, data
from gateway.api.text import Body
from gateway.api.times import api_time
from gateway.directory import DEFAULT_TENANT, begins_like
from gateway.models import ApiKey, Tenant
from gateway.rotation import rotate
from gateway.security import EVERYTHING, digest, new_api_key
from schemas.errors import ConflictError, ForbiddenError

TENANTS_PER_PAGE = 100
HINT_CHARACTERS = 4
# It becomes a part of queue and subject names.
TenantName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class NewTenant(Body):
    """A tenant to make. Its name is what brokers' names begin with, and never changes."""

    name: TenantName


class TenantData(BaseModel):
    """A tenant."""

    id: str
    name: str
    created_at: str | None


class FreshTenant(TenantData):
    """A tenant just made, with its first API key: the only answer that ever shows it."""

    key: str


class RotationData(BaseModel):
    """How many stored secrets were sealed with the newest key now, and before."""

    rotated: int
    current: int


def _operator(call: Call) -> None:
    if call.principal != call.services.admin:
        raise ForbiddenError("only the operator's own key, of COMPORTA_API_KEY, may do this")


async def list_tenants(call: Call) -> web.Response:
    """Every tenant."""
    _operator(call)
    return paged(call, call.services.directory.tenants(), _shown, TENANTS_PER_PAGE)


async def create_tenant(call: Call) -> web.Response:
    """Make a tenant, and an API key with every permission in it."""
    _operator(call)
    wish, services = await call.model(NewTenant), call.services
    if any(tenant.name == wish.name for tenant in services.directory.tenants()):
        raise ConflictError(f"there is a tenant {wish.name} already")
    for instance in services.directory.instances(DEFAULT_TENANT):
        if begins_like(instance.name, wish.name):
            raise ConflictError(f"instance {instance.name} of tenant {DEFAULT_TENANT} begins so")
    made = await services.directory.save(
        "tenant", Tenant(id=wish.name, tenant=wish.name, name=wish.name)
    )
    secret = new_api_key(services.random)
    key = ApiKey(
        id=services.ids(),
        tenant=made.id,
        name="admin",
        digest=digest(secret),
        permissions=(EVERYTHING,),
        hint=secret[-HINT_CHARACTERS:],
    )
    await services.directory.save("api_key", key)
    return data(FreshTenant(key=secret, **_shown(made).model_dump()), 201)


async def rotate_encryption(call: Call) -> web.Response:
    """Seal every stored secret with the newest of COMPORTA_SECRET_KEYS."""
    _operator(call)
    services = call.services
    told = await rotate(services.registry, services.store.database, services.vault)
    return data(RotationData(rotated=told.rotated, current=told.current))


def _shown(tenant: Tenant) -> TenantData:
    return TenantData(id=tenant.id, name=tenant.name, created_at=api_time(tenant.created_at))


OPERATORS = {403: "not the operator's own key"}
ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/tenants",
        handler=list_tenants,
        permission="KEYS_MANAGE",
        summary="Every tenant; for the operator",
        tag="operations",
        answer=Page[TenantData],
        query=PAGE_QUERY,
        answers=OPERATORS,
    ),
    Route(
        method="POST",
        path="/tenants",
        handler=create_tenant,
        permission="KEYS_MANAGE",
        summary="Make a tenant and its first API key; for the operator",
        tag="operations",
        body=NewTenant,
        answer=Data[FreshTenant],
        status=201,
        answers=OPERATORS | {409: "there is one of this name"},
        doc=Doc(examples={"a tenant": {"name": "acme"}}),
    ),
    Route(
        method="POST",
        path="/encryption/rotate",
        handler=rotate_encryption,
        permission="KEYS_MANAGE",
        summary="Seal every stored secret with the newest key; for the operator",
        tag="operations",
        answer=Data[RotationData],
        answers=OPERATORS,
    ),
)
