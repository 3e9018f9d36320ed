"""The way to a receiver, and its name, are gone: the other half of row 24."""

import os
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.program import Program
from tests.faults.conftest import Scene
from tests.faults.provider import Provider
from tests.faults.proxy import proxy_to
from tests.store.waiting import until

NAME = "receiver.test"
DEAD = "127.0.0.253"  # an address of this machine where no name server answers
# A mount namespace of the program's own, with its own name server and its own table of hosts.
OWN_NAMES = """
mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"
"""


@pytest.mark.fault(24)
async def test_a_receiver_behind_a_bad_line(node: Program, scene: Scene) -> None:
    """Slow, narrow, reset in mid answer, refused, silent: all arrives when the line is well."""
    await node.start(DELIVERY_TIMEOUT="1")
    async with proxy_to(scene.witness.url) as line:
        provider = await scene.provider(node, url=line.url)
        tries, recovery = scene.pick(1, 10), 0.0
        for _ in range(tries):
            with scene.ledger.fault():
                line.latency, line.bandwidth = 0.02, 100_000
                await provider.tell_all(next_ten(provider))
                line.cut_all()
                line.refusing = True
                await provider.tell_all(next_ten(provider))
                line.refusing = False
                line.silence()
                await provider.tell_all(next_ten(provider))
                line.cut_all()
                line.heal()
                healed = time.monotonic()
                await scene.all_arrived()
            recovery = max(recovery, time.monotonic() - healed)
        assert set(provider.answers) == {200}
        found = await scene.audit(node)
        assert not found.dead
        note = "node and receiver"
        scene.report("partition", found, tries=tries, recovery=recovery, note=note)
        await node.end()


def next_ten(provider: Provider) -> list[int]:
    return [provider.fresh() for _ in range(10)]


@pytest.mark.fault(24)
async def test_names_that_nobody_resolves_burn_no_tries(
    node: Program, scene: Scene, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    how = give_own_names(node, tmp_path, hosts)
    with silent_name_server():
        await node.start(ALLOW_TARGETS=f"127.0.0.0/8,{NAME}")
        provider = await scene.provider(node, url=scene.witness.url.replace("127.0.0.1", NAME))
        with scene.ledger.fault():
            number = await provider.insist()
            tries = await tried(node, scene.ledger.acknowledged[f"order-{number:06d}"])
            assert tries["attempts"][0]["error"].startswith("dns")
            assert tries["attempts_made"] == 0
            hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
            healed = time.monotonic()
            await scene.all_arrived()
        recovery = time.monotonic() - healed
    found = await scene.audit(node)
    assert not found.dead
    scene.report("dead DNS", found, recovery=recovery, note=f"no tries burnt; {how}")
    await node.end()


def give_own_names(node: Program, folder: Path, hosts: Path) -> str:
    """Have the program resolve names as this file says; gives how, where that may be refused."""
    servers = folder / "resolv.conf"
    servers.write_text(f"nameserver {DEAD}\noptions timeout:1 attempts:1\n")
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    own = ("unshare", *as_root, "--mount", "sh", "-c", OWN_NAMES, "sh", str(servers), str(hosts))
    with suppress(OSError):
        if subprocess.run([*own, "true"], check=False, capture_output=True).returncode == 0:
            node.command = (*own, sys.executable, "-m", "gateway")
            return "a mount namespace"
    node.command = (sys.executable, "-m", "tests.faults.launcher")
    node.variables["FAULTS_HOSTS"] = str(hosts)
    return "by the launcher: mounting was refused"


def silent_name_server() -> Any:
    """One that hears and says nothing; where we may not be one, the port is closed."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with suppress(OSError):
        server.bind((DEAD, 53))
    return closing(server)


async def tried(node: Program, event_id: str) -> Any:
    """The delivery of an event, once it was tried."""
    found: list[Any] = []

    async def was_tried() -> bool:
        event = await node.data("GET", f"/processing/events/{event_id}")
        [delivery] = event["dispatches"]
        found[:] = [await node.data("GET", f"/processing/dispatches/{delivery['id']}")]
        return bool(found[0]["attempts"])

    await until(was_tried, 30)
    return found[0]
