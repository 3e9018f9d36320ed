"""Debian's Chromium, driven by Playwright; whatever it complains of fails the test."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import (
    ConsoleMessage,
    Locator,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

from tests.api.rig import ADMIN, Api
from tests.e2e.node_client import installed

WIDE, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
PATIENCE = 20_000  # milliseconds
# A browser says that of every page whose status is an error, as some tests want it to be.
EXPECTED = "Failed to load resource: the server responded with a status of 4"
FINDINGS = """(rules) => axe.run(document, rules ? {runOnly: rules} : {}).then((told) =>
    told.violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html).join(" | ")))"""


@dataclass
class Browser:
    """One window on the portal. `complaints`: of the console, of scripts, of the policy."""

    api: Api
    page: Page
    complaints: list[str] = field(default_factory=list)

    async def go(self, place: str = "") -> None:
        await self.page.goto(f"{self.api.url}/portal{place}")

    async def sign_in(self, key: str = ADMIN) -> None:
        await self.go("/sign-in")
        await self.page.get_by_label("API key").fill(key)
        await self.click("Sign in")
        await self.page.get_by_role("heading", name="Overview").wait_for()

    async def click(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def confirm(self, name: str, within: Locator | None = None) -> None:
        """Press a button that asks first, and say yes."""
        place = (within or self.page.locator("main")).locator("details.confirm")
        asking = place.filter(has=self.page.locator(f"summary:text-is('{name}')")).first
        await asking.locator("summary").click()
        word = asking.locator("input[name=confirm]")
        if await word.count():
            await word.fill((await word.get_attribute("pattern") or "").replace("[.]", "."))
        await asking.locator("form button, .popover > button").last.click()

    async def sees(self, text: str) -> None:
        await self.page.get_by_text(text).first.wait_for()

    async def findings(self, *rules: str) -> list[str]:
        """What axe-core finds wrong with the page as it is."""
        return list(await self.page.evaluate(FINDINGS, list(rules) or None))

    def note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(EXPECTED):
            self.complaints.append(message.text)


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """The browser itself, for any number of windows."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("this test needs Chromium: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def browsing(started: Chromium, api: Api) -> AsyncIterator[Browser]:
    """A window that nobody has signed in with."""
    axe = await installed(Path(__file__).parent / "node") / "axe-core" / "axe.min.js"
    window = await started.new_context(
        viewport=WIDE,
        locale="en-US",
        timezone_id="America/Sao_Paulo",
        reduced_motion="reduce",
        color_scheme="light",
    )
    window.set_default_timeout(PATIENCE)
    # As the browser's own code, which the page's policy does not concern.
    await window.add_init_script(path=axe)
    browser = Browser(api, await window.new_page())
    browser.page.on("console", browser.note)
    browser.page.on("pageerror", lambda error: browser.complaints.append(str(error)))
    try:
        yield browser
        assert browser.complaints == []
    finally:
        await window.close()
