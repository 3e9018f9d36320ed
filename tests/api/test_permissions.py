"""Every route stands behind its permission, and says so before it says anything else."""

import re
from pathlib import Path

import pytest

from gateway.api.route import ANY_KEY, PUBLIC, Route
from gateway.api.router import ROUTES
from gateway.security import PERMISSIONS
from tests.api.rig import Api, serving

GUARDED = [route for route in ROUTES if route.permission != PUBLIC]


def asked(route: Route) -> str:
    """A path of the route, to things that do not exist."""
    return re.sub(r"\{[^}]+\}", "nobody", route.path)


async def test_nothing_is_told_without_a_key(api: Api) -> None:
    nobody = api.with_key(None)
    wrong = api.with_key("cmp_wrong")

    for route in GUARDED:
        for client in (nobody, wrong):
            answer = await client.call(route.method, asked(route))
            assert answer.status == 401, route.path
            assert answer.body["error"] == "Unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await nobody.get("/api-keys/")).status == 401


async def test_the_permission_is_needed_and_no_other_helps(api: Api) -> None:
    by_permission = {
        lacking: await api.limited(*(p for p in PERMISSIONS if p != lacking))
        for lacking in PERMISSIONS
    }

    for route in GUARDED:
        if route.permission == ANY_KEY:
            continue
        answer = await by_permission[route.permission].call(route.method, asked(route))
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
