"""`pip install .` gives a program that works away from this repository."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.program import program
from tests.test_architecture import PACKAGES, ROOT

PAGES = (
    "/portal",
    "/docs",
    "/openapi.json",
    "/asyncapi.json",
    "/schemas/order.paid.json",
    "/readyz",
)

# What is built once serves all of them.
pytestmark = pytest.mark.xdist_group("wheel")
# What is not ours to ship: caches, and what an editor leaves behind.
LEFT_OUT = {".pyc", ".pyo"}


def wheel_of(source: Path, folder: Path) -> Path:
    """Built by the declared back end, with what this environment has."""
    words = ["pip", "wheel", str(source), "--no-deps", "--no-build-isolation", "--no-index"]
    _run([sys.executable, "-m", *words, "--quiet", "--wheel-dir", str(folder)])
    [built] = folder.glob("comporta-*.whl")
    return built


def shipped(wheel: Path) -> set[str]:
    return {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}


def files_of_the_packages() -> set[str]:
    """Templates, pages, samples, migrations and types beside the code."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in LEFT_OUT
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_of(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def comporta(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a fresh environment. What it depends on is taken from this one: a `.pth` adds
    the folder of packages, and not what is installed there as editable.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    _run([
        sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index",
        "--quiet", str(wheel),
    ])  # fmt: skip  # one command
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "comporta"


def _run(words: list[str], cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """What a command prints; it must work."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=100, check=False, cwd=cwd, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(command: Path, *words: str, folder: Path) -> str:
    """In an empty folder with no settings."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("COMPORTA_", "PYTHON"))}
    return _run([str(command), *words], cwd=folder, env=environ)


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    ours = files_of_the_packages()
    assert {n for n in ours if n.endswith(".sql")}
    assert shipped(wheel) == ours


def test_the_installed_program_delivers(comporta: Path, tmp_path: Path) -> None:
    assert "It all happened" in run(comporta, "demo", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_installed_program_is_the_wheels(comporta: Path, tmp_path: Path) -> None:
    python, code = comporta.with_name("python"), "import gateway; print(gateway.__file__)"
    assert run(python, "-c", code, folder=tmp_path).startswith(str(comporta.parents[1]))
    assert "shopify/orders_paid" in run(comporta, "send", "--list", folder=tmp_path)
    assert "woocommerce" in run(comporta, "drivers", folder=tmp_path)


async def test_the_installed_program_serves_its_pages(comporta: Path, tmp_path: Path) -> None:
    async with program(tmp_path) as running:
        running.command = (str(comporta),)
        await running.start()
        for path in PAGES:
            answer = await running.call("GET", path)
            assert (answer.status, bool(answer.body)) == (200, True), path
        page = (await running.call("GET", "/docs")).body.decode()
        for asset in set(re.findall(r'(?:src|href)="(/[^"#?]+\.(?:js|css|svg))', page)):
            assert (await running.call("GET", asset)).status == 200, asset
