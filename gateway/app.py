"""The one place that wires things. Nothing happens at import; nothing is shared but what is
here.
"""

from __future__ import annotations

import asyncio
import os
import random as random_module
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

from aiohttp import web

from drivers import BY_SLUG
from gateway.accounts import Accounts, open_accounts
from gateway.alarm_sources import open_watch
from gateway.alerts import Announcer
from gateway.api import errors
from gateway.api.auth import register
from gateway.api.cors import admit, answer_preflights
from gateway.api.headers import protect
from gateway.api.open_door import refuse_strangers
from gateway.api.router import ROUTES
from gateway.background import Errands
from gateway.bootstrap import Keys
from gateway.callers import Callers
from gateway.chats import Chats
from gateway.crash import crash_at
from gateway.credential_check import CHECK, CredentialChecks
from gateway.deferral import Deferral
from gateway.delivery import Delivery, delivery
from gateway.directory import DEFAULT_TENANT, Directory
from gateway.dispatch import Dispatcher
from gateway.drift import Drift
from gateway.gauges import Gauges
from gateway.ids import Ulids
from gateway.ingress import Ingress
from gateway.intake import DEFER, Intake
from gateway.jobs import Jobs
from gateway.journal import Journal
from gateway.key_sets import KeySets
from gateway.key_use import KeyUse
from gateway.lifetime import drain, start, stop
from gateway.metrics import Metrics
from gateway.models import Tenant
from gateway.oauth_refresh import REFRESH
from gateway.outbound import Outbound, open_outbound
from gateway.pace import Paces
from gateway.parts import Parts
from gateway.portal.mount import mount as mount_portal
from gateway.pressure import Pressure
from gateway.provider_work import ProviderWork, open_provider_work
from gateway.replay import Replays
from gateway.security import EVERYTHING, Principal, digest
from gateway.services import SERVICES, Services
from gateway.settings import Settings, SettingsError
from gateway.shared_metrics import shared_folder
from gateway.sources import Sources
from gateway.store import open_store
from gateway.store.base import Store
from gateway.store.history import History
from gateway.store.registry import Registry
from gateway.version import VERSION
from schemas.errors import ConflictError, StoreUnavailableError

READ_AGAIN = 1.0  # seconds until a change that could not be read is read again


def wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def build(settings: Settings, keys: Keys) -> web.Application:
    """The application of one process. Its parts live from start-up to clean-up."""
    app = web.Application(middlewares=[answer_preflights, errors.answer_errors, refuse_strangers])
    register(app, ROUTES)
    app.cleanup_ctx.append(partial(_run, settings, keys))
    mount_portal(app)
    app.on_shutdown.append(drain)
    app.on_response_prepare.extend((admit, protect))
    return app


async def _run(settings: Settings, keys: Keys, app: web.Application) -> AsyncIterator[None]:
    """Open everything, run the background work, and close in reverse order."""
    metrics = Metrics(VERSION, shared_folder())
    metrics.expect(BY_SLUG)
    ids = Ulids(wall_clock, os.urandom)
    if not settings.is_postgres:
        settings.sqlite_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        store = await open_store(
            settings.store_url,
            node=ids(),
            lease_seconds=settings.lease_seconds,
            observe=metrics.stored,
            crash=crash_at(settings.crash_at),
        )
    except ValueError as error:
        raise SettingsError(f"COMPORTA_STORE: {error}") from None
    try:
        services = await wire(settings, keys, store, metrics, ids)
        app[SERVICES] = services
        tasks = start(services)
        try:
            yield
        finally:
            await stop(services, tasks)
    finally:
        await store.close()


class _Work(NamedTuple):
    """What goes on in the background."""

    replays: Replays
    jobs: Jobs
    checks: CredentialChecks


async def wire(
    settings: Settings, keys: Keys, store: Store, metrics: Metrics, ids: Ulids
) -> Services:
    """Every part, over an open store, with the configuration loaded."""
    registry = Registry(store.database, store.notify)
    parts = Parts(
        settings=settings,
        keys=keys,
        store=store,
        registry=registry,
        history=History(store.database),
        directory=Directory(registry, keys.vault),
        ids=ids,
        now=wall_clock,
        metrics=metrics,
    )
    errands = Errands()
    # First listen, then load: a change in between would never be heard of.
    store.listen(partial(_config_heard, parts.directory, errands))
    await _load(parts.directory)
    return await _services(parts, errands)


async def _services(parts: Parts, errands: Errands) -> Services:
    settings, store, metrics, ids = parts.settings, parts.store, parts.metrics, parts.ids
    out = open_outbound(parts)
    sending = await _delivery(parts, out)
    dispatcher = sending.dispatcher
    drift = Drift(parts.registry, metrics.drift, ids, parts.now)
    intake = Intake(store.log, parts.directory, dispatcher, drift, ids, observe=metrics.appended)
    pressure = _pressure(settings, store, dispatcher)
    sending.notices.listen(Announcer(intake, errands))
    accounts = open_accounts(parts, intake, out.egress)
    ingress = _ingress(parts, intake, pressure, out, accounts)
    watch = open_watch(parts, out.egress)
    providers = open_provider_work(parts, intake, out.egress, accounts.refreshes)
    work = _work(parts, intake, dispatcher, accounts, providers)
    return Services(
        settings=settings,
        store=store,
        registry=parts.registry,
        history=parts.history,
        directory=parts.directory,
        intake=intake,
        ingress=ingress,
        drift=drift,
        key_use=KeyUse(parts.directory),
        callers=Callers.of(parts),
        pressure=pressure,
        metrics=metrics,
        gauges=Gauges(parts, dispatcher, sending.circuits, time.monotonic),
        vault=parts.keys.vault,
        chats=Chats(store.database),
        ids=ids,
        now=parts.now,
        random=os.urandom,
        admin_digest=digest(parts.keys.admin_key),
        admin=Principal(DEFAULT_TENANT, "admin", "admin", frozenset({EVERYTHING})),
        errands=errands,
        **sending._asdict(),
        **out._asdict(),
        **work._asdict(),
        **providers._asdict(),
        **accounts._asdict(),
        **watch._asdict(),
    )


def _pressure(settings: Settings, store: Store, dispatcher: Dispatcher) -> Pressure:
    disk = None if settings.is_postgres else settings.sqlite_path.absolute().parent
    return Pressure(store, dispatcher, max_backlog=settings.max_backlog, disk=disk)


def _work(
    parts: Parts,
    intake: Intake,
    dispatcher: Dispatcher,
    accounts: Accounts,
    providers: ProviderWork,
) -> _Work:
    store, directory = parts.store, parts.directory
    replays = Replays(parts, intake, dispatcher)
    deferral = Deferral(parts.history, directory, intake)
    inside = {DEFER: deferral.run, replays.kind: replays.run}
    checks = CredentialChecks(parts, providers.provider_api, accounts.standing)
    outside = {**providers.runners, REFRESH: accounts.refreshes.run, CHECK: checks.run}
    jobs = Jobs(store.log, store.database, inside | outside, outside=tuple(outside))
    return _Work(replays, jobs, checks)


async def _delivery(parts: Parts, out: Outbound) -> Delivery:
    """The sending half. What too many processes died over is out of its way."""
    journal = Journal(parts.settings.data_dir / "sending")
    await journal.bury(parts.store.database)
    return delivery(parts, out.sink_context, journal)


def _ingress(
    parts: Parts, intake: Intake, pressure: Pressure, out: Outbound, accounts: Accounts
) -> Ingress:
    settings = parts.settings
    return Ingress(
        intake=intake,
        directory=parts.directory,
        pressure=pressure,
        metrics=parts.metrics,
        paces=Paces(settings.ingest_rate),
        max_body=settings.max_body,
        now=parts.now,
        monotonic=time.monotonic,
        random=random_module.random,
        key_sets=KeySets(out.egress, time.monotonic),
        standing=accounts.standing,
        source=Sources(settings.trusted_proxies).at,
        crash=crash_at(settings.crash_at),
        tracing=intake.tracing,
    )


async def _load(directory: Directory) -> None:
    """Read the configuration, and make the one tenant there always is."""
    await directory.load()
    if any(t.id == DEFAULT_TENANT for t in directory.tenants()):
        return
    try:
        await directory.save(
            "tenant", Tenant(id=DEFAULT_TENANT, tenant=DEFAULT_TENANT, name=DEFAULT_TENANT)
        )
    except ConflictError:
        await directory.refresh("tenant", DEFAULT_TENANT)


def _config_heard(directory: Directory, errands: Errands, topic: str, payload: str) -> None:
    """Something was configured somewhere."""
    if topic == "config":
        errands.run("config.read", _read(directory, payload))


async def _read(directory: Directory, payload: str) -> None:
    """Take in a change, `kind/id`, once the store lets us. Empty: any may have been missed."""
    kind, _, ident = payload.partition("/")
    while True:
        try:
            await (directory.refresh(kind, ident) if kind else directory.load())
        except StoreUnavailableError:
            await asyncio.sleep(READ_AGAIN)
        else:
            return
