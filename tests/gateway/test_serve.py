"""Starting and ending the server: one process, and several that share a port."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.deliveries import SECRET, kiwify
from tests.e2e.program import KEY, SECRET_KEYS, Program, program
from tests.gateway.command import comporta, of
from tests.gateway.pipeline import answering, eventually, ids
from tests.sinks.receiver import receiving, until
from tests.sinks.tls import self_signed
from tests.test_architecture import ROOT

WORKERS = 2


@pytest.fixture
async def several(tmp_path: Path, postgres_db: str) -> AsyncIterator[Program]:
    async with program(tmp_path, STORE=postgres_db, WORKERS=str(WORKERS)) as running:
        with no_orphans(tmp_path):
            await running.start()
            await until(lambda: len(workers(running)) == WORKERS)
            yield running


@contextmanager
def no_orphans(folder: Path) -> Iterator[None]:
    """Nothing that a test started outlives it, not even when the test fails. Its processes are
    known by their data folder: other tests run gateways at the same time.
    """
    try:
        yield
    finally:
        for process in [p for p in psutil.process_iter() if _serves(p, folder)]:
            process.kill()


def _serves(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("COMPORTA_DATA_DIR") == str(folder / "data")
    except psutil.Error:
        return False


def workers(running: Program) -> list[psutil.Process]:
    assert running.process
    try:
        return psutil.Process(running.process.pid).children()
    except psutil.NoSuchProcess:
        return []


async def answers(running: Program) -> bool:
    return (await running.call("GET", "/readyz")).status == 200


async def test_a_worker_that_dies_is_replaced(several: Program) -> None:
    first = workers(several)[0]

    first.kill()
    await until(lambda: len(workers(several)) == WORKERS and first not in workers(several))

    await eventually(lambda: answers(several))
    assert "worker.died" in several.log
    assert await several.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_all_workers_end_cleanly_together(several: Program, number: int) -> None:
    served = workers(several)

    assert await several.end(number) == 0

    assert [p for p in served if p.is_running()] == []
    assert several.log.count("gateway.stopped") == WORKERS
    assert "worker.died" not in several.log


async def launch(running: Program, *, new_session: bool = False) -> asyncio.subprocess.Process:
    """Start it without waiting for it."""
    environ = {"DATA_DIR": str(running.folder / "data"), "PORT": str(running.port)}
    environ |= {"API_KEY": KEY, "SECRET_KEYS": SECRET_KEYS} | running.environ
    with (running.folder / "program.log").open("ab") as log:
        running.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "serve"),
            env=os.environ | {f"COMPORTA_{k}": v for k, v in environ.items()},
            stdout=log,
            stderr=log,
            start_new_session=new_session,
        )
    return running.process


async def test_ctrl_c_which_reaches_everybody_is_heard_once(
    tmp_path: Path, postgres_db: str
) -> None:
    """A terminal signals the whole group: twice would mean "now"."""
    async with program(tmp_path, STORE=postgres_db, WORKERS=str(WORKERS)) as running:
        with no_orphans(tmp_path):
            process = await launch(running, new_session=True)
            await until(lambda: running.log.count("gateway.started") >= WORKERS, patience=90)

            os.killpg(process.pid, signal.SIGINT)

            assert await asyncio.wait_for(process.wait(), 30) == 0
        assert running.log.count("gateway.stopped") == WORKERS


async def test_workers_end_with_their_supervisor(several: Program) -> None:
    served = workers(several)

    await several.kill()

    await until(lambda: not any(p.is_running() for p in served))
    assert several.log.count("gateway.stopped") == WORKERS


async def test_workers_that_cannot_start_are_not_started_for_ever(
    tmp_path: Path, unused_store: str
) -> None:
    async with program(tmp_path, STORE=unused_store, WORKERS=str(WORKERS)) as running:
        with no_orphans(tmp_path):
            process = await launch(running)

            assert await asyncio.wait_for(process.wait(), 30) == 1

        assert "comporta: worker: " in running.log


ADOPTED = """
import os, signal, time
from gateway.supervisor import Supervisor

if os.fork() == 0:
    os._exit(0)  # nobody's child but its: what process 1 of a container inherits

def work(alive):
    time.sleep(0.3)
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(30)

raise SystemExit(Supervisor(1, work).run())
"""


async def test_a_supervisor_buries_orphans_that_are_not_its_own() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ADOPTED, cwd=ROOT)

    assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.fixture
def unused_store() -> str:
    return "postgresql://nobody@127.0.0.1:1/nothing"


async def test_sigterm_while_starting_ends_it_cleanly(tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        await launch(running)
        await until((tmp_path / "data" / "comporta.db").exists)

        assert await running.end(signal.SIGTERM) in {0, -signal.SIGTERM}

        await running.start()
        assert await answers(running)


async def test_a_second_signal_means_now(tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        await running.start()
        assert running.process
        running.process.send_signal(signal.SIGSTOP)
        running.process.send_signal(signal.SIGTERM)
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGCONT)

        assert await asyncio.wait_for(running.process.wait(), 10) in {0, 1}


async def test_a_stop_ends_in_time_whatever_a_receiver_does_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with program(tmp_path, DELIVERY_TIMEOUT="60") as running, receiving() as receiver:
        receiver.answer = answering(200, after=60)
        await running.start()
        await running.webhook("loja-1", receiver.url)
        shop = await running.install("kiwify", "loja-1", SECRET)
        answer = await kiwify(1).post(running, shop["ingest_url"])
        await until(lambda: len(receiver.got) == 1)
        began = time.monotonic()

        assert await running.end() == 0

        assert time.monotonic() - began < 25
        receiver.answer = answering(200)
        await running.start()
        await until(lambda: len(receiver.got) == 2)
        assert ids(receiver) == [answer.json["events"][0]["id"]] * 2


async def test_the_admin_key_is_shown_once(tmp_path: Path) -> None:
    async with program(tmp_path, API_KEY="") as running:
        await running.start()
        assert await running.end() == 0
        await running.start()
        assert await running.end() == 0

        key = (tmp_path / "data" / "admin.key").read_text().strip()
        assert running.log.count(key) == 1


async def test_it_serves_https_and_the_command_line_trusts_that_certificate(
    tmp_path: Path,
) -> None:
    _, certificate = self_signed(tmp_path, "gate.example")
    files = {"TLS_CERT": str(certificate), "TLS_KEY": str(tmp_path / "key.pem")}
    async with program(tmp_path, **files) as running:
        await launch(running)
        await until(lambda: "gateway.started" in running.log)

        listed = await comporta("keys", "list", **of(running, **files))
        doctor = await comporta("doctor", **of(running, **files))

        assert (listed.status, listed.err) == (0, "")
        assert f"ready at https://127.0.0.1:{running.port}" in doctor.out
