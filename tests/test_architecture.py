"""The shape of the house: which room may know which, and how big things may grow.

Every rule is a function from a tree of files to complaints, so that one test holds it against this
repository and another proves, on a tree broken on purpose, that it can fail.
"""

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "sinks", "drivers", "schemas")
PURE = ("drivers", "schemas")

MODULE_LINES = 400
FUNCTION_LINES = 50

ROOMS = {*PACKAGES, "tests", "deploy"}
PAPERS = {
    "README.md",
    "README.pt-BR.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
}
TOOLS = {"pyproject.toml", "Makefile", "constraints.txt"}

# What a driver or a type would need for I/O, a clock, chance or settings.
IMPURE = set(
    "aio_pika aioboto3 aiohttp apsw asyncio asyncpg boto3 http.client logging nats os pathlib "
    "random secrets socket sqlite3 ssl structlog subprocess threading time urllib.request".split()
)
IMPURE_CALLS = {"now", "utcnow", "today", "open", "input", "print", "uuid1", "uuid4"}

VAGUE = re.compile(r"^(utils?|commons?|helpers?|managers?|misc)$")

# In pieces, because this file obeys the rule, too.
REGISTRIES = [
    ".".join(name.split())
    for name in (
        "pypi org",
        "pythonhosted org",
        "npmjs org",
        "npmjs com",
        "deb debian org",
        "security debian org",
        "crates io",
        "proxy golang org",
        "maven apache org",
        "maven org",
    )
]

SILENCERS = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?|type:\s*ignore(?:\[[^\]]*\])?"
    r"|pragma:\s*no\s*(?:cover|branch))"
)

BROKER_CLIENTS = {"aio_pika", "aioboto3", "aiormq", "botocore", "nats", "socketio"}


def files(root: Path) -> Iterator[Path]:
    """What is, or is about to be, under version control."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    yield from (path for name in listed.split("\0") if name and (path := root / name).is_file())


def modules(root: Path, *rooms: str) -> Iterator[tuple[Path, str]]:
    for path in files(root):
        name = path.relative_to(root)
        if path.suffix == ".py" and name.parts[0] in rooms:
            yield name, path.read_text(encoding="utf-8")


def broken_arrows(root: Path) -> Iterator[str]:
    """The contracts of import-linter, which sees roundabout imports as well."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        yield done.stdout + done.stderr


def impure_modules(root: Path) -> Iterator[str]:
    """Drivers and schemas are told everything they need: no I/O, no clock, no chance."""
    for name, text in modules(root, *PURE):
        for node in ast.walk(ast.parse(text)):
            for found in sorted(_imported(node) & IMPURE):
                yield f"{name}:{getattr(node, 'lineno', 0)} imports {found}"
            if isinstance(node, ast.Call) and (called := _called(node)) in IMPURE_CALLS:
                yield f"{name}:{node.lineno} calls {called}()"


def _imported(node: ast.AST) -> set[str]:
    """`from a.b import c` imports a, a.b, and perhaps a.b.c."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return set()
    parts = [name.split(".") for name in names]
    return {".".join(words[:end]) for words in parts for end in range(1, len(words) + 1)}


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def oversized(root: Path) -> Iterator[str]:
    """Nothing grows so large that a reader loses the thread."""
    for name, text in modules(root, *PACKAGES, "tests"):
        lines = len(text.splitlines())
        if lines > MODULE_LINES:
            yield f"{name} has {lines} lines, {MODULE_LINES} are allowed"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    place = f"{name}:{node.lineno} {node.name}()"
                    yield f"{place} has {lines} lines, {FUNCTION_LINES} are allowed"


def vague_names(root: Path) -> Iterator[str]:
    """A file is named after what it does, not after being left over."""
    for name, _ in modules(root, *PACKAGES, "tests"):
        if any(VAGUE.match(part) for part in name.with_suffix("").parts):
            yield f"{name} does not say what is in it"


def registry_names(root: Path) -> Iterator[str]:
    """Packages are named, never the host they come from: that is the machine's own business."""
    for path in files(root):
        text = path.read_bytes().decode("utf-8", errors="replace")
        for host in REGISTRIES:
            if re.search(rf"(?<![\w-]){re.escape(host)}\b", text):
                yield f"{path.relative_to(root)} names {host}"


def strangers(root: Path) -> Iterator[str]:
    """The top level is the table of contents."""
    for entry in sorted({path.relative_to(root).parts[0] for path in files(root)}):
        if not entry.startswith(".") and entry not in ROOMS | PAPERS | TOOLS:
            yield f"{entry} does not belong to the top level"


def silent_exceptions(root: Path) -> Iterator[str]:
    """Whoever silences a tool says why, on the same line."""
    for name, text in modules(root, *PACKAGES, "tests", "deploy"):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and SILENCERS.search(token.string):
                reason = SILENCERS.sub("", token.string).strip(" #-:.,")
                if len(reason.split()) < 2:
                    yield f"{name}:{token.start[0]} gives no reason: {token.string}"


def stale_lock(root: Path) -> Iterator[str]:
    """What pyproject.toml asks for, constraints.txt pins: a version it allows, with hashes."""
    project = tomllib.loads((root / "pyproject.toml").read_text())
    extras = project["project"].get("optional-dependencies", {}).values()
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    lock = (root / "constraints.txt").read_text().replace("\\\n", " ")
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)(?=.*--hash=sha256:)", lock, re.MULTILINE))
    for line in [*asked, *(line for extra in extras for line in extra)]:
        wanted = Requirement(line)
        pinned = pins.get(canonicalize_name(wanted.name), "nothing")
        if pinned == "nothing" or pinned not in wanted.specifier:
            yield f"pyproject.toml asks for {line}, the lock has {pinned}: run `make lock`"


RULES = [
    broken_arrows,
    impure_modules,
    oversized,
    vague_names,
    registry_names,
    strangers,
    silent_exceptions,
    stale_lock,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_shape(rule: Callable[[Path], Iterator[str]]) -> None:
    complaints = list(rule(ROOT))

    assert not complaints, "\n" + "\n".join(complaints)


SPRAWL = "def sprawl():\n" + "    pass\n" * FUNCTION_LINES
# Each line breaks one rule: the rule, the file to add, its text, words of the complaint.
BREAKS: list[tuple[Callable[[Path], Iterator[str]], str, str, str]] = [
    (broken_arrows, "schemas/low.py", "import drivers\n", "schemas.low -> drivers"),
    (broken_arrows, "schemas/low.py", "import gateway\n", "schemas.low -> gateway"),
    (broken_arrows, "drivers/nosy.py", "import sinks\n", "drivers.nosy -> sinks"),
    (broken_arrows, "sinks/nosy.py", "import drivers\n", "sinks.nosy -> drivers"),
    (broken_arrows, "sinks/nosy.py", "def f():\n    import gateway\n", "sinks.nosy -> gateway"),
    (broken_arrows, "gateway/settings.py", "import gateway.store\n", "settings -> gateway.store"),
    (broken_arrows, "gateway/dispatch.py", "import gateway.api\n", "dispatch -> gateway.api"),
    (broken_arrows, "gateway/ingress.py", "import gateway.app\n", "ingress -> gateway.app"),
    (impure_modules, "drivers/odd.py", "import os.path\n", "odd.py:1 imports os"),
    (impure_modules, "drivers/odd.py", "from urllib import request\n", "imports urllib.request"),
    (impure_modules, "schemas/odd.py", "\ndef f():\n    import time\n", "odd.py:3 imports time"),
    (impure_modules, "drivers/odd.py", "x = datetime.now(UTC)\n", "calls now()"),
    (oversized, "gateway/big.py", "x = 1\n" * (MODULE_LINES + 1), "has 401 lines"),
    (oversized, "sinks/big.py", SPRAWL, "sprawl() has 51 lines"),
    (oversized, "tests/test_big.py", "async " + SPRAWL, "sprawl() has 51 lines"),
    (vague_names, "gateway/utils.py", "", "utils.py does not say"),
    (vague_names, "drivers/common/money.py", "", "common/money.py does not say"),
    (registry_names, "deploy/notes.md", f"https://files.{REGISTRIES[1]}/x", "notes.md names"),
    (strangers, "docs/page.md", "", "docs does not belong"),
    (silent_exceptions, "gateway/a.py", "x = 1  # noqa: S311\n", "a.py:1 gives no reason"),
    (silent_exceptions, "tests/a.py", "x = 1  # type: ignore[misc]\n", "a.py:1 gives no reason"),
    (silent_exceptions, "sinks/a.py", "x = 1  # pragma: no cover\n", "a.py:1 gives no reason"),
    (stale_lock, "constraints.txt", "aiohttp==3.0.0 --hash=sha256:0\n", "the lock has 3.0.0"),
    (stale_lock, "constraints.txt", "orjson==3.11.0\n", "asks for orjson"),
]


@pytest.mark.parametrize(("rule", "name", "text", "complaint"), BREAKS)
def test_every_rule_can_fail(
    tmp_path: Path,
    rule: Callable[[Path], Iterator[str]],
    name: str,
    text: str,
    complaint: str,
) -> None:
    for package in (*PACKAGES, "gateway/store", "gateway/api"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "gateway" / "app.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    if rule is not stale_lock:
        assert not list(rule(tmp_path))

    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)

    assert complaint in re.sub(r"\s+", " ", "\n".join(rule(tmp_path)))


def test_a_reason_may_stand_beside_an_exception(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "a.py").write_text("x = 1  # noqa: S311, E501 - jitter, not a key\n")

    assert list(silent_exceptions(tmp_path)) == []


@pytest.mark.parametrize("module", [m for m in ("gateway.cli", "sinks") if find_spec(m)])
def test_broker_clients_load_only_when_a_sink_needs_them(module: str) -> None:
    code = f"import sys, {module}; print(*({BROKER_CLIENTS!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)

    assert done.stdout.decode().split() == []
