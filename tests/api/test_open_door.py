"""With COMPORTA_AUTH=off this machine is the admin, and nothing that only seems to be it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.rig import Api, serving

WISH = {"name": "k", "permissions": []}


@pytest.fixture
async def open_api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, auth=False, public_url="") as api:
        yield api.with_key(None)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "app.localhost:1"])
async def test_this_machine_is_served(open_api: Api, host: str) -> None:
    assert (await open_api.post("/api-keys", WISH, headers={"Host": host})).status == 201


async def test_its_own_pages_are_by_whatever_name(open_api: Api) -> None:
    own = {"Host": "localhost:8080", "Origin": "http://localhost:8080"}
    assert (await open_api.get("/api-keys", headers=own)).status == 200
    assert (await open_api.get("/api-keys", headers=own | {"Host": "127.0.0.1:1"})).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # a name that was made to resolve to 127.0.0.1
        {"Host": "localhost.evil.example"},
        {"Host": "10.0.0.1"},
        {"Host": ""},
        {"Host": "abc.tunnel.example", "Origin": "https://abc.tunnel.example"},
        {"Origin": "https://evil.example", "Content-Type": "text/plain"},  # a form of a page
        {"Origin": "null"},
    ],
)
async def test_pages_and_tunnels_are_not(open_api: Api, headers: dict[str, str]) -> None:
    for path in ("/api-keys", "/portal/sign-in"):
        refused = await open_api.call("GET", path, headers=headers)
        assert refused.status == 403, path
        assert refused.body["code"] == "origin_not_allowed"
    assert (await open_api.post("/api-keys", WISH, headers=headers)).status == 403
    assert (await open_api.get("/api-keys")).data == []


async def test_providers_may_come_through_a_tunnel(open_api: Api) -> None:
    answer = await open_api.post("/hooks/shopify/x", {}, headers={"Host": "abc.tunnel.example"})
    assert answer.status == 404


async def test_where_keys_are_asked_for_the_name_does_not_matter(api: Api) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        assert (await api.get("/drivers", headers=headers)).status == 200
