"""The systemd unit, judged by systemd's own tools."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.test_architecture import ROOT

UNIT = ROOT / "deploy" / "comporta.service"
MOST_EXPOSED = 2.0  # of 10, as `systemd-analyze security` counts
# What MemoryDenyWriteExecute= asks of the kernel (prctl(2), PR_SET_MDWE).
DENY_WRITE_EXECUTE = """
import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):
    sys.exit("this kernel has no PR_SET_MDWE")
os.execv(sys.executable, [sys.executable, "-m", "gateway", "demo"])
"""


def analyze(*words: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.fail("this test needs systemd-analyze: make services")
    done = subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_is_a_unit(tmp_path: Path) -> None:
    """Whatever is not understood is warned about. The program itself need not be installed."""
    text = UNIT.read_text()
    assert "ExecStart=/opt/comporta/bin/comporta serve\n" in text
    copy = tmp_path / "comporta.service"
    copy.write_text(text.replace("/opt/comporta/bin/comporta", sys.executable))
    assert analyze("verify", "--man=no", str(copy)) == ""


def test_it_is_hardened() -> None:
    told = analyze("security", "--offline=true", str(UNIT))
    found = re.search(r"exposure level for comporta.service: ([\d.]+)", told)
    assert found, told
    assert float(found[1]) <= MOST_EXPOSED


def test_its_environment_is_settings_of_ours() -> None:
    pairs = re.findall(r"^Environment=(COMPORTA_\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert str(Settings.load(dict(pairs)).data_dir) == "/var/lib/comporta"


def test_the_program_needs_no_memory_that_it_both_writes_and_executes() -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COMPORTA_")}
    done = subprocess.run(
        [sys.executable, "-c", DENY_WRITE_EXECUTE],
        capture_output=True, text=True, check=False, timeout=100, cwd=ROOT, env=environ,
    )  # fmt: skip  # one call
    if "no PR_SET_MDWE" in done.stderr:
        return  # Linux before 6.3: there is nothing to try it with
    assert done.returncode == 0, done.stderr
    assert "It all happened" in done.stdout
