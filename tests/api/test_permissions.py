"""Every route stands behind its permission, and says so before it says anything else."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.api.route import ANY_KEY, PUBLIC, Route
from gateway.api.router import ROUTES
from gateway.models import ApiKey
from gateway.security import PERMISSIONS, digest
from gateway.sources import Attempts
from tests.api.rig import Api, serving
from tests.api.shop import opened
from tests.sinks.receiver import Receiver

GUARDED = [route for route in ROUTES if route.permission != PUBLIC]


def asked(route: Route) -> str:
    """A path of the route, to things that do not exist."""
    return re.sub(r"\{[^}]+\}", "nobody", route.path)


async def test_nothing_is_told_without_a_key(api: Api) -> None:
    nobody = api.with_key(None)
    wrong = api.with_key("cmp_wrong")
    patient = replace(api.services.callers, attempts=Attempts(time.monotonic, 10_000))
    api.services.callers = patient

    for route in GUARDED:
        for client in (nobody, wrong):
            answer = await client.call(route.method, asked(route))
            assert answer.status == 401, route.path
            assert answer.body["error"] == "Unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await nobody.get("/api-keys/")).status == 401


async def test_the_permission_is_needed_and_no_other_helps(api: Api) -> None:
    ways_in = {(r.permission, *r.instead) for r in GUARDED if r.permission != ANY_KEY}
    without = {
        ways: await api.limited(*(p for p in PERMISSIONS if p not in ways)) for ways in ways_in
    }

    for route in GUARDED:
        if route.permission == ANY_KEY:
            continue
        limited = without[route.permission, *route.instead]
        answer = await limited.call(route.method, asked(route))
        assert answer.status == 403, route.path
        assert answer.body["error"] == "Forbidden"
        assert route.permission in answer.body["message"]


def test_permissions_are_known_and_routes_are_told_once() -> None:
    assert {route.permission for route in ROUTES} <= {*PERMISSIONS, ANY_KEY, PUBLIC}
    told = [(route.method, route.path) for route in ROUTES]
    assert len(told) == len(set(told))


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
def test_every_route_is_described(route: Route) -> None:
    assert route.summary
    assert route.tag
    if route.method == "GET":
        assert route.body is None


async def test_with_auth_off_whoever_asks_is_the_admin(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=False) as api:
        nobody = api.with_key(None)
        made = await nobody.post("/api-keys", {"name": "k", "permissions": ["EVENTS_READ"]})

        assert made.status == 201
        assert (await api.with_key("cmp_wrong").get("/drivers")).status == 401
        limited = api.with_key(made.data["key"])
        assert (await limited.get("/api-keys")).status == 403


LISTS: tuple[str, ...] = ("installations", "instances", "processing/events", "processing/webhooks")
LISTS += ("processing/dispatches", "processing/replays")
# What a path with an id may begin with, where no thing of a tenant stands behind it.
NO_THING = ("/drivers/", "/schemas/", "/claims/")


async def things(api: Api, receiver: Receiver) -> dict[str, str]:
    """One of everything in instance `loja`: how its paths begin, and its id."""
    shop = await opened(api, url=receiver.url)
    event_id = await shop.order(1)
    dispatch = await shop.dispatch(event_id, "succeeded")
    (inbound,) = (await api.get("/processing/webhooks")).data
    wish = {"filter": {"status": "canceled"}}
    replay = (await api.post("/processing/replay", wish)).data
    key = (await api.post("/api-keys", {"name": "k", "permissions": []})).data
    return {
        "installations/{id}": shop.installation["id"],
        "instances/{instance}": "loja",
        "processing/events/{id}": event_id,
        "processing/webhooks/{id}": inbound["id"],
        "processing/dispatches/{id}": dispatch["id"],
        "processing/replays/{id}": replay["id"],
        "api-keys/{id}": key["id"],
        "drivers/{id}/settings": "hotmart",
    }


async def refuse_all(other: Api, there: dict[str, str]) -> int:
    """Ask for each thing on each of its routes: none is there. Gives how many were tried."""
    tried = 0
    for route in GUARDED:
        for shape, ident in there.items():
            # Settings are created, not found: PUT makes the tenant's own.
            if not route.path.startswith("/" + shape) or route.method == "PUT":
                continue
            body: Any = {} if route.method in {"POST", "PATCH"} else None
            path = re.sub(r"\{[^}]+\}", ident, route.path) + "?confirm=loja"
            answer = await other.call(route.method, path, body)
            assert answer.status == 404, (route.method, route.path, answer.body)
            tried += 1
    return tried


async def test_another_tenants_things_are_not_there(api: Api, receiver: Receiver) -> None:
    there = await things(api, receiver)
    stranger = ApiKey(
        id=api.services.ids(), tenant="other", name="x", digest=digest("x"), permissions=("*",)
    )
    await api.services.directory.save("api_key", stranger)
    other = api.with_key("x")

    assert await refuse_all(other, there) >= 20
    for path in LISTS:
        assert (await other.get(f"/{path}")).data == []
    assert (await api.get("/drivers/hotmart")).data["enabled"] is True
    assert (await other.get("/drivers/hotmart")).data["enabled"] is False


async def test_a_key_of_another_instance_sees_nothing_of_it(api: Api, receiver: Receiver) -> None:
    there = await things(api, receiver)
    del there["drivers/{id}/settings"]  # are the tenant's
    limited = await api.limited("*", instance="loja-2")

    assert await refuse_all(limited, there) >= 20
    for path in LISTS:
        assert (await limited.get(f"/{path}")).data == []
    for route in GUARDED:
        if "{instance}" in route.path:
            path = route.path.replace("{instance}", "loja").replace("{name}", "default")
            path = re.sub(r"\{[^}]+\}", "order.paid", path) + "?confirm=loja"
            body: Any = {} if route.method in {"POST", "PUT", "PATCH"} else None
            answer = await limited.call(route.method, path, body)
            assert answer.status == 404, (route.method, route.path, answer.body)


def test_no_kind_of_thing_is_forgotten() -> None:
    shapes = (
        "installations/{id}", "instances/{instance}", "processing/events/{id}",
        "processing/webhooks/{id}", "processing/dispatches/{id}", "processing/replays/{id}",
        "api-keys/{id}",
    )  # fmt: skip  # a list
    others = [
        route.path
        for route in GUARDED
        if "{" in route.path
        and "{instance}" not in route.path
        and not route.path.startswith((*NO_THING, *(f"/{shape}" for shape in shapes)))
    ]

    assert others == [], "add what they are about to `things`"
