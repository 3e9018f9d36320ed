"""Schemathesis against the running program and its own OpenAPI document.

`make fuzz` runs the long form, until its time is over: `make fuzz ARGS=600` for ten minutes.
"""

import asyncio
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.program import KEY, Program, program

# What must hold of any answer to any request.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
SOCKETS = "^/(socket.io|ws)"  # are no requests with an answer
SECONDS = 180


@dataclass
class Fuzzed:
    """`cases`: how many were tried. `said`: all that Schemathesis has to say."""

    status: int
    cases: int
    said: str


async def fuzz(server: Program, *options: str) -> Fuzzed:
    """One run against a program that is up."""
    command = Path(sys.executable).with_name("schemathesis")
    process = await asyncio.create_subprocess_exec(
        *(command, "run", f"{server.url}/openapi.json", "--url", server.url),
        *("-H", f"apikey: {KEY}", "--checks", ",".join(CHECKS)),
        *("--exclude-path-regex", SOCKETS, "--continue-on-failure", "--warnings", "off"),
        *("--request-timeout", "20", "--generation-database", "none", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=server.folder,
    )
    out, _ = await process.communicate()
    said = out.decode()
    found = re.search(r"(\d+) generated", said)
    return Fuzzed(process.returncode or 0, int(found[1]) if found else 0, said)


async def main(seconds: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with program(Path(folder)) as server:
            await server.start()
            phases = ("--phases", "coverage,fuzzing,stateful", "--max-time", str(seconds))
            fuzzed = await fuzz(server, *phases)
            failed = server.log.count("request.failed")
    print(fuzzed.said)
    print(f"{fuzzed.cases} cases, {failed} failures in the log")
    return fuzzed.status or bool(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)))
