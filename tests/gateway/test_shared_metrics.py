"""Processes behind one port count together: whichever is asked, the sum is the same."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway.shared_metrics import VARIABLE, forget, shared_among, shared_folder
from tests.e2e.program import KEY, Program, program
from tests.gateway.test_serve import workers
from tests.sinks.receiver import until

COUNTED = re.compile(
    r'^comporta_ingress_requests_total\{driver="hotmart",outcome="not_found"\} (\S+)$', re.MULTILINE
)
ASKED = 40


async def alone(running: Program, method: str, path: str) -> tuple[int, str]:
    """One request on a connection of its own, so that any process may get it."""
    headers = {"apikey": KEY}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, running.url + path, headers=headers) as got,
    ):
        return got.status, await got.text()


async def test_whoever_is_asked_tells_for_all(tmp_path: Path, postgres_db: str) -> None:
    async with program(tmp_path, STORE=postgres_db, WORKERS="2") as running:
        await running.start()
        await until(lambda: len(workers(running)) == 2, patience=60)
        for _ in range(ASKED):
            assert (await alone(running, "POST", "/hooks/hotmart/nobody"))[0] == 404

        told = [(await alone(running, "GET", "/metrics"))[1] for _ in range(12)]

    assert [COUNTED.findall(text) for text in told] == [[f"{ASKED:.1f}"]] * len(told)
    for text in told:
        assert re.search(r"^comporta_websocket_connections 0\.0$", text, re.MULTILINE)
        assert "pid=" not in text


@pytest.fixture
def folder() -> Iterator[Path]:
    with shared_among(2):
        yield Path(shared_folder() or "")


def test_who_is_gone_has_nothing_open(folder: Path) -> None:
    for name in ("gauge_livesum_7.db", "gauge_livesum_77.db", "counter_7.db"):
        (folder / name).touch()
    forget(7)

    assert {p.name for p in folder.iterdir()} == {"gauge_livesum_77.db", "counter_7.db"}


def test_the_folder_is_there_as_long_as_it_is_needed() -> None:
    with shared_among(2):
        folder = Path(os.environ[VARIABLE])
        assert folder.is_dir()
    assert not folder.exists()
    with shared_among(1):
        assert shared_folder() is None
    forget(7)
