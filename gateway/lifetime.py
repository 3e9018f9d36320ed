"""What goes on in a process between its start and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from aiohttp import web

from gateway.background import forever
from gateway.retention import Ages, Retention
from gateway.services import SERVICES, Services

DRAIN_SECONDS = 13.0  # for what is in flight; with everything after it less than 25 s
REFRESH_SECONDS = 6.0  # for providers that were asked for a token
FLUSH_SECONDS = 2.0


def start(services: Services) -> list[asyncio.Task[None]]:
    """Begin the background work of this process."""
    loop = asyncio.get_running_loop()
    services.store.listen(partial(_deliveries_heard, services))
    services.directory.on_change(partial(_configured, services))
    services.alarm_sources.attach(services.notices, services.standing, services.drift)
    services.dispatcher.start()
    services.dispatcher.wake()
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "circuits": services.circuits.run,
        "alarms": services.alarms.run,
        "alarms.backlog": partial(
            services.alarm_sources.watch,
            services.dispatcher,
            services.settings.alert_backlog_age,
        ),
        "pressure": services.pressure.watch,
        "jobs": services.jobs.run,
        "drift": services.drift.run,
        "key_use": services.key_use.run,
        "callers": services.callers.run,
        "retention": _retention(services).run,
        "polls": services.polls.ensure_all,
        "subscriptions": services.subscriptions.ensure_all,
        "refreshes": services.refreshes.ensure_all,
        "checks": services.checks.ensure_all,
        "standing": services.standing.watch,
        "push.tell": services.hub.tell,
        "push.repeat": services.hub.repeat,
        "push.watch": services.hub.watch,
    }
    return [loop.create_task(forever(name, run)) for name, run in work.items()]


def _retention(services: Services) -> Retention:
    settings = services.settings
    ages = Ages(
        all=settings.retention_days, payloads=settings.payload_days, seen=settings.dedupe_days
    )
    return Retention(services.store, services.registry, ages, services.ids, services.now)


def _deliveries_heard(services: Services, topic: str, _payload: str) -> None:
    """Deliveries are due that this process did not store."""
    if topic == "deliveries":
        services.dispatcher.wake()


def _configured(services: Services, kind: str, ident: str) -> None:
    """An installation that may want to be polled, or its token to be renewed."""
    installation = services.directory.installation(ident) if kind == "installation" else None
    if installation is None:
        services.provider_api.forget(ident)
    else:
        services.errands.run("poll.ensure", services.polls.ensure(installation))
        services.errands.run("subscribe.ensure", services.subscriptions.ensure(installation))
        services.errands.run("refresh.ensure", services.refreshes.ensure(installation))
        services.errands.run("check.ensure", services.checks.ensure(installation))


async def drain(app: web.Application) -> None:
    """Refuse what is new while what is in flight ends; send listeners away, who would not go."""
    services = app[SERVICES]
    services.pressure.draining = True
    await services.hub.close()
    if services.socket_io is not None:
        await services.socket_io.close()


async def stop(services: Services, tasks: list[asyncio.Task[None]]) -> None:
    """End the background work, and what is in flight as far as it takes no longer than it may."""
    services.pressure.draining = True
    await services.jobs.close()
    await services.dispatcher.stop(DRAIN_SECONDS)
    await services.refreshes.close(REFRESH_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await services.errands.close()
    await services.circuits.close()
    with suppress(TimeoutError):  # what is not written are counters of the last seconds
        async with asyncio.timeout(FLUSH_SECONDS):
            await services.drift.flush()
            await services.key_use.flush()
            await services.alarms.close()
    await services.egress.close()
    if services.tracing is not None:
        await asyncio.to_thread(services.tracing.close)
