"""The image and the compose files, as far as they can be judged without a daemon that builds and
runs them.
"""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway.settings import Settings, variables
from gateway.version import VERSION
from tests.deploy.test_wheel import files_of_the_packages, shipped, wheel_of
from tests.e2e.program import Program
from tests.gateway.command import comporta, is_one_line, of
from tests.services import free_port
from tests.test_architecture import PACKAGES, ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = ["compose.yml", "compose.cluster.yml"]
NEEDED = re.compile(r"\$\{(\w+)")
FILLED = {
    "POSTGRES_PASSWORD": "p",
    "RABBITMQ_PASSWORD": "r",
    "COMPORTA_API_KEY": "k",
    "COMPORTA_SECRET_KEYS": "f",
    "SITE": "events.example.com",
    "COMPORTA_PUBLIC_URL": "https://events.example.com",
}


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def test_the_dockerfile_passes_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_without_rights_and_knows_its_health() -> None:
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert 'CMD ["comporta", "health"]' in last
    assert "curl" not in last
    given = dict(re.findall(r"(COMPORTA_\w+)=(\S+)", last))
    assert Settings.load(given).host == "0.0.0.0"


def test_the_build_sees_what_it_copies_and_no_more() -> None:
    ignore = lines(ROOT / ".dockerignore")
    assert ignore[0] == "*"
    let_in = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    outside = {"pyproject.toml", "LICENSE", "README.md", "deploy/requirements.txt"}
    assert let_in == {*PACKAGES, *outside, "deploy/receivers"}
    for line in re.findall(r"^COPY (?!--from)(.*) \./$", DOCKERFILE.read_text(), re.MULTILINE):
        assert set(line.split()) <= let_in


def test_the_image_builds_the_wheel_from_what_it_sees(tmp_path: Path) -> None:
    """Some of what the packages ship lies outside them, behind links."""
    for line in lines(ROOT / ".dockerignore"):
        part = line.removeprefix("!")
        if part == line:
            continue
        (tmp_path / part).parent.mkdir(exist_ok=True)
        if (ROOT / part).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, tmp_path / part, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / part, tmp_path / part)
    made = wheel_of(tmp_path, tmp_path / "wheels")
    assert shipped(made) == files_of_the_packages()


def pins(path: Path) -> dict[str, str]:
    """What a lock says of each package: its version and its hashes."""
    text = path.read_text().replace("\\\n", " ")
    found = re.findall(r"^([\w.-]+==\S+)(.*?)$", text, re.MULTILINE)
    return {name: " ".join(sorted(re.findall(r"--hash=\S+", rest))) for name, rest in found}


def test_what_is_deployed_is_what_is_tested() -> None:
    deployed, tested = pins(DEPLOY / "requirements.txt"), pins(ROOT / "constraints.txt")
    assert len(deployed) > 40
    assert deployed == {name: tested.get(name, "") for name in deployed}
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {canonicalize_name(Requirement(line).name) for line in given}
    assert wanted <= {canonicalize_name(name.partition("==")[0]) for name in deployed}


def filled(text: str) -> Any:
    """A compose file with its variables replaced, as far as we use the syntax."""
    assert set(NEEDED.findall(text)) <= set(FILLED)
    return yaml.safe_load(re.sub(r"\$\{(\w+)[^}]*\}", lambda m: FILLED[m[1]], text))


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_files_are_compose(name: str) -> None:
    schema = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())
    compose = filled((DEPLOY / name).read_text())
    assert [e.message for e in Draft7Validator(schema).iter_errors(compose)] == []
    for service in compose["services"].values():
        mounts = [v.partition(":")[0] for v in service.get("volumes", [])]
        missing = [m for m in mounts if m.startswith("./") and not (DEPLOY / m).exists()]
        assert missing == []
        assert {m for m in mounts if not m.startswith("./")} <= set(compose["volumes"])
        assert set(service.get("depends_on", {})) <= set(compose["services"])


@pytest.mark.parametrize("name", COMPOSE)
def test_our_service_is_locked_down_and_its_settings_are_ours(name: str) -> None:
    service = filled((DEPLOY / name).read_text())["services"]["comporta"]
    assert service["image"] == f"comporta:{VERSION}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["stop_grace_period"] == "30s"
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    environment = service["environment"]
    assert set(environment) <= set(variables())
    Settings.load(environment)


def test_the_clusters_example_names_what_its_file_needs() -> None:
    needed = set(NEEDED.findall((DEPLOY / "compose.cluster.yml").read_text()))
    given = {line.partition("=")[0] for line in lines(DEPLOY / "cluster.example.env")}
    assert given == needed


async def test_health_is_an_exit_status(embedded: Program) -> None:
    port = str(free_port())
    dead = await comporta("health", PORT=port)
    assert is_one_line(dead, f"no gateway answers at http://127.0.0.1:{port}")
    await embedded.start()
    for words, state in ((["health"], "ok"), (["health", "--ready"], "ready")):
        done = await comporta(*words, **of(embedded, API_KEY=""))
        assert (done.status, done.out) == (0, f"{embedded.url} is {state}\n")
