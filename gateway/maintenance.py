"""What an operator runs beside the server: migrations."""

from __future__ import annotations

import os

from gateway.app import wall_clock
from gateway.ids import Ulids
from gateway.settings import Settings, SettingsError
from gateway.store import open_store
from gateway.store.base import Store
from gateway.store.migrate import Engine, available


async def migrate(settings: Settings) -> str:
    """Open the store, which brings it up to date; gives a line for people."""
    store = await _open(settings)
    await store.close()
    engine: Engine = "postgres" if settings.is_postgres else "sqlite"
    return f"the store is at version {available(engine)[-1].version}"


async def _open(settings: Settings) -> Store:
    if not settings.is_postgres:
        settings.sqlite_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    node = Ulids(wall_clock, os.urandom)()
    try:
        return await open_store(settings.store_url, node=node, lease_seconds=settings.lease_seconds)
    except ValueError as error:
        raise SettingsError(f"COMPORTA_STORE: {error}") from None
