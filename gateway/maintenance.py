"""What an operator runs beside the server: migrations, and a check of everything."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version

from gateway.admin_client import AdminClient, AdminError
from gateway.app import wall_clock
from gateway.bootstrap import ensure_keys
from gateway.ids import Ulids
from gateway.settings import Settings, SettingsError
from gateway.store import open_store
from gateway.store.base import Store
from gateway.store.migrate import Engine, available
from schemas.errors import ComportaError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    ok: bool
    detail: str


async def migrate(settings: Settings) -> str:
    """Open the store, which brings it up to date; gives a line for people."""
    store = await _open(settings)
    await store.close()
    engine: Engine = "postgres" if settings.is_postgres else "sqlite"
    return f"the store is at version {available(engine)[-1].version}"


async def _open(settings: Settings) -> Store:
    if not settings.is_postgres:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    node = Ulids(wall_clock, os.urandom)()
    return await open_store(settings.store_url, node=node, lease_seconds=settings.lease_seconds)


async def examine(settings: Settings) -> list[Finding]:
    """Every check, the cheap ones first."""
    told = f"comporta {version('comporta')}, {settings.base_url}"
    findings = [Finding("settings", ok=True, detail=told)]
    running = _running(settings)
    findings.append(running)
    for subject, look in (("keys", _keys), ("store", _store)):
        if subject == "store" and running.ok and not settings.is_postgres:
            told = "served by the running gateway, which is ready"
            findings.append(Finding("store", ok=True, detail=told))
            continue
        findings.append(await _look(subject, look, settings))
    return findings


async def _look(
    subject: str, look: Callable[[Settings], Awaitable[str]], settings: Settings
) -> Finding:
    try:
        return Finding(subject, ok=True, detail=await look(settings))
    except (ComportaError, SettingsError, OSError, ValueError) as error:
        return Finding(subject, ok=False, detail=str(error))


async def _keys(settings: Settings) -> str:
    ensure_keys(settings, os.urandom)
    return "the admin key and the encryption key are there"


async def _store(settings: Settings) -> str:
    store = await _open(settings)
    try:
        await store.check()
    finally:
        await store.close()
    return "takes writes, migrations are current"


def _running(settings: Settings) -> Finding:
    try:
        client = AdminClient.of(settings)
    except AdminError:
        client = AdminClient(f"http://{settings.host}:{settings.port}", "")
    try:
        with urllib.request.urlopen(f"{client.base_url}/readyz", timeout=3):  # noqa: S310 - our own address
            return Finding("gateway", ok=True, detail=f"ready at {client.base_url}")
    except urllib.error.HTTPError as error:
        said = error.read(200).decode(errors="replace")
        return Finding(
            "gateway", ok=False, detail=f"at {client.base_url} answers {error.code}: {said}"
        )
    except OSError:
        return Finding("gateway", ok=True, detail=f"not running at {client.base_url}")
