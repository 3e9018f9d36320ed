"""A build hook, off unless asked for: machine code for what every delivery runs through.

mypyc compiles the drivers and the reading of JSON as they stand: `receive` takes half the time. The
sources stay beside it, for tracebacks; without its `.so` files the same wheel is interpreted again.
`make compile` builds that wheel; it fits the machine's Python and processor only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Not the exceptions, which say what they are by a docstring alone, and not what pydantic reads.
SCHEMAS = ("codec.py", "money.py")


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled modules to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the sources are to be run where they are edited."""
        if version == "editable":
            return
        folder = Path(self.root) / "build" / "compiled"
        for library in compiled(Path(self.root), folder):
            build_data["force_include"][str(library)] = str(library.relative_to(folder))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def compiled(root: Path, folder: Path) -> list[Path]:
    """The libraries made of the sources below `root`, each where its module belongs in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in ("drivers", "schemas"):
        shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("*.so"))
    modules = [p for p in sorted((folder / "drivers").glob("*.py")) if p.name != "__init__.py"]
    modules += [folder / "schemas" / name for name in SCHEMAS]
    names = [str(p.relative_to(folder)) for p in modules]
    subprocess.run([sys.executable, "-m", "mypyc", *names], cwd=folder, check=True)  # noqa: S603 — reason: our own files
    shutil.rmtree(folder / "build")
    return sorted(folder.rglob("*.so"))
