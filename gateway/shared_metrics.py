"""Metrics of several processes behind one port: whichever is asked tells what all of them counted.

prometheus_client does that through files in a folder named by an environment variable, which it
reads when it is first imported; so nothing here may import it.
https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_among(workers: int) -> Iterator[None]:
    """Let the processes that are forked inside count together. Must begin before anything that
    counts is imported.
    """
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="comporta-metrics-") as folder:
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def shared_folder() -> str | None:
    """Where the processes count together, None when this one counts alone."""
    return os.environ.get(VARIABLE)


def forget(pid: int) -> None:
    """A process has ended: what it had open (connections) is not there any more."""
    folder = shared_folder()
    for path in Path(folder).glob(f"gauge_live*_{pid}.db") if folder else ():
        path.unlink(missing_ok=True)
