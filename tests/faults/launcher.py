"""`comporta` on a machine whose wall clock a test can set: `python -m tests.faults.launcher serve`.

Only the wall clock is touched, as when an operator or NTP sets it; what passes goes on passing.
FAULTS_CLOCK names a file with the seconds that it is set by.
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path

FORM = struct.Struct("<q")


def set_clock(path: Path, seconds: int) -> None:
    """Set the clock of the program that was given this file; it must exist before it starts."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(FORM.pack(seconds))


def main() -> int:
    with Path(os.environ.pop("FAULTS_CLOCK")).open("rb") as file:
        shared = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    real_time, real_time_ns = time.time, time.time_ns

    def set_by() -> int:
        return int(FORM.unpack_from(shared)[0])

    time.time = lambda: real_time() + set_by()
    time.time_ns = lambda: real_time_ns() + set_by() * 1_000_000_000
    from gateway.cli import main as comporta

    sys.argv[0] = "comporta"
    comporta()
    return 0


if __name__ == "__main__":
    sys.exit(main())
