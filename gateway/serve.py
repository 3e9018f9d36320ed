"""Running the server: one process, or several that share a PostgreSQL store and one port."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from contextlib import suppress

import uvloop
from aiohttp import web

from gateway import log
from gateway.app import build
from gateway.bootstrap import Keys, ensure_keys
from gateway.settings import Settings
from gateway.version import VERSION

KEEP_ALIVE = 15.0
SHUTDOWN_SECONDS = 5.0
BACKLOG = 1024


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit status."""
    log.configure(settings.log_level, settings.log_format)
    keys = ensure_keys(settings, os.urandom)
    if keys.is_new:
        print(
            f"admin API key (kept in {settings.data_dir / 'admin.key'}): {keys.admin_key}",
            flush=True,
        )
    if settings.workers == 1:
        return run_worker(settings, keys)
    return _supervise(settings, keys)


def run_worker(settings: Settings, keys: Keys) -> int:
    """One serving process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, keys))


async def _serve(settings: Settings, keys: Keys) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(
        build(settings, keys),
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=KEEP_ALIVE,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
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
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _asked_to_stop, stop)
        log.get().info("gateway.started", host=settings.host, port=settings.port, version=VERSION)
        await stop.wait()
        log.get().info("gateway.stopping")
    finally:
        await runner.cleanup()
    log.get().info("gateway.stopped")
    return 0


def _asked_to_stop(stop: asyncio.Event) -> None:
    """Once: finish what is in flight. Twice: now."""
    if stop.is_set():
        os._exit(1)
    stop.set()


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context


def _supervise(settings: Settings, keys: Keys) -> int:
    """Keep `workers` processes alive; stop them all when asked to."""
    children: set[int] = set()
    stopping: list[int] = []

    def stop(number: int, _frame: object) -> None:
        stopping.append(number)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping or children:
        while not stopping and len(children) < settings.workers:
            children.add(_fork(settings, keys))
        with suppress(InterruptedError, ChildProcessError):
            pid, status = os.wait()
            children.discard(pid)
            if not stopping:
                code = os.waitstatus_to_exitcode(status)
                log.get().error("worker.died", pid=pid, exit_code=code)
                if code == 2:
                    return _give_up(children)
    return 0


def _give_up(children: set[int]) -> int:
    """A worker that cannot start at all would only be started again for ever."""
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    return 1


def _fork(settings: Settings, keys: Keys) -> int:
    pid = os.fork()
    if pid:
        return pid
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        status = run_worker(settings, keys)
    except Exception as error:  # noqa: BLE001 - the child must end here, whatever happened
        print(f"comporta: worker: {error}", file=sys.stderr)
        status = 2
    os._exit(status)
