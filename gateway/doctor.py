"""`comporta doctor`: what a gateway needs, looked at one by one, and what to do where it lacks.

It only looks. Nothing is made, migrated or written, whether a gateway runs on these settings or
not.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import urllib.error
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from gateway.admin_client import local_url, opener
from gateway.bootstrap import kept_keys
from gateway.probes import Unreachable, brokers, clock_is_kept, public_answer
from gateway.security import SecretsError, Vault
from gateway.settings import Settings, SettingsError
from gateway.store.peek import peek_postgres, peek_sqlite
from gateway.upstream_env import overlooked
from gateway.version import VERSION
from schemas.errors import ComportaError

Level = Literal["ok", "warn", "fail"]
FREE_BYTES, LOW_BYTES = 256 << 20, 2 << 30
SKEW = 5.0  # seconds; signatures are refused from 300 on
LOOPBACK = "providers cannot reach this machine by it: set COMPORTA_PUBLIC_URL to a public address"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice`: what to do, empty where all is well."""

    subject: str
    level: Level
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at. `clock`: microseconds."""

    settings: Settings
    environ: Mapping[str, str]
    clock: Callable[[], int]


Look = Callable[[Patient], Awaitable[Finding]]


async def examine(patient: Patient) -> list[Finding]:
    """Every finding, what is nearest first."""
    findings = [_settings(patient), *_upstream(patient)]
    findings += [await _safely(*look, patient) for look in _LOOKS]
    found = await asyncio.to_thread(running, patient.settings)
    findings.append(found or Finding("gateway", "ok", "does not run"))
    if found is None or patient.settings.is_postgres:
        findings.append(await _safely("store", _store, patient))
    findings += [
        Finding(name, "fail" if trouble else "ok", trouble or "answers", advice)
        for name, trouble, advice in await brokers(patient.settings)
    ]
    if found is not None:
        findings.append(await _safely("public url", _public, patient))
    return findings


def as_lines(findings: list[Finding]) -> str:
    """For people."""
    lines: list[str] = []
    for finding in findings:
        mark = "FAIL" if finding.level == "fail" else finding.level
        lines.append(f"{mark:<4}  {finding.subject:<14} {finding.detail}")
        if finding.advice:
            lines.append(f"{'':<21}-> {finding.advice}")
    return "\n".join(lines)


def as_json_text(findings: list[Finding]) -> str:
    """For programs."""
    return json.dumps([asdict(finding) for finding in findings], ensure_ascii=False)


async def _safely(subject: str, look: Look, patient: Patient) -> Finding:
    try:
        finding = await look(patient)
    except (SettingsError, SecretsError) as error:
        return Finding(subject, "fail", str(error))
    except ComportaError as error:
        return Finding(subject, "fail", error.message, _STORE_ADVICE if subject == "store" else "")
    except OSError as error:
        return Finding(subject, "fail", str(error))
    return replace(finding, subject=subject)


def _settings(patient: Patient) -> Finding:
    url = patient.settings.base_url
    return Finding("settings", "ok", f"comporta {VERSION}, {url}")


def _upstream(patient: Patient) -> list[Finding]:
    return [
        Finding("evolution", "warn", f"{name} is not read", f"set {instead}")
        for name, _, instead in (line.partition(": ") for line in overlooked(patient.environ))
    ]


async def _keys(patient: Patient) -> Finding:
    settings = patient.settings
    sealed, admin = kept_keys(settings)
    if sealed is not None:
        Vault([key.strip() for key in sealed.split(",") if key.strip()])
    loose = [
        path.name
        for path in (settings.data_dir / "secret.key", settings.data_dir / "admin.key")
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if loose:
        names = " and ".join(loose)
        return Finding("", "fail", f"others can read {names}", f"chmod 600 {names}")
    if sealed is None or admin is None:
        return Finding("", "ok", "the first start will make them")
    return Finding("", "ok", "the admin key and the encryption key are there")


async def _disk(patient: Patient) -> Finding:
    """Room where the data is, or will be."""
    folder = patient.settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Finding("", "fail", f"{folder} cannot be written", "set COMPORTA_DATA_DIR")
    free = shutil.disk_usage(folder).free
    told = f"{free / (1 << 30):.1f} GiB free at {folder}"
    if free >= LOW_BYTES:
        return Finding("", "ok", told)
    advice = "make room, or shorten COMPORTA_RETENTION_DAYS"
    return Finding("", "fail" if free < FREE_BYTES else "warn", told, advice)


async def _clock(_: Patient) -> Finding:
    if clock_is_kept() is False:
        return Finding(
            "",
            "warn",
            "nothing keeps this machine's clock right",
            "run chrony or systemd-timesyncd: signatures carry the time",
        )
    return Finding("", "ok", "kept right, as far as this machine knows")


async def _store(patient: Patient) -> Finding:
    settings = patient.settings
    if not settings.is_postgres and not settings.sqlite_path.exists():
        return Finding("", "ok", "the first start will make it")
    if settings.is_postgres:
        try:
            peek = await peek_postgres(settings.store_url, patient.clock)
        except ValueError as error:
            raise SettingsError(f"COMPORTA_STORE: {error}") from None
    else:
        _writable(settings.sqlite_path)
        peek = await peek_sqlite(settings.sqlite_path)
    if abs(peek.ahead) > SKEW:
        told = f"our clock is {peek.ahead:+.0f} s off the store's"
        return Finding("", "fail", told, "set both by NTP")
    if peek.missing:
        told = f"at version {peek.version}, {peek.missing} migrations to come"
        return Finding("", "warn", told, "`comporta migrate`, or the next start, makes them")
    return Finding("", "ok", f"at version {peek.version}, nothing to migrate")


def _writable(path: Path) -> None:
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise SettingsError(f"{place} cannot be written by this user")


_STORE_ADVICE = "see COMPORTA_STORE, and deploy/operating.md for backups"
_LOOKS: tuple[tuple[str, Look], ...] = (("keys", _keys), ("disk", _disk), ("clock", _clock))


def running(settings: Settings) -> Finding | None:
    """How the gateway of these settings answers, which uses the store; None when there is none."""
    url = local_url(settings)
    try:
        with opener(settings.tls_cert).open(f"{url}/readyz", timeout=3):
            return Finding("gateway", "ok", f"ready at {url}")
    except urllib.error.HTTPError as error:
        said = error.read(200).decode(errors="replace")
        advice = "its log says more" if error.code == 503 else "another program has this port"
        return Finding("gateway", "fail", f"at {url} answers {error.code}: {said}", advice)
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
            return None
        advice = "another program has this port, or it hangs"
        return Finding("gateway", "fail", f"at {url} does not answer: {error}", advice)


async def _public(patient: Patient) -> Finding:
    """Whether the address we tell providers leads to us."""
    settings = patient.settings
    if not settings.public_url and settings.is_loopback:
        return Finding("", "warn", settings.base_url, LOOPBACK)
    try:
        skew = await asyncio.to_thread(public_answer, settings, patient.clock)
    except Unreachable as error:
        return Finding("", error.level, f"{settings.base_url} {error}", error.advice)
    if abs(skew) > 60:
        told = f"{settings.base_url} leads here; its clock is {-skew:+.0f} s off ours"
        return Finding("", "warn", told, "set the clocks by NTP: signatures carry the time")
    return Finding("", "ok", f"{settings.base_url} leads here")
