"""What every answer tells browsers, and what none tells anybody."""

from pathlib import Path
from typing import Any

import pytest

from tests.api.rig import PUBLIC, Api, serving

# Answers of every kind: data, errors, pages, files, deliveries.
PATHS = (
    "/drivers",
    "/nowhere",
    "/healthz",
    "/openapi.json",
    "/docs",
    "/portal/sign-in",
    "/portal/nowhere",
    "/oauth/bling/callback?state=x",
    "/hooks/shopify/x",
    "/metrics",
)


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_is_hardened(api: Api, path: str) -> None:
    answer = await _asked(api, path)
    policy = answer["Content-Security-Policy"]

    assert policy.startswith(("default-src 'none'", "default-src 'self'"))
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] in {"no-referrer", "same-origin"}
    assert answer["Server"] == "Comporta"
    assert answer["Cache-Control"]
    assert PUBLIC.startswith("https://")
    assert "max-age" in answer["Strict-Transport-Security"]


async def _asked(api: Api, path: str) -> Any:
    async with api.session.get(api.url + path, headers={"apikey": str(api.key)}) as got:
        return got.headers


async def test_without_https_browsers_are_not_told_to_insist(tmp_path: Path) -> None:
    async with serving(tmp_path, public_url="http://127.0.0.1:1") as api:
        assert "Strict-Transport-Security" not in await _asked(api, "/healthz")


async def test_cookies_are_no_scripts_business(api: Api) -> None:
    async with api.session.get(api.url + "/portal/sign-in") as got:
        cookies = got.headers.getall("Set-Cookie")

    (session,) = [c for c in cookies if c.startswith("comporta_session=")]
    assert "HttpOnly" in session
    assert "SameSite=Strict" in session


async def test_no_page_runs_what_stands_in_it(api: Api) -> None:
    """Nothing inline, so that the policy costs nothing."""
    for path in ("/docs", "/portal/sign-in", "/portal/nowhere"):
        async with api.session.get(api.url + path) as got:
            page = (await got.text()).lower()
        assert "<html" in page
        for sign in (" onclick=", " onload=", " style=", "<style", "javascript:"):
            assert sign not in page, (path, sign)
        assert all("src=" in script for script in page.split("<script")[1:])
