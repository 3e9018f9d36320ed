"""Opening a store by its URL; the engine is imported only when it is the one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gateway.store.base import Store

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


async def open_store(
    url: str,
    *,
    node: str,
    lease_seconds: float,
    clock: Callable[[], int] | None = None,
    observe: Callable[[str, float], None] | None = None,
    crash: Callable[[str], None] | None = None,
) -> Store:
    """Open, migrate and give the store: `sqlite:///relative/path`, `sqlite:////absolute/path`, or a
    `postgresql://` URL.

    `node`: this process, unique among those alive. `lease_seconds`: how long its leases outlive its
    last heartbeat. `clock`: microseconds, instead of the engine's own. `observe(name, value)` hears
    of `commit_seconds` and `batch_size` in the event loop's thread. `crash(point)` is called at
    `before_commit` and `after_commit` of appends. Raises StoreUnavailableError, and ValueError for
    a URL of another kind.
    """
    if url.startswith(SQLITE) and len(url) > len(SQLITE):
        from gateway.store.sqlite import open_sqlite  # noqa: PLC0415 - only when used

        path = Path(url.removeprefix(SQLITE))
        return await open_sqlite(
            path, node=node, lease_seconds=lease_seconds, clock=clock, observe=observe, crash=crash
        )
    if url.startswith(POSTGRES):
        from gateway.store.postgres import open_postgres  # noqa: PLC0415 - only when used

        return await open_postgres(
            url, node=node, lease_seconds=lease_seconds, clock=clock, observe=observe, crash=crash
        )
    raise ValueError("the store's URL must begin with sqlite:/// or postgresql://")
