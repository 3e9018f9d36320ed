"""What was being sent when a process died is known to the next one."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway.journal import DEATHS, REASON, SIZE, Journal
from tests.test_architecture import ROOT

IDS = [f"01hm6delivery00000000000{n:02d}" for n in range(3)]
DIE = """
import asyncio, os, sys
from pathlib import Path
from gateway.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]))
    journal.sending(sys.argv[3:])
    if sys.argv[2] == "later":
        await asyncio.sleep(0)
    os._exit(9)

asyncio.run(main())
"""


def die(folder: Path, when: str, *ids: str) -> None:
    command = [sys.executable, "-c", DIE, str(folder), when, *ids]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 9


def test_who_died_in_mid_send_is_told_of(tmp_path: Path) -> None:
    die(tmp_path, "now", *IDS)
    journal = Journal(tmp_path)
    assert journal.suspects == set(IDS)
    assert not journal.convicted
    journal.close()


def test_what_was_sent_already_is_not_suspected(tmp_path: Path) -> None:
    die(tmp_path, "later", *IDS)
    journal = Journal(tmp_path)
    assert not journal.suspects
    journal.close()


class Deliveries:
    """What is made of them. Only what a journal needs of a store."""

    def __init__(self) -> None:
        self.dead: list[Any] = []

    async def now(self) -> int:
        return 7

    async def write(self, _sql: str, *args: Any) -> list[tuple[Any, ...]]:
        self.dead.append(args)
        return [args]


async def test_three_deaths_convict_until_it_is_buried(tmp_path: Path) -> None:
    for ident in (IDS[1], *[IDS[0]] * DEATHS):
        die(tmp_path, "now", ident)
    Journal(tmp_path).close()  # whoever dies before it has buried it leaves that to the next
    journal = Journal(tmp_path)
    assert journal.convicted == (IDS[0],)
    journal.close()
    deliveries: Any = Deliveries()
    await journal.bury(deliveries)
    assert deliveries.dead == [(REASON, 7, IDS[0])]
    again = Journal(tmp_path)
    assert not again.convicted
    assert again.suspects == {IDS[1]}
    again.close()


async def test_who_lives_is_left_alone(tmp_path: Path) -> None:
    alive = Journal(tmp_path)
    alive.sending(IDS)
    other = Journal(tmp_path)
    assert not other.suspects
    other.close()
    alive.close()
    third = Journal(tmp_path)
    assert not third.suspects
    third.close()
    alive.close()  # twice is no harm


def size_of_the_mark(folder: Path) -> int:
    [mark] = folder.glob("*.mark")
    return mark.stat().st_size


async def test_any_number_of_ids_fits(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.sending(IDS * 200)
    assert size_of_the_mark(tmp_path) == SIZE
    journal.close()
    journal.sending(IDS)  # to nobody


def test_without_a_folder_it_does_nothing(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "file" / "below"):
        (tmp_path / "file").touch()
        journal = Journal(folder)
        assert not journal.suspects
        journal.sending(IDS)
        journal.close()


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "sending")
    assert stat.S_IMODE((tmp_path / "sending").stat().st_mode) == 0o700
    journal.close()
