"""Every page is fit for everybody: axe-core finds nothing, in light and dark, wide and on a phone,
and nothing sticks out sideways.
"""

import re
from typing import Literal

import pytest
from aiohttp import web
from playwright.async_api import Browser as Chromium
from playwright.async_api import ViewportSize

from gateway.portal.pages import PAGES
from tests.api.rig import Api
from tests.api.shop import opened
from tests.portal.browser import PHONE, WIDE, Browser, browsing
from tests.sinks.receiver import Receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = ("webhook", "websocket", "rabbitmq", "sqs", "nats", "pusher")
# Streams and redirects, which are no pages to look at.
UNSEEN = {"", "/sign-in", "/tail/{instance}"}


async def history(api: Api, receiver: Receiver) -> dict[str, str]:
    """A shop with something of everything; the ids to put into paths."""
    receiver.answer = lambda _: web.Response(status=422, text='{"error": "no such table"}')
    shop = await opened(api, url=receiver.url)
    event = await shop.order(1)
    dispatch = await shop.dispatch(event, "dead")
    (inbound,) = (await api.get("/processing/webhooks")).data
    replay = (await api.post("/processing/replay", {"filter": {"status": "canceled"}})).data
    await api.post("/api-keys", {"name": "ERP", "permissions": ["EVENTS_READ"]})
    return {
        "/events/{id}": event,
        "/inbounds/{id}": inbound["id"],
        "/deliveries/{id}": dispatch["id"],
        "/failures/jobs/{id}": replay["id"],
        "/installations/{id}": shop.installation["id"],
    }


def places(ids: dict[str, str]) -> list[str]:
    """A place for every page that is looked at."""
    found = []
    for page in PAGES:
        if page.method != "GET" or page.path in UNSEEN:
            continue
        path = page.path.replace("{id}", ids.get(page.path, ""))
        path = path.replace("{instance}", "loja").replace("{slug}", "shopify")
        kinds = KINDS if "{kind}" in path else ("",)
        found += [re.sub(r"\{kind\}/\{name\}", f"{kind}/default", path) for kind in kinds]
    return [*found, "/installations/new?driver=shopify", "/search?q=nothing", "/nowhere"]


async def faults(browser: Browser) -> list[str]:
    """What is wrong with the page in view. Dark differs in colours only, a phone in sizes."""
    page, found = browser.page, []
    looks: tuple[tuple[ViewportSize, Literal["light", "dark"], tuple[str, ...]], ...] = (
        (WIDE, "light", ()),
        (WIDE, "dark", ("color-contrast",)),
        (PHONE, "light", ("color-contrast", "target-size", "region")),
    )
    for size, scheme, rules in looks:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=scheme)
        found += [f"{size['width']} {scheme}: {one}" for one in await browser.findings(*rules)]
        wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found += [f"{size['width']}: {wide} pixels stick out"] if wide > 0 else []
    return found


async def test_nothing_is_wrong_with_any_page(
    browser: Browser, served: Api, far_side: Receiver
) -> None:
    found = {}
    for place in places(await history(served, far_side)):
        await browser.go(place)
        found[place] = await faults(browser)

    assert len(found) >= 30
    assert {place: told for place, told in found.items() if told} == {}


async def test_nothing_is_wrong_where_there_is_nothing(browser: Browser) -> None:
    for place in ("", "/events", "/failures", "/instances", "/installations", "/tail"):
        await browser.go(place)
        assert await faults(browser) == [], place


async def test_nothing_is_wrong_with_the_door(started: Chromium, served: Api) -> None:
    async with browsing(started, served) as browser:
        await browser.go("/sign-in")
        assert await faults(browser) == []


async def test_faults_are_found(browser: Browser) -> None:
    await browser.go("/settings")
    await browser.page.evaluate("document.querySelector('main h1').textContent = ''")
    await browser.page.evaluate(
        "document.querySelector('main').append(document.createElement('img'))"
    )

    told = " ".join(await faults(browser))
    assert "image-alt" in told
    assert "empty-heading" in told
