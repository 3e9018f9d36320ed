"""Running the server: one process, or several that share a PostgreSQL store and one port."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import uvloop
from aiohttp import hdrs, web

from gateway import log
from gateway.answers import Answer, error_answer, unforeseen
from gateway.api.headers import protection
from gateway.app import build
from gateway.arrival import Arrival
from gateway.bootstrap import Keys, ensure_keys
from gateway.doorway import Doorway
from gateway.services import SERVICES, Services
from gateway.settings import Settings, SettingsError
from gateway.supervisor import Supervisor
from gateway.version import VERSION

KEEP_ALIVE = 15.0  # also for a request line and headers that trickle in
LINGER_SECONDS = 2.0  # for what a client sends after its answer
SHUTDOWN_SECONDS = 3.0  # for requests that are being served
OVERDUE_SECONDS = 24.5  # after which a stop that hangs is cut short: leases run out by themselves
BACKLOG = 1024


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit status."""
    log.configure(settings.log_level, settings.log_format)
    _check_files(settings)
    keys = ensure_keys(settings, os.urandom)
    if keys.is_new:
        print(
            f"admin API key (kept in {settings.data_dir / 'admin.key'}): {keys.admin_key}\n"
            f"sign in with it at {settings.base_url}/portal",
            flush=True,
        )
    if settings.workers == 1:
        return run_worker(settings, keys)
    return Supervisor(settings.workers, partial(run_worker, settings, keys)).run()


def _check_files(settings: Settings) -> None:
    """Say which file cannot be read: what TLS says of it names none."""
    for name in ("tls_cert", "tls_key", "ca_file"):
        path = getattr(settings, name)
        if path and not os.access(path, os.R_OK):
            raise SettingsError(f"COMPORTA_{name.upper()}: {path} cannot be read")


def run_worker(settings: Settings, keys: Keys, parent: int | None = None) -> int:
    """One serving process. `parent`: a pipe that ends with the supervisor."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, keys, parent))


async def _serve(settings: Settings, keys: Keys, parent: int | None) -> int:
    stop = asyncio.Event()
    _listen_for_the_end(stop, parent)
    async with served(build(settings, keys), settings):
        _settle_memory()
        log.get().info("gateway.started", host=settings.host, port=settings.port, version=VERSION)
        await stop.wait()
        log.get().info("gateway.stopping")
    log.get().info("gateway.stopped")
    return 0


@asynccontextmanager
async def served(
    app: web.Application, settings: Settings, *, within: float = SHUTDOWN_SECONDS
) -> AsyncIterator[asyncio.Server]:
    """The application behind its listening socket. At the end what is being served is given
    `within` seconds.
    """
    runner = _runner_of(app, within)
    await runner.setup()
    doorway = None
    try:
        doorway = _doorway(app, runner)
        server = await asyncio.get_running_loop().create_server(
            doorway,
            settings.host,
            settings.port,
            ssl=_tls(settings),
            backlog=BACKLOG,
            reuse_port=settings.workers > 1 or None,
        )
        yield server
        server.close()
    finally:
        if doorway is not None:
            await doorway.close(within)
        await runner.cleanup()


def _doorway(app: web.Application, runner: web.AppRunner) -> Doorway:
    server, services = runner.server, app[SERVICES]
    assert server is not None  # noqa: S101 - set up
    headers = protection(services.settings)
    if services.settings.cors_origins:
        headers[hdrs.VARY] = hdrs.ORIGIN
    return Doorway(
        partial(_deliver, services),
        server,
        headers,
        most=services.settings.max_body,
        idle=KEEP_ALIVE,
        now=time.time,
    )


async def _deliver(services: Services, arrival: Arrival) -> Answer:
    """The answer to a delivery, whatever happens."""
    try:
        return await services.ingress.handle(arrival)
    except Exception:  # noqa: BLE001 - whatever it is, the provider gets an answer and we a trace
        ident = services.ids()
        path = "/hooks/{driver}/{token}"
        log.get().exception("request.failed", error_id=ident, method=arrival.method, path=path)
        return error_answer(unforeseen(ident), id=ident)


def _settle_memory() -> None:
    """Keep the collector from walking what was loaded at the start, over and over: events leave few
    cycles behind, and none that grow.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


def _runner_of(app: web.Application, shutdown_seconds: float) -> web.AppRunner:
    """How the application is served: bodies as they come, and nobody waits for a slow client."""
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=KEEP_ALIVE,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=shutdown_seconds,
    )


def _listen_for_the_end(stop: asyncio.Event, parent: int | None) -> None:
    """Have `stop` set by a signal, or by the end of the supervisor."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(1)  # asked twice: now
        stop.set()
        loop.call_later(OVERDUE_SECONDS, _cut_short)

    for number in (signal.SIGTERM, signal.SIGINT) if parent is None else (signal.SIGTERM,):
        loop.add_signal_handler(number, asked)
    if parent is not None:

        def orphaned() -> None:
            loop.remove_reader(parent)
            asked()

        loop.add_reader(parent, orphaned)


def _cut_short() -> None:
    log.get().error("gateway.stop_overdue", seconds=OVERDUE_SECONDS)
    asyncio.get_running_loop().call_soon(os._exit, 1)  # behind the line


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context
