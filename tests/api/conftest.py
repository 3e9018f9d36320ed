"""A program of its own for every test that asks for `api`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.api.owner import Owner
from tests.api.rig import Api, serving
from tests.provider_apis.oauth import Bling, Shopify, authority


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path) as api:
        yield api


@pytest.fixture
async def api_on_postgres(tmp_path: Path, postgres_db: str) -> AsyncIterator[Api]:
    async with serving(tmp_path, store=SecretStr(postgres_db)) as api:
        yield api


@pytest.fixture
async def owner(api: Api) -> AsyncIterator[Owner]:
    async with authority(Bling) as provider:
        owner = Owner(api, provider)
        await owner.configures()
        yield owner


@pytest.fixture
async def merchant(api: Api) -> AsyncIterator[Owner]:
    async with authority(Shopify) as provider:
        owner = Owner(api, provider, "shopify")
        await owner.configures()
        yield owner
