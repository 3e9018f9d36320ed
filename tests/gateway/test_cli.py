"""The command line, as the real program: help, exit statuses, one line for what goes wrong."""

import asyncio
import re
import socket
import sys
from pathlib import Path

import pytest
import typer
from cryptography.fernet import Fernet

from gateway.cli import app
from gateway.probes import clock_is_kept
from tests.gateway.command import Done, comporta, is_one_line
from tests.services import free_port
from tests.test_architecture import BROKER_CLIENTS, ROOT


def _commands(app: typer.Typer, before: str = "") -> list[str]:
    """Every command, as it is typed."""
    found = [
        before + str(c.name or getattr(c.callback, "__name__", "")) for c in app.registered_commands
    ]
    for group in app.registered_groups:
        assert group.typer_instance
        found += [f"{group.name}", *_commands(group.typer_instance, f"{group.name} ")]
    return found


COMMANDS = _commands(app)
PROMISED = {
    *("serve", "migrate", "demo", "doctor", "drivers", "send", "replay", "renormalize"),
    *("backup", "restore"),
    *("keys create", "keys list", "keys revoke", "keys generate-secret"),
}
# What `--help` has no business loading.
HEAVY = BROKER_CLIENTS | {
    "aiohttp",
    "asyncpg",
    "apsw",
    "uvloop",
    "cryptography",
    "jinja2",
    "prometheus_client",
}


@pytest.mark.parametrize("command", ["", *COMMANDS])
async def test_every_command_explains_itself(command: str) -> None:
    done = await comporta(*command.split(), "--help")

    assert (done.status, done.err) == (0, "")
    assert "Usage:" in done.out
    assert len(done.out.splitlines()) > 4


async def test_help_names_every_command() -> None:
    done = await comporta("--help")

    said = re.findall(r"^  ([a-z-]+)  ", done.out.partition("Commands:")[2], re.MULTILINE)
    assert sorted(said) == sorted(word for word in COMMANDS if " " not in word)
    assert set(COMMANDS) >= PROMISED


async def test_help_is_instant_because_it_loads_nothing_heavy() -> None:
    code = "import sys, runpy; sys.argv = ['gateway', '--help']\n"
    code += "try: runpy.run_module('gateway', run_name='__main__')\n"
    code += "except SystemExit: pass\n"
    code += f"print('LOADED', *sorted({HEAVY!r} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    assert out.decode().splitlines()[-1] == "LOADED"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["keys"],
        ["nonsense"],
        ["serve", "--port", "many"],
        ["serve", "--nonsense"],
        ["keys", "create"],
        ["renormalize"],
    ],
)
async def test_a_wrong_call_is_2(words: list[str]) -> None:
    done = await comporta(*words)

    assert done.status == 2
    assert "Usage:" in done.out + done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["serve", "migrate", "doctor", "keys list", "replay"])
async def test_a_setting_that_makes_no_sense_is_2(command: str) -> None:
    done = await comporta(*command.split(), PROT="8080")

    assert is_one_line(done, "unknown setting COMPORTA_PROT", 2)
    done = await comporta(*command.split(), PORT="many")
    assert is_one_line(done, "COMPORTA_PORT: ", 2)


async def test_what_the_command_line_says_wins_and_is_checked_the_same() -> None:
    done = await comporta("serve", "--workers", "2", WORKERS="1")

    assert is_one_line(done, "COMPORTA_WORKERS above 1 needs a PostgreSQL", 2)


@pytest.mark.parametrize(
    ("environ", "saying"),
    [
        ({"SECRET_KEYS": "no-key"}, "COMPORTA_SECRET_KEYS"),
        ({"DATA_DIR": "/proc/nowhere"}, "/proc/nowhere/secret.key"),
        ({"CA_FILE": "/nowhere/ca.pem"}, "COMPORTA_CA_FILE: /nowhere/ca.pem cannot be read"),
        ({"TLS_CERT": "/nowhere/c", "TLS_KEY": "/nowhere/k"}, "COMPORTA_TLS_CERT: /nowhere/c"),
        ({"STORE": "postgresql://u:hunter2@127.0.0.1:1/x"}, "Connection refused"),
        ({"STORE": "postgresql://h/x?pool_size=many"}, "COMPORTA_STORE: pool_size"),
    ],
)
async def test_a_server_that_cannot_start_says_why(
    tmp_path: Path, environ: dict[str, str], saying: str
) -> None:
    known = {"DATA_DIR": str(tmp_path), "PORT": "0", "API_KEY": "k"}
    if "STORE" in environ:
        known["SECRET_KEYS"] = Fernet.generate_key().decode()

    done = await comporta("serve", **(known | environ))

    assert is_one_line(done, saying)
    assert "hunter2" not in done.out + done.err


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        done = await comporta("serve", PORT=port, DATA_DIR=str(tmp_path))

    assert is_one_line(done, port)


async def test_migrating_makes_the_store_and_says_its_version(tmp_path: Path) -> None:
    environ = {"DATA_DIR": str(tmp_path / "new" / "data")}

    first, second = await comporta("migrate", **environ), await comporta("migrate", **environ)

    assert re.fullmatch(r"the store is at version \d+\n", first.out)
    assert (first.status, second.status, second.out) == (0, 0, first.out)


async def test_the_doctor_makes_nothing(tmp_path: Path) -> None:
    done = await comporta("doctor", DATA_DIR=str(tmp_path / "data"), PORT=str(free_port()))

    assert done.status == 0
    clock = "warn" if clock_is_kept() is False else "ok"
    assert re.findall(r"^(\w+) +(\w+)", done.out, re.MULTILINE) == [
        ("ok", "settings"),
        ("ok", "keys"),
        ("ok", "disk"),
        (clock, "clock"),
        ("ok", "gateway"),
        ("ok", "store"),
    ]
    assert not (tmp_path / "data").exists()


async def test_the_doctor_looks_into_the_store(tmp_path: Path) -> None:
    (tmp_path / "comporta.db").write_bytes(b"this is no database" * 1000)

    done = await comporta("doctor", DATA_DIR=str(tmp_path), PORT=str(free_port()))

    assert done.status == 1
    assert re.search(r"^FAIL +store ", done.out, re.MULTILINE)


async def test_the_doctor_knows_a_stranger_on_our_port(tmp_path: Path) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])

    done = await comporta("doctor", DATA_DIR=str(tmp_path), PORT=port)

    server.close()
    assert done.status == 1
    assert re.search(r"^FAIL +gateway ", done.out, re.MULTILINE)


@pytest.mark.parametrize("command", ["keys list", "replay", "renormalize kiwify"])
async def test_no_gateway_is_told(tmp_path: Path, command: str) -> None:
    port = str(free_port())

    done = await comporta(*command.split(), PORT=port, API_KEY="k", DATA_DIR=str(tmp_path))

    assert is_one_line(done, f"no gateway answers at http://127.0.0.1:{port}")


async def test_no_key_is_told(tmp_path: Path) -> None:
    done = await comporta("keys", "list", DATA_DIR=str(tmp_path))

    assert is_one_line(done, "no admin key: set COMPORTA_API_KEY")


async def test_a_sample_that_cannot_be_sent_is_told(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/hooks/x/y"

    assert is_one_line(await comporta("send", "kiwify/nothing", "--to", url), "kiwify/nothing")
    done = await comporta("send", "shopify/orders_paid", "--to", url)
    assert is_one_line(done, "does not answer")
    assert is_one_line(
        await comporta("send", "shopify/orders_paid", "--to", "file:///etc/passwd"), "http(s)"
    )
    assert is_one_line(await comporta("send", "shopify/orders_paid"), "--to which URL", 2)


async def test_drivers_are_listed_for_people_and_programs() -> None:
    table, text = await comporta("drivers"), await comporta("drivers", "--json")

    assert (table.status, text.status) == (0, 0)
    assert "kiwify" in table.out
    assert text.out.startswith('[{"slug":')


async def test_a_fresh_encryption_key_is_one() -> None:
    done = await comporta("keys", "generate-secret")

    Fernet(done.out.strip())
    assert done.status == 0


async def test_the_demo_shows_the_whole_way() -> None:
    done = await comporta("demo")

    assert (done.status, done.err) == (0, "")
    for step in range(1, 6):
        assert re.search(rf"^{step} ", done.out, re.MULTILINE)
    assert "It all happened" in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_shell_is_told_what_may_come_next(shell: str) -> None:
    script = await comporta("completion", shell)
    assert (script.status, script.err) == (0, "")
    assert "_COMPORTA_COMPLETE=complete_" + shell in script.out
    assert is_one_line_or_usage(await comporta("completion", "tcsh"))


def is_one_line_or_usage(done: Done) -> bool:
    return done.status == 2 and "tcsh" in done.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("comporta ren", ["renormalize"]),
        ("comporta renormalize kiw", ["kiwify"]),
        ("comporta keys gen", ["generate-secret"]),
    ],
)
async def test_what_may_come_next_is_known(
    words: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"_COMPORTA_COMPLETE": "complete_bash", "COMP_WORDS": words}
    for name, value in (asked | {"COMP_CWORD": str(words.count(" "))}).items():
        monkeypatch.setenv(name, value)
    assert (await comporta()).out.split() == expected
