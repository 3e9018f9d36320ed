"""Instances: the named streams that installations feed and sinks read."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, StringConstraints

from gateway.api.doc import Doc
from gateway.api.paging import PAGE_QUERY, Data, Page, paged, refuse
from gateway.api.route import ANY_KEY, Call, Route, data
from gateway.api.text import Body, InstanceName
from gateway.api.times import api_time
from gateway.changes import change
from gateway.models import Instance
from gateway.sink_life import cancel_pending
from schemas.errors import ConflictError, ForbiddenError, NotFoundError

INSTANCES_PER_PAGE = 100
Number = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9+._:@-]{1,64}$")
]


class NewInstance(Body):
    """`skip_superseded`: older news of an order than what is known already is not sent on.
    `number`: the `numberId` by which the Evolution channel finds the instance.
    """

    name: InstanceName
    skip_superseded: bool = False
    number: Number | None = None


class InstanceChange(Body):
    """What to change; what is left out stays. The name cannot change."""

    name: str | None = None
    skip_superseded: bool | None = None
    number: Number | None = None


class SinkName(BaseModel):
    """One sink of an instance."""

    kind: str
    name: str
    enabled: bool


class InstanceData(BaseModel):
    """An instance, with its sinks and the number of its installations."""

    id: str
    name: str
    skip_superseded: bool
    number: str | None
    sinks: list[SinkName]
    installations: int
    created_at: str | None
    updated_at: str | None


async def list_instances(call: Call) -> web.Response:
    """Every instance the key may touch, by name."""
    tenant, principal = call.principal.tenant, call.principal
    seen = [i for i in call.services.directory.instances(tenant) if principal.sees(i.name)]
    seen.sort(key=lambda i: i.name)
    counted = _installations(call)
    return paged(call, seen, lambda i: _shown(call, i, counted), INSTANCES_PER_PAGE)


async def create_instance(call: Call) -> web.Response:
    """Make an instance. Raises ConflictError when there is one of this name."""
    wish = await call.model(NewInstance)
    if not call.principal.sees(wish.name):
        raise ForbiddenError(f"this API key is limited to instance {call.principal.instance}")
    services, tenant = call.services, call.principal.tenant
    if services.directory.instance(tenant, wish.name):
        raise ConflictError(f"there is an instance {wish.name} already")
    _refuse_taken(call, wish.number, wish.name)
    made = Instance(
        id=services.ids(),
        tenant=tenant,
        name=wish.name,
        skip_superseded=wish.skip_superseded,
        number=wish.number,
    )
    saved = await services.directory.save("instance", made)
    return data(_shown(call, saved, _installations(call)), 201)


async def show_instance(call: Call) -> web.Response:
    """One instance."""
    return data(_shown(call, _found(call), _installations(call)))


async def change_instance(call: Call) -> web.Response:
    """Change what the body names; `"number": null` takes the number away."""
    instance, wish = _found(call), await call.model(InstanceChange)
    if wish.name not in {None, instance.name}:
        raise refuse("name", "an instance cannot be renamed: sinks and receivers know it by name")
    _refuse_taken(call, wish.number, instance.name)
    update = wish.model_dump(exclude_unset=True, exclude={"name"})
    if update.get("skip_superseded", False) is None:
        raise refuse("skip_superseded", "must be true or false")
    directory, tenant = call.services.directory, call.principal.tenant
    saved = await change(
        directory,
        "instance",
        lambda: directory.instance(tenant, instance.name),
        lambda current: current.model_copy(update=update),
    )
    return data(_shown(call, saved, _installations(call)))


async def delete_instance(call: Call) -> web.Response:
    """Remove an instance with its installations and sinks; what happened stays on record.

    The instance goes last: when this is interrupted, it can be asked for again.
    """
    instance = _found(call)
    if call.query("confirm") != instance.name:
        raise refuse("confirm", f"repeat the instance's name: ?confirm={instance.name}")
    services, directory = call.services, call.services.directory
    for installation in directory.installations(instance.tenant):
        if installation.instance == instance.name:
            await directory.remove("installation", installation.id)
    for sink in directory.sinks_of(instance.tenant, instance.name):
        await directory.remove("sink", sink.id)
        await cancel_pending(services.store.database, sink.id)
    await directory.remove("instance", instance.id)
    return web.Response(status=204)


def _found(call: Call) -> Instance:
    name = call.instance()
    instance = call.services.directory.instance(call.principal.tenant, name)
    if instance is None:
        raise NotFoundError(f"there is no instance {name}")
    return instance


def _refuse_taken(call: Call, number: str | None, name: str) -> None:
    """A number finds one instance only."""
    others = call.services.directory.instances(call.principal.tenant)
    if number is not None and any(i.number == number and i.name != name for i in others):
        raise ConflictError(f"another instance has the number {number} already")


def _installations(call: Call) -> Counter[str]:
    """How many each instance has."""
    found = call.services.directory.installations(call.principal.tenant)
    return Counter(one.instance for one in found)


def _shown(call: Call, instance: Instance, installations: Counter[str]) -> InstanceData:
    sinks = call.services.directory.sinks_of(instance.tenant, instance.name)
    return InstanceData(
        id=instance.id,
        name=instance.name,
        skip_superseded=instance.skip_superseded,
        number=instance.number,
        sinks=[SinkName(kind=s.kind, name=s.name, enabled=s.enabled) for s in sinks],
        installations=installations[instance.name],
        created_at=api_time(instance.created_at),
        updated_at=api_time(instance.updated_at),
    )


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/instances",
        handler=list_instances,
        permission=ANY_KEY,
        summary="Every instance the key may touch",
        tag="instances",
        answer=Page[InstanceData],
        query=PAGE_QUERY,
    ),
    Route(
        method="POST",
        path="/instances",
        handler=create_instance,
        permission="SINKS_MANAGE",
        summary="Make an instance",
        tag="instances",
        body=NewInstance,
        answer=Data[InstanceData],
        status=201,
        answers={409: "the name or the number is taken"},
        doc=Doc(
            examples={
                "An instance": {"name": "loja-2"},
                "One that the Evolution channel finds by its number": {
                    "name": "atendimento",
                    "number": "5511999990001",
                    "skip_superseded": True,
                },
            }
        ),
    ),
    Route(
        method="GET",
        path="/instances/{instance}",
        handler=show_instance,
        permission=ANY_KEY,
        summary="One instance",
        tag="instances",
        answer=Data[InstanceData],
    ),
    Route(
        method="PATCH",
        path="/instances/{instance}",
        handler=change_instance,
        permission="SINKS_MANAGE",
        summary="Change an instance",
        tag="instances",
        body=InstanceChange,
        answer=Data[InstanceData],
        answers={409: "another instance has the number; or changed by others all the time"},
        doc=Doc(examples={"Only news": {"skip_superseded": True}}),
    ),
    Route(
        method="DELETE",
        path="/instances/{instance}",
        handler=delete_instance,
        permission="SINKS_MANAGE",
        summary="Remove an instance with its sinks and installations",
        tag="instances",
        status=204,
        query=("confirm",),
    ),
)
