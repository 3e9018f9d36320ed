"""Every branch of every driver is shown by a sample or a table: what no test reaches is either dead
or unproven, and money is read in these modules.
"""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.timeout(900)
def test_drivers_have_no_branch_that_no_test_takes(tmp_path: Path) -> None:
    left_out = (HERE / "test_coverage.py", HERE / "test_mangled.py")
    command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:xdist"]
    command += ["-p", "no:cacheprovider", "--cov=drivers", "--cov-branch", "--cov-fail-under=100"]
    command += ["--cov-report=term-missing:skip-covered"]
    command += [f"--ignore={path}" for path in left_out]

    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"COVERAGE_FILE": str(tmp_path / "coverage"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:]
