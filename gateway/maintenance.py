"""What an operator runs beside the server: migrations, and a check of everything."""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.client import HTTPException

from gateway.admin_client import local_url, opener
from gateway.app import wall_clock
from gateway.bootstrap import kept_keys
from gateway.ids import Ulids
from gateway.security import SecretsError, Vault
from gateway.settings import Settings, SettingsError
from gateway.store import open_store
from gateway.store.base import Store
from gateway.store.migrate import Engine, available
from gateway.version import VERSION
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
        settings.sqlite_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    node = Ulids(wall_clock, os.urandom)()
    try:
        return await open_store(settings.store_url, node=node, lease_seconds=settings.lease_seconds)
    except ValueError as error:
        raise SettingsError(f"COMPORTA_STORE: {error}") from None


async def examine(settings: Settings) -> list[Finding]:
    """Every check, the cheap ones first. Nothing is made that was not there."""
    told = f"comporta {VERSION}, {settings.base_url}"
    findings = [Finding("settings", ok=True, detail=told)]
    findings.append(await _look("keys", _keys, settings))
    running = _running(settings)
    findings.append(running or Finding("gateway", ok=True, detail="not running"))
    if running is None or settings.is_postgres:
        findings.append(await _look("store", _store, settings))
    return findings


async def _look(
    subject: str, look: Callable[[Settings], Awaitable[str]], settings: Settings
) -> Finding:
    try:
        return Finding(subject, ok=True, detail=await look(settings))
    except (ComportaError, SettingsError, SecretsError, OSError) as error:
        return Finding(subject, ok=False, detail=str(error))


async def _keys(settings: Settings) -> str:
    sealed, admin = kept_keys(settings)
    if sealed is not None:
        Vault([key.strip() for key in sealed.split(",") if key.strip()])
    if sealed is None or admin is None:
        return "the first start will make them"
    return "the admin key and the encryption key are there"


async def _store(settings: Settings) -> str:
    if not settings.is_postgres and not settings.sqlite_path.exists():
        return "the first start will make it"
    store = await _open(settings)
    try:
        await store.check()
    finally:
        await store.close()
    return "takes writes, migrations are current"


def _running(settings: Settings) -> Finding | None:
    """How the gateway answers, which uses the store; None when there is none."""
    url = local_url(settings)
    try:
        with opener(settings.tls_cert).open(f"{url}/readyz", timeout=3):
            return Finding("gateway", ok=True, detail=f"ready at {url}")
    except urllib.error.HTTPError as error:
        said = error.read(200).decode(errors="replace")
        return Finding("gateway", ok=False, detail=f"at {url} answers {error.code}: {said}")
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
            return None
        return Finding("gateway", ok=False, detail=f"at {url} does not answer: {error}")
