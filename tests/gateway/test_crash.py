"""Crash points: the process ends there, as if it were killed."""

import subprocess
import sys

import pytest

from gateway.crash import EXIT_CODE
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
