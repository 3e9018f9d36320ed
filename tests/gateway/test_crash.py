"""Crash points: the process ends there, as if it were killed."""

import re
import subprocess
import sys

import pytest

from gateway.crash import EXIT_CODE, POINTS
from tests.test_architecture import ROOT

CODE = """
import atexit
from gateway.crash import crash_at
atexit.register(lambda: print("cleaned up", flush=True))
crash = crash_at({point!r})
try:
    for number in range(5):
        print(number, flush=True)
        crash("here")
        crash("elsewhere")
finally:
    print("unwound", flush=True)
"""


def run(point: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(point=point)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(("point", "passed"), [("here", 1), ("here:0", 1), ("here:3", 4)])
def test_it_ends_at_its_point_without_any_cleaning_up(point: str, passed: int) -> None:
    assert run(point) == (EXIT_CODE, [str(n) for n in range(passed)])


@pytest.mark.parametrize("point", ["", "nowhere", "her", "here:99"])
def test_it_does_nothing_anywhere_else(point: str) -> None:
    assert run(point) == (0, ["0", "1", "2", "3", "4", "unwound", "cleaned up"])


def test_the_program_passes_every_point_that_has_a_name() -> None:
    files = (ROOT / "gateway").rglob("*.py")
    passed = [name for f in files for name in re.findall(r'crash\("(\w+)"\)', f.read_text())]
    assert set(passed) == set(POINTS)
    assert len(POINTS) == len(set(POINTS)) >= 12
