"""What every private test server has in common: a port, a folder, a process, and an end."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

import psutil

FIRST_PORT, PART, PARTS = 20_000, 3_000, 4
KEEPER = Path(__file__).with_name("keeper.py")
_STILL = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})


class ServerError(Exception):
    """A test server cannot be found, started or stopped. Never a reason to skip a test."""


class Kept:
    """One process under a keeper (see keeper.py)."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        user: str = "",
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._stop_signal = stop_signal
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", KEEPER, folder, user, str(int(stop_signal)), *command],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout
        self.pid = int(self._keeper.stdout.readline() or 0)
        if not self.pid:
            raise ServerError(f"cannot run {command[0]}")

    @property
    def alive(self) -> bool:
        return self._keeper.poll() is None

    def send(self, number: signal.Signals, *, children: bool = False) -> None:
        for member in self._family(children=children):
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def freeze(self) -> None:
        """Stop every thread of it and its children: a signal is on its way for a moment, in which
        a server still answers.
        """
        self.send(signal.SIGSTOP, children=True)
        deadline = time.monotonic() + 10
        while any(map(_runs, self._family(children=True))):
            if time.monotonic() > deadline:
                raise ServerError("it does not stop at SIGSTOP")
            time.sleep(0.001)

    def _family(self, *, children: bool) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            return [process, *(process.children(recursive=True) if children else [])]
        return []

    def end(self, *, gently: bool, patience: float = 30) -> None:
        """End the process and wait until it has: politely first, or like a power cut."""
        self.send(signal.SIGCONT, children=True)
        if gently:
            self.send(self._stop_signal)
        else:
            self.send(signal.SIGKILL, children=True)
        try:
            self._keeper.wait(patience)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL, children=True)
            self._keeper.wait(patience)
        assert self._keeper.stdin
        assert self._keeper.stdout
        self._keeper.stdin.close()
        self._keeper.stdout.close()


def _runs(process: psutil.Process) -> bool:
    """Whether any thread is neither stopped nor gone."""
    threads = []
    with suppress(psutil.NoSuchProcess):
        threads = process.threads()
    for thread in threads:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(thread.id).status() not in _STILL:
                return True
    return False


class Server(ABC):
    """A real server of our own. `stop`, `start` and `restart` keep its port and its data.

    The calls block; in an async test wrap them in `asyncio.to_thread`.
    """

    variable: ClassVar[str]
    """The environment variable that names a server to use instead."""
    accounts: ClassVar[tuple[str, ...]] = ()
    """Who runs it when we are root: the first of these that exists."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    patience: ClassVar[float] = 60

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"comporta-{type(self).__name__.lower()}-"))
        self.user = self._account()
        self._process: Kept | None = None
        if self.user:
            shutil.chown(self.folder, self.user)
        try:
            self.prepare()
        except BaseException:
            self.close()
            raise

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def prepare(self) -> None:
        """Lay out the folder, once."""

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @abstractmethod
    def ready(self) -> bool: ...

    def environ(self) -> dict[str, str]:
        """What the server sees of our environment: nothing that could lead it astray."""
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": f"{path}:/usr/sbin:/sbin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def is_running(self) -> bool:
        return self._process is not None and self._process.alive

    def start(self) -> Self:
        """Start it unless it runs, and wait until it answers."""
        if self.is_running():
            self.resume()
            return self
        self._process = Kept(
            self.command(),
            folder=self.folder,
            environ=self.environ(),
            user=self.user,
            stop_signal=self.stop_signal,
        )
        if not eventually(lambda: not self.is_running() or self.ready(), self.patience):
            self.kill()
            raise ServerError(f"{self} did not answer in {self.patience} s:\n{self.log_tail()}")
        if not self.is_running():
            raise ServerError(f"{self} ended while it started:\n{self.log_tail()}")
        return self

    def stop(self) -> None:
        """Shut it down as its operator would."""
        if self._process:
            self._process.end(gently=True)
            self._process = None

    def kill(self) -> None:
        """`kill -9`, the crash."""
        if self._process:
            self._process.end(gently=False)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: it keeps its connections and answers nothing."""
        if self._process:
            self._process.freeze()

    def resume(self) -> None:
        if self._process:
            self._process.send(signal.SIGCONT, children=True)

    def close(self) -> None:
        """End it and forget its data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name: str, text: str) -> Path:
        """Make a file in the folder that the server may read and change."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        if self.user:
            shutil.chown(path, self.user)
        return path

    def run(self, *command: str | Path) -> str:
        """Run one of the server's own tools, as the server's user and in its environment."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ(),
            user=self.user or None,
            group=pwd.getpwnam(self.user).pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"{' '.join(map(str, command))}:\n{done.stdout}")
        return done.stdout

    def log_tail(self) -> str:
        log = self.folder / "server.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else "(no log)"

    def __str__(self) -> str:
        return f"{type(self).__name__} on port {self.port}"

    def _account(self) -> str:
        if os.geteuid() != 0 or not self.accounts:
            return ""
        known = {entry.pw_name for entry in pwd.getpwall()}
        for name in self.accounts:
            if name in known:
                return name
        raise ServerError(f"none of the users {', '.join(self.accounts)} exists")


def free_port() -> int:
    """A port nobody listens on: outside the range from which the kernel picks for clients, and in
    a part of its own for each test worker, so that nobody takes it before it is bound.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST_PORT + worker % PARTS * PART
    for _ in range(100):
        port = first + secrets.randbelow(PART)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError(f"no free port between {first} and {first + PART}")


def eventually(condition: Callable[[], bool], patience: float) -> bool:
    """Whether the condition came true before our patience ran out."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def converse(port: int, say: bytes, expect: bytes) -> bool:
    """Whether a server on this port answers these first bytes with those."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(say)
            return expect in connection.recv(4096)
    except OSError:
        return False
