"""Nothing that is typed or asked breaks a page."""

import re
from typing import Any

import pytest

from gateway.portal.pages import PAGES
from tests.api.shop import opened
from tests.portal.visitor import Visitor

NASTY = ("", "\0", "ü🎉\u202e", "a" * 5000, "-1", "[]", "../..%{x}<b>' OR 1=1")
QUERIES = "window cursor page name instance status key from to q driver outcome part".split()
# Those of every form, so that each is reached by something strange.
FIELDS = (
    "name number driver instance credentials.secret credentials.nothing settings shop confirm url"
    " events headers retry timeout method all_events enabled key next back theme language"
    " permissions expires_at secret hours webhook_url event_name client_id redirect_url filter"
    " rate from to sink"
).split()


def asked(path: str, ids: dict[str, str], value: str) -> str:
    """A path with the ids of things that exist, or something strange in their place."""
    path = re.sub(r"\{action:(\w+)[^}]*\}", r"\1", path)
    return re.sub(r"\{(\w+)\}", lambda m: ids.get(m[1], "") or value or "-", path)


async def ids_of(visitor: Visitor) -> dict[str, str]:
    shop = await opened(visitor.api)
    return {
        "instance": "loja",
        "kind": "webhook",
        "name": "default",
        "slug": "shopify",
        "id": str(shop.installation["id"]),
    }


@pytest.mark.parametrize("value", NASTY, ids=lambda v: ascii(v)[:20])
async def test_no_question_breaks_a_page(visitor: Visitor, value: str) -> None:
    ids = await ids_of(visitor)
    for page in PAGES:
        if page.method == "GET" and "{instance}" not in page.path.removeprefix("/instances"):
            for known in (ids, {}):
                place = asked(page.path, known, "nobody")
                query: dict[str, Any] = dict.fromkeys(QUERIES, value)
                url = f"{visitor.api.url}/portal{place}"
                async with visitor.session.get(url, params=query) as got:
                    assert got.status < 500, (place, await got.text())


@pytest.mark.parametrize("value", NASTY, ids=lambda v: ascii(v)[:20])
async def test_no_form_breaks_a_page(visitor: Visitor, value: str) -> None:
    ids = await ids_of(visitor)
    fields = dict.fromkeys(FIELDS, value)
    for page in PAGES:
        if page.method == "POST" and page.path != "/sign-out":
            place = asked(page.path, ids, "nobody")
            seen = await visitor.post(place, await visitor.token(), **fields)
            assert seen.status < 500, (place, seen.text)
            assert "\n" not in seen.headers.get("Location", "")


async def test_what_is_no_form_is_refused(visitor: Visitor) -> None:
    url = f"{visitor.api.url}/portal/instances"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, headers in (
        (b"{}", {"Content-Type": "application/json"}),
        (b"csrf=\xff\xfe", form),
        (b"csrf=%ff%fe", form),
        (b"&".join(b"a=1" for _ in range(3000)), form),
    ):
        async with visitor.session.post(url, data=body, headers=headers) as got:
            assert got.status in {400, 403}
            assert "Comporta" in await got.text()
