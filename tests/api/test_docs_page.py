"""The page at /docs, in the browser that Debian has: it works with nothing but this server."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from gateway.api.documents import FILES, PAGES
from gateway.api.router import ROUTES
from tests.api.rig import ADMIN, Api, serving

PATIENCE = 30_000.0  # milliseconds: the machine may be busy


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "this test needs a browser: apt-get install chromium"
    async with async_playwright() as playwright:
        # Without a sandbox, because tests may run as root; nothing foreign is opened.
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        await browser.close()


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Api]:
    """A server that is reached at the address it knows of itself."""
    async with serving(tmp_path, public_url="") as api:
        yield api


class Watched:
    """A page, and everything that went wrong or left this server."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.trouble = page, list[str]()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda m: self.trouble.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("request", lambda asked: self._check(asked.url, url))

    def _check(self, asked: str, url: str) -> None:
        if urlsplit(asked).netloc != urlsplit(url).netloc:
            self.trouble.append(f"asked for {asked}")


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_a_reader_finds_and_tries_an_operation(
    here: Api, browser: Browser, path: str
) -> None:
    watched = Watched(await browser.new_page(), here.url)
    page = watched.page
    await page.goto(here.url + path)
    operation = page.locator("#get_drivers_names")
    await operation.wait_for()

    await page.get_by_label("Find").fill("names and slugs")
    await expect(page.locator(".operation:visible")).to_have_count(1)
    await page.get_by_label("API key").fill(ADMIN)
    await operation.locator("> summary").click()
    await operation.get_by_text("Try it").click()
    await operation.get_by_role("button", name="Send GET").click()

    await expect(operation.locator(".try .status")).to_have_text("200", timeout=PATIENCE)
    await expect(operation.locator(".try pre")).to_contain_text('"slug": "hotmart"')
    assert watched.trouble == []


async def test_a_body_can_be_changed_and_sent(here: Api, browser: Browser) -> None:
    watched = Watched(await browser.new_page(), here.url)
    page = watched.page
    await page.goto(f"{here.url}/docs#post_webhook_set_instance")
    operation = page.locator("#post_webhook_set_instance")
    await operation.get_by_role("combobox", name="Example").select_option(index=2)

    await page.get_by_label("API key").fill(ADMIN)
    await operation.get_by_text("Try it").click()
    await operation.get_by_label("instance", exact=True).fill("loja-1")
    await operation.get_by_role("button", name="Send POST").click()

    await expect(operation.locator(".try .status")).to_have_text("201", timeout=PATIENCE)
    found = await here.get("/webhook/find/loja-1")
    assert found.body["method"] == "PUT"
    assert watched.trouble == []


async def test_every_operation_opens(here: Api, browser: Browser) -> None:
    watched = Watched(await browser.new_page(viewport={"width": 390, "height": 800}), here.url)
    page = watched.page
    await page.goto(f"{here.url}/docs")
    await page.locator("#events table").wait_for()

    await page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    await expect(page.locator(".operation > div")).to_have_count(len(ROUTES))

    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(overflow) == 0
    assert watched.trouble == []


async def test_the_page_lets_nothing_foreign_in(api: Api) -> None:
    nobody = api.with_key(None)
    for path in ("/docs", *(f"/docs/{name}" for name in FILES)):
        answer = await nobody.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.status == 200
    assert (await nobody.get("/docs/openapi.py")).status == 404
    assert (await nobody.get("/docs/..%2Frouter.py")).status == 404


def test_every_file_of_the_page_is_served() -> None:
    assert {path.name for path in PAGES.iterdir()} == {*FILES, "docs.html"}
