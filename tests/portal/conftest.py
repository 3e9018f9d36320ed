"""The program, and a visitor who has signed in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.rig import Api, serving
from tests.portal.browser import Browser, browsing
from tests.portal.visitor import Visitor
from tests.sinks.receiver import Receiver, receiving


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as api:
        yield api


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def visitor(api: Api) -> AsyncIterator[Visitor]:
    async with Visitor.of(api) as visitor:
        await visitor.sign_in()
        yield visitor


@pytest.fixture
async def browser(api: Api) -> AsyncIterator[Browser]:
    async with browsing(api) as browser:
        await browser.sign_in()
        yield browser
