"""What the doctor sees, on real stores, brokers and servers; and that it only looks."""

import json
import re
import time
from contextlib import closing
from pathlib import Path

import apsw
import asyncpg
import pytest

from gateway import doctor
from gateway.doctor import Finding, Patient, examine
from gateway.maintenance import migrate
from gateway.settings import Settings, variables
from gateway.store.migrate import available
from gateway.upstream_env import INSTEAD, NEEDLESS
from tests.e2e.program import SECRET_KEYS, program
from tests.gateway.command import comporta
from tests.services import free_port
from tests.sinks.receiver import receiving
from tests.test_architecture import ROOT


def clock() -> int:
    return time.time_ns() // 1000


def patient(folder: Path, environ: dict[str, str] | None = None, ahead: float = 0) -> Patient:
    ours = {"COMPORTA_DATA_DIR": str(folder / "data"), "COMPORTA_PORT": str(free_port())}
    whole = ours | (environ or {})
    return Patient(Settings.load(whole), whole, lambda: clock() + int(ahead * 1e6))


async def seen(
    folder: Path, environ: dict[str, str] | None = None, ahead: float = 0
) -> dict[str, Finding]:
    found = await examine(patient(folder, environ, ahead))
    return {finding.subject: finding for finding in found}


def versions(path: Path) -> list[int]:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        found = list(connection.execute("SELECT version FROM schema_version"))
    return [version for (version,) in found]


async def store_at(folder: Path, *found: int) -> Path:
    """A store whose schema is said to be at these versions."""
    settings = patient(folder).settings
    await migrate(settings)
    with closing(apsw.Connection(str(settings.sqlite_path))) as connection:
        connection.execute("DELETE FROM schema_version")
        for version in found:
            connection.execute("INSERT INTO schema_version VALUES (?, 'x', 0)", (version,))
    return settings.sqlite_path


async def test_an_older_store_is_told_of_and_left_alone(tmp_path: Path) -> None:
    newest = len(available("sqlite"))
    path = await store_at(tmp_path, 1)

    older = (await seen(tmp_path))["store"]

    assert (older.level, older.detail) == (
        "warn",
        f"at version 1, {newest - 1} migrations to come",
    )
    assert "comporta migrate" in older.advice
    assert versions(path) == [1]
    await store_at(tmp_path / "new", *range(1, newest + 1))
    current = (await seen(tmp_path / "new"))["store"]
    assert (current.level, current.detail) == ("ok", f"at version {newest}, nothing to migrate")


async def test_a_store_of_a_newer_program_is_a_failure(tmp_path: Path) -> None:
    await store_at(tmp_path, 9999)
    store = (await seen(tmp_path))["store"]
    assert store.level == "fail"
    assert "start the newer program" in store.detail


async def test_a_postgresql_is_looked_at_and_nothing_more(tmp_path: Path, postgres_db: str) -> None:
    environ = {"COMPORTA_STORE": postgres_db, "COMPORTA_SECRET_KEYS": SECRET_KEYS}
    before = (await seen(tmp_path, environ))["store"]
    assert (before.level, before.detail[:13]) == ("warn", "at version 0,")
    connection = await asyncpg.connect(postgres_db)
    tables = await connection.fetchval(
        "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
    )
    await connection.close()
    assert tables == 0

    await migrate(patient(tmp_path, environ).settings)
    assert (await seen(tmp_path, environ))["store"].level == "ok"
    early = (await seen(tmp_path, environ, ahead=60))["store"]
    assert (early.level, early.detail) == ("fail", "our clock is +60 s off the store's")


async def test_a_postgresql_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    url = f"postgresql://nobody:hunter2@127.0.0.1:{free_port()}/x"
    environ = {"COMPORTA_STORE": url, "COMPORTA_SECRET_KEYS": SECRET_KEYS}
    store = (await seen(tmp_path, environ))["store"]
    assert store.level == "fail"
    assert "COMPORTA_STORE" in store.advice
    assert "hunter2" not in store.detail + store.advice


async def test_keys_that_others_can_read_are_a_failure(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    key = tmp_path / "data" / "secret.key"
    key.write_text(SECRET_KEYS)
    key.chmod(0o640)
    keys = (await seen(tmp_path))["keys"]
    assert (keys.level, keys.advice) == ("fail", "chmod 600 secret.key")
    key.chmod(0o600)
    assert (await seen(tmp_path))["keys"].level == "ok"
    broken = (await seen(tmp_path, {"COMPORTA_SECRET_KEYS": "no-key"}))["keys"]
    assert broken.level == "fail"


async def test_a_full_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await seen(tmp_path))["disk"].level == "ok"
    monkeypatch.setattr(doctor, "LOW_BYTES", 1 << 62)
    assert (await seen(tmp_path))["disk"].level == "warn"
    monkeypatch.setattr(doctor, "FREE_BYTES", 1 << 61)
    disk = (await seen(tmp_path))["disk"]
    assert disk.level == "fail"
    assert "COMPORTA_RETENTION_DAYS" in disk.advice


async def test_brokers_are_told_by_what_they_say(
    tmp_path: Path, rabbitmq_url: str, nats_url: str
) -> None:
    found = await seen(tmp_path, {"RABBITMQ_URI": rabbitmq_url, "NATS_URL": nats_url})
    assert (found["RABBITMQ_URI"].level, found["NATS_URL"].level) == ("ok", "ok")

    swapped = nats_url.replace("nats://", "amqp://")
    nobody = f"nats://user:hunter2@127.0.0.1:{free_port()}"
    found = await seen(tmp_path, {"RABBITMQ_URI": swapped, "NATS_URL": nobody})
    rabbitmq, nats = found["RABBITMQ_URI"], found["NATS_URL"]
    assert (rabbitmq.level, nats.level) == ("fail", "fail")
    assert "speaks another protocol" in rabbitmq.detail
    assert "cannot be reached" in nats.detail
    assert "hunter2" not in nats.detail + nats.advice


async def test_other_servers_need_only_be_there(tmp_path: Path) -> None:
    async with receiving() as there:
        environ = {"SQS_BASE_URL": f"http://127.0.0.1:{there.port}"}
        environ["PUSHER_HOST"] = f"http://127.0.0.1:{free_port()}"
        found = await seen(tmp_path, environ)
    assert found["SQS_BASE_URL"].level == "ok"
    assert found["PUSHER_HOST"].level == "fail"


async def test_the_public_url_must_lead_here(tmp_path: Path) -> None:
    async with program(tmp_path) as gateway, receiving() as other:
        await gateway.start()
        ours = {"COMPORTA_PORT": str(gateway.port)}

        async def public(url: str) -> Finding:
            return (await seen(tmp_path, ours | {"COMPORTA_PUBLIC_URL": url}))["public url"]

        unset = (await seen(tmp_path, ours))["public url"]
        assert (unset.level, "COMPORTA_PUBLIC_URL" in unset.advice) == ("warn", True)
        assert (await public(gateway.url)).level == "ok"
        astray = await public(f"http://127.0.0.1:{other.port}")
        assert (astray.level, "another program" in astray.detail) == ("fail", True)
        assert (await public(gateway.url + "/elsewhere")).level == "fail"
        assert (await public(f"http://127.0.0.1:{free_port()}")).level == "warn"
        late = (await seen(tmp_path, ours | {"COMPORTA_PUBLIC_URL": gateway.url}, 300))[
            "public url"
        ]
        assert late.level == "warn"


def rows(title: str) -> dict[str, str]:
    """A table of the guide for people who come from Evolution API, without its backquotes."""
    text = (ROOT / "deploy" / "evolution.md").read_text().replace("`", "")
    return dict(re.findall(r"^\| ([A-Z_]+) \| (.*) \|$", text.partition(title)[2], re.MULTILINE))


async def test_what_is_left_of_evolution_api_is_told(tmp_path: Path) -> None:
    environ = {
        "SERVER_URL": "https://x.example",
        "WEBHOOK_REQUEST_TIMEOUT_MS": "60000",
        "DATABASE_CONNECTION_URI": "postgresql://x",
        "COMPORTA_STORE": f"sqlite:///{tmp_path}/x.db",
    }
    found = [f for f in await examine(patient(tmp_path, environ)) if f.subject == "evolution"]
    assert [f.detail for f in found] == [
        "SERVER_URL is not read",
        "WEBHOOK_REQUEST_TIMEOUT_MS is not read",
    ]
    assert found[0].advice == "set COMPORTA_PUBLIC_URL"
    assert "evolution" not in await seen(tmp_path, {"SERVER_PORT": "80", "LOG_LEVEL": "info"})


def test_the_guide_from_evolution_api_says_what_the_program_does() -> None:
    instead, needless = rows("Set by another name:"), rows("Not needed:")
    assert needless == dict(NEEDLESS)
    assert {n: v for n, v in instead.items() if n not in needless} == dict(INSTEAD)
    read = rows("Read as they are:").keys() - instead.keys()
    assert read
    assert read <= set(variables())
    targets = {re.split("[,;]", value)[0] for value in INSTEAD.values()}
    assert targets <= set(variables())


async def test_findings_are_for_programs_too(tmp_path: Path) -> None:
    done = await comporta("doctor", "--json", DATA_DIR=str(tmp_path / "d"), PORT=str(free_port()))
    findings = json.loads(done.out)
    assert done.status == 0
    assert {"subject", "level", "detail", "advice"} == set(findings[0])
    assert not (tmp_path / "d").exists()
