"""The main tasks, done by clicking in a real browser."""

import json
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from playwright.async_api import Browser as Chromium
from playwright.async_api import expect

from gateway import samples
from tests.api.rig import Api
from tests.api.shop import opened
from tests.portal.browser import PHONE, Browser, browsing
from tests.sinks.receiver import Got, Receiver, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def refuse(_: Got) -> web.StreamResponse:
    return web.Response(status=422, text='{"error": "no such table"}')


async def test_from_nothing_to_a_delivered_order(browser: Browser, far_side: Receiver) -> None:
    page, api = browser.page, browser.api
    await browser.sees("Nothing has come in yet")

    await page.get_by_role("link", name="Instances", exact=True).click()
    await page.get_by_label("Name").fill("loja-1")
    await browser.click("Create instance")
    await browser.sees("The instance was created.")

    await page.get_by_role("link", name="webhook").first.click()
    await page.get_by_label("URL", exact=False).first.fill(far_side.url)
    await browser.click("Save")
    await browser.sees("The sink was saved.")
    secret = await page.locator(".notice .copy code").inner_text()
    assert secret.startswith("whsec_")
    await browser.click("Send a test event")
    await browser.sees("The test event was delivered.")
    assert json.loads(far_side.got[0].body)["test"] is True
    assert secret not in await page.content()

    await page.get_by_role("link", name="Installations", exact=True).click()
    await page.get_by_role("link", name="Connect a provider").first.click()
    await page.get_by_role("link", name="Hotmart").click()
    await page.get_by_label("Instance").fill("loja-1")
    await page.get_by_label("Webhook secret").fill("the-hottok")
    await browser.click("Connect")
    await browser.sees("It is connected.")
    ingest = await page.locator(".secret .copy code").inner_text()

    sample = samples.load("hotmart/purchase_approved")
    draft = sample.signed("the-hottok", 0)
    url = api.url + urlsplit(ingest).path.removeprefix("/gw")
    async with api.session.post(url, data=draft.body, headers=draft.headers) as got:
        (event,) = (await got.json())["events"]
    await until(lambda: len(far_side.got) == 2)

    key = (await api.get(f"/processing/events/{event['id']}")).data["key"]
    await page.get_by_role("searchbox", name="Search").fill(key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="order.paid", level=1)).to_be_visible()
    await browser.sees("Canonical data")
    await expect(page.locator(".attempt summary").first).to_contain_text("HTTP 200")
    await expect(page.get_by_text("webhook-signature")).to_be_visible()


async def test_a_dead_letter_is_retried_and_many_are_replayed(
    browser: Browser, far_side: Receiver
) -> None:
    far_side.answer = refuse
    shop = await opened(browser.api, url=far_side.url)
    events = [await shop.order(number) for number in range(5)]
    for event in events:
        await shop.dispatch(event, "dead")
    page = browser.page
    await browser.go("/failures")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_role("link", name="loja · webhook").click()
    await expect(page.locator(".attempt[open]")).to_contain_text("no such table")

    far_side.answer = lambda _: web.Response(text="ok")
    await browser.click("Retry now")
    await browser.sees("It is being tried again.")
    await shop.dispatch(events[-1], "succeeded")

    await page.get_by_role("link", name="Failures", exact=True).click()
    await browser.sees("4 in all")
    await page.get_by_label("A second at most").fill("4")
    await browser.confirm("Send again", page.locator("#bulk"))
    await browser.sees("It has begun.")
    await expect(page.locator("[data-part] .status").first).to_contain_text("Running")
    await expect(page.locator("[data-part] .status").first).to_contain_text("Finished")
    await expect(page.locator("[data-part] strong")).to_have_text("4")
    for event in events:
        await shop.dispatch(event, "succeeded")
    await page.get_by_role("link", name="Failures", exact=True).click()
    await browser.sees("No dead letters")


async def test_an_api_key_is_shown_once_and_revoked(browser: Browser) -> None:
    page, api = browser.page, browser.api
    await browser.go("/settings/keys")
    await page.get_by_label("Name").fill("ERP")
    await page.get_by_label("EVENTS_READ").check()
    await browser.click("Create API key")
    await browser.sees("The API key ERP was created.")
    key = await page.locator(".notice .copy code").inner_text()
    assert (await api.with_key(key).get("/processing/events")).status == 200

    await page.reload()
    assert key not in await page.content()
    await browser.confirm("Revoke")
    await browser.sees("The API key was revoked.")
    assert (await api.with_key(key).get("/processing/events")).status == 401


async def test_the_live_tail_shows_events_as_they_come(browser: Browser) -> None:
    shop = await opened(browser.api)
    page = browser.page
    await browser.go("/tail")
    await browser.sees("Listening to loja.")
    rows = page.locator("[data-tail] tr")

    first = await shop.order(1)
    await expect(rows).to_have_count(1)
    await expect(rows.first).to_contain_text("HP00000001")
    await browser.click("Pause")
    await shop.order(2)
    await expect(page.locator("[data-held]")).to_have_text(" (1)")
    await page.locator("[data-tail-pause]").click()
    await expect(rows).to_have_count(2)
    await page.locator("[data-tail-filter]").fill("hp00000001")
    await expect(page.locator("[data-tail] tr:visible")).to_have_count(1)
    await rows.last.get_by_role("link").click()
    await page.wait_for_url(f"**/events/{first}")


async def test_what_is_refused_stands_beside_its_field(browser: Browser) -> None:
    page = browser.page
    await browser.go("/instances/loja/sinks/webhook/default")
    await page.get_by_label("URL", exact=False).first.fill("ftp://shop.example/x")
    await page.get_by_label("Headers").fill("no colon here")
    await browser.click("Save")
    await expect(page.locator("#error-headers")).to_contain_text("no colon here")
    await page.get_by_label("Headers").fill("X-Shop: 1")
    await browser.click("Save")

    await expect(page.locator("#error-url")).to_be_visible()
    await expect(page.locator("#f-url")).to_have_value("ftp://shop.example/x")
    await expect(page.locator("#f-headers")).to_have_value("X-Shop: 1")
    await expect(page.get_by_label("all events")).to_be_checked()
    await page.locator("#f-url").fill("https://shop.example/hooks?a=1")
    await page.get_by_label("A URL for each event").check()
    await expect(page.locator("[data-preview]")).to_have_text(
        "https://shop.example/hooks/order_paid?a=1"
    )
    assert (await browser.api.get("/instances")).data == []


async def test_destruction_asks_for_the_name(browser: Browser) -> None:
    await browser.api.post("/instances", {"name": "loja.1"})
    page = browser.page
    await browser.go("/instances/loja.1")
    await page.locator("summary:text-is('Delete')").click()
    await page.locator("input[name=confirm]").fill("loja-1")
    await page.get_by_role("button", name="Yes: delete").click()
    assert len((await browser.api.get("/instances")).data) == 1
    await page.keyboard.press("Escape")
    await browser.confirm("Delete")
    await browser.sees("loja.1 was removed.")
    assert (await browser.api.get("/instances")).data == []


async def test_keys_language_and_theme(browser: Browser) -> None:
    page = browser.page
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("e")
    await page.wait_for_url("**/portal/events")

    light = await page.evaluate("getComputedStyle(document.body).color")
    await page.get_by_role("button", name="Change theme").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert await page.evaluate("getComputedStyle(document.body).color") != light
    await page.get_by_role("button", name="PT", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Eventos")
    await expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
    assert page.url.endswith("/portal/events")


async def test_times_are_the_browsers_own(browser: Browser) -> None:
    shop = await opened(browser.api)
    event = await shop.order(1)
    await browser.go(f"/events/{event}")
    shown = browser.page.locator("dl.facts time").first
    utc = (await browser.api.get(f"/processing/events/{event}")).data["occurred_at"]

    title = await shown.get_attribute("title")
    assert title is not None
    assert title.endswith(utc[:19].replace("T", " ") + " UTC")
    local = int(utc[11:13]) - 3  # America/Sao_Paulo
    assert f"{(local - 1) % 12 + 1}:{utc[14:16]}" in await shown.inner_text()


async def test_everything_is_reached_on_a_phone(started: Chromium, served: Api) -> None:
    async with browsing(started, served) as browser:
        await browser.page.set_viewport_size(PHONE)
        await browser.sign_in()
        await browser.page.get_by_role("link", name="More").click()
        await browser.page.locator("main").get_by_role("link", name="Drivers").click()
        await expect(browser.page.get_by_role("heading", name="Drivers")).to_be_visible()
