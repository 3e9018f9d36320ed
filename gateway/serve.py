"""Running the server: one process, or several that share a PostgreSQL store and one port."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
from functools import partial

import uvloop
from aiohttp import web

from gateway import log
from gateway.app import build
from gateway.bootstrap import Keys, ensure_keys
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
    runner = runner_of(build(settings, keys), SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner,
            settings.host,
            settings.port,
            ssl_context=_tls(settings),
            backlog=BACKLOG,
            reuse_port=settings.workers > 1 or None,
        )
        await site.start()
        _settle_memory()
        log.get().info("gateway.started", host=settings.host, port=settings.port, version=VERSION)
        await stop.wait()
        log.get().info("gateway.stopping")
    finally:
        await runner.cleanup()
    log.get().info("gateway.stopped")
    return 0


def _settle_memory() -> None:
    """Keep the collector from walking what was loaded at the start, over and over: events leave few
    cycles behind, and none that grow.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


def runner_of(app: web.Application, shutdown_seconds: float) -> web.AppRunner:
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
    os._exit(1)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context
