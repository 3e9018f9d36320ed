"""`comporta` in a world that a test can change: `python -m tests.faults.launcher serve`.

FAULTS_CLOCK names a file with the seconds that the wall clock is set by, as an operator or NTP sets
it: what passes goes on passing. FAULTS_HOSTS names a table of hosts, where a test may not give the
program one of its own: a name that it lacks is one that no server answers for.
"""

import mmap
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

FORM = struct.Struct("<q")


def set_clock(path: Path, seconds: int) -> None:
    """Set the clock of the program that was given this file; it must exist before it starts."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(FORM.pack(seconds))


def go_by_clock(path: Path) -> None:
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    real_time, real_time_ns = time.time, time.time_ns

    def set_by() -> int:
        return int(FORM.unpack_from(shared)[0])

    time.time = lambda: real_time() + set_by()
    time.time_ns = lambda: real_time_ns() + set_by() * 1_000_000_000


def go_by_hosts(path: Path) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **more: Any) -> Any:
        known = path.read_text().split()
        if isinstance(host, str) and host in known:
            return real("127.0.0.1", *args, **more)
        if isinstance(host, str) and host.endswith(".test"):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *args, **more)

    socket.getaddrinfo = getaddrinfo


def main() -> None:
    if clock := os.environ.pop("FAULTS_CLOCK", ""):
        go_by_clock(Path(clock))
    if hosts := os.environ.pop("FAULTS_HOSTS", ""):
        go_by_hosts(Path(hosts))
    from gateway.cli import main as comporta

    sys.argv[0] = "comporta"
    comporta()


if __name__ == "__main__":
    main()
