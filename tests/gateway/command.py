"""Running the command line as a program of its own."""

import asyncio
import os
import sys
from dataclasses import dataclass

from tests.e2e.program import KEY, Program
from tests.test_architecture import ROOT


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


async def comporta(*words: str, **environ: str) -> Done:
    """Run the program to its end, with these COMPORTA_ variables and no others."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COMPORTA_")}
    ours = {f"COMPORTA_{k}": v for k, v in environ.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *words,
        cwd=ROOT,
        env=clean | ours,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


def is_one_line(done: Done, saying: str, status: int = 1) -> bool:
    """Whether it failed with this status and told why in one line."""
    line = done.err.removesuffix("\n")
    assert (done.status, "\n" in line) == (status, False), done
    return line.startswith("comporta: ") and saying in line


def of(gateway: Program, **more: str) -> dict[str, str]:
    """The settings by which commands find a gateway."""
    return {"PORT": str(gateway.port), "API_KEY": KEY, "DATA_DIR": str(gateway.folder / "d")} | more
