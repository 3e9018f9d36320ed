"""The program, and a visitor who has signed in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser as Chromium

from tests.api.rig import Api, serving
from tests.portal.browser import Browser, browsing, chromium
from tests.portal.visitor import Visitor
from tests.sinks.receiver import Receiver, receiving


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as api:
        yield api


@pytest.fixture
async def visitor(api: Api) -> AsyncIterator[Visitor]:
    async with Visitor.of(api) as visitor:
        await visitor.sign_in()
        yield visitor


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started() -> AsyncIterator[Chromium]:
    """One browser for the tests of a module, each in a window of its own."""
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def served(tmp_path: Path) -> AsyncIterator[Api]:
    """The program, on the browser's event loop; it gives up after two attempts."""
    async with serving(tmp_path, retry_schedule=(0.01,)) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def far_side() -> AsyncIterator[Receiver]:
    """A receiver, on the browser's event loop."""
    async with receiving() as receiver:
        yield receiver


@pytest_asyncio.fixture(loop_scope="module")
async def browser(started: Chromium, served: Api) -> AsyncIterator[Browser]:
    """A window of somebody who has signed in."""
    async with browsing(started, served) as browser:
        await browser.sign_in()
        yield browser
