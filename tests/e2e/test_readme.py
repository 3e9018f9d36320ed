"""README.md does what it says: its first integration is run word by word, and what it names is
there.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from gateway.cli import app
from gateway.settings import variables
from tests.services import free_port
from tests.test_architecture import ROOT

READMES = ["README.md", "README.pt-BR.md"]
PAPERS = [
    *READMES,
    "CONTRIBUTING.md",
    *(f"deploy/{p.name}" for p in (ROOT / "deploy").glob("*.md")),
]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEEN = ("Makefile", "deploy", "pyproject.toml", "constraints.txt")
# What the words of the page make of the place where they are run.
BASH = ["bash", "-euo", "pipefail", "-c"]


def steps(name: str) -> list[str]:
    """The commands of the first integration, in order."""
    text = (ROOT / name).read_text()
    chapter = next(part for part in text.split("\n## ") if "# terminal 1" in part)
    return BLOCK.findall(chapter)


@dataclass
class Clone:
    """A folder that looks like a clone, and ports that nobody else has."""

    folder: Path
    ours: int
    theirs: int

    def placed(self, commands: str) -> str:
        return (
            commands.replace("8080", str(self.ours))
            .replace(":9000", f":{self.theirs}")
            .replace("receiver.py 9000", f"receiver.py {self.theirs}")
        )

    @property
    def environ(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("COMPORTA_")}
        return clean | {"COMPORTA_PORT": str(self.ours)}

    async def run(self, commands: str) -> str:
        """What a terminal shows; the commands must work."""
        process = await self._started(commands)
        told, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, (commands, told.decode())
        return told.decode()

    async def _started(self, commands: str, group: bool = False) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *BASH,
            self.placed(commands),
            cwd=self.folder,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=group,
        )

    @contextlib.asynccontextmanager
    async def terminal(self, commands: str) -> AsyncIterator[list[str]]:
        """One that goes on: the lines it shows, until the block ends."""
        process = await self._started(commands, group=True)
        lines: list[str] = []
        assert process.stdout
        reading = asyncio.create_task(_read(process.stdout, lines))
        try:
            yield lines
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 30)
            await reading


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode())


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    for part in SEEN:
        (tmp_path / part).symlink_to(ROOT / part)
    # Nothing may be installed into the environment that the tests run in.
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / ".venv" / ".ready").touch()
    return Clone(tmp_path, free_port(), free_port())


async def answers(port: int, path: str) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}{path}"):
                    return
            await asyncio.sleep(0.05)


async def shows(lines: list[str], words: str) -> None:
    async with asyncio.timeout(30):
        while words not in "".join(lines):
            await asyncio.sleep(0.02)


async def test_the_first_integration_is_as_written(clone: Clone) -> None:
    gateway, receiver, sink, shop, order, record = steps("README.md")
    here, _, prepare = sink.partition("# terminal 3\n")
    assert here == ""
    setting, _, testing = prepare.partition("\napi ")
    async with clone.terminal(gateway) as started:
        await answers(clone.ours, "/readyz")
        await shows(started, "admin API key")
        async with clone.terminal(receiver) as received:
            await answers(clone.theirs, "/")
            told = await clone.run(f"{setting}\napi {testing}")
            assert '"success":true' in told
            await shows(received, "order.created")
            assert '"ingest_url"' in await clone.run(setting + shop)

            assert '"event":"order.paid","duplicate":false' in await clone.run(order)
            await shows(received, "order.paid")
            assert '"event":"order.paid","duplicate":true' in await clone.run(order)
            changed = order.replace("--data-binary @data/order.json", "--data-binary '{\"id\": 1}'")
            assert "Unauthorized" in await clone.run(changed)

            known = await clone.run(setting + record)
            assert '"name": "order.paid"' in known
            assert '"status": "succeeded"' in known
            assert "".join(received).count("order.paid") == 1
    left = {path.name for path in clone.folder.iterdir()}
    assert left == {*SEEN, ".venv", "data"}, "git would show what else is there"


def test_both_languages_say_to_type_the_same() -> None:
    english, portuguese = ((ROOT / name).read_text() for name in READMES)
    assert BLOCK.findall(portuguese) == BLOCK.findall(english)
    assert re.findall(r"^\| `comporta (\w+)", portuguese, re.MULTILINE) == re.findall(
        r"^\| `comporta (\w+)", english, re.MULTILINE
    )
    count = [len(re.findall(r"^## ", text, re.MULTILINE)) for text in (english, portuguese)]
    assert count[0] == count[1]


@pytest.mark.parametrize("name", PAPERS)
def test_what_a_page_links_to_is_there(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    ours = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in ours if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", PAPERS)
def test_the_settings_a_page_names_are_settings(name: str) -> None:
    said = set(re.findall(r"\b(COMPORTA_[A-Z][A-Z_]*[A-Z])\b", (ROOT / name).read_text()))
    assert said <= set(variables())


@pytest.mark.parametrize("name", PAPERS)
def test_what_a_page_says_to_run_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    known = {
        command.name or command.callback.__name__
        for command in app.registered_commands
        if command.callback
    }
    known |= {group.name or "" for group in app.registered_groups}
    said = re.findall(r"(?:`|bin/|^)comporta ([a-z]+)\b", text, re.MULTILINE)
    assert {word for word in said if word not in known} == set()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)
    assert {word for word in made if word not in targets} == set()
