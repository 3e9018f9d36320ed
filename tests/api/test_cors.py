"""Which pages of other origins may call the API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.rig import Api, serving

PAGE, STRANGER = "https://painel.example", "https://evil.example"


@pytest.fixture
async def open_to_one(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, cors_origins=(PAGE,)) as api:
        yield api


async def preflight(api: Api, origin: str, path: str = "/api-keys") -> Any:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey, content-type",
    }
    async with api.session.options(api.url + path, headers=asked) as got:
        return got.status, got.headers


async def test_a_listed_page_may_ask_and_read(open_to_one: Api) -> None:
    status, headers = await preflight(open_to_one, PAGE)
    answer = await open_to_one.get("/drivers", headers={"Origin": PAGE})

    assert status == 204
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "apikey" in headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Vary"] == "Origin"
    for told in (headers, answer.headers):
        assert "Access-Control-Allow-Credentials" not in told


async def test_it_may_read_what_is_wrong(open_to_one: Api) -> None:
    refused = await open_to_one.with_key(None).get("/drivers", headers={"Origin": PAGE})

    assert refused.status == 401
    assert refused.headers["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", PAGE + ".evil.example", "http://painel.example"]
)
async def test_no_other_page_may(open_to_one: Api, origin: str) -> None:
    status, headers = await preflight(open_to_one, origin)
    answer = await open_to_one.get("/drivers", headers={"Origin": origin})

    assert status == 405
    assert "Access-Control-Allow-Origin" not in headers
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


async def test_the_portal_is_used_where_it_stands(open_to_one: Api) -> None:
    status, headers = await preflight(open_to_one, PAGE, "/portal/sign-in")

    assert status == 405
    assert "Access-Control-Allow-Origin" not in headers


async def test_without_a_list_no_page_may(api: Api) -> None:
    status, headers = await preflight(api, PAGE)

    assert status == 405
    assert "Access-Control-Allow-Origin" not in headers
    assert "Vary" not in headers


async def test_every_page_may_where_the_operator_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path, cors_origins=("*",)) as api:
        status, headers = await preflight(api, STRANGER)

        assert (status, headers["Access-Control-Allow-Origin"]) == (204, STRANGER)
