"""`comporta backup` and `comporta restore`, on the real program."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.program import Program, program
from tests.gateway.command import comporta, is_one_line


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Program]:
    async with program(tmp_path) as running:
        running.environ["SECRET_KEYS"] = ""  # it makes its own
        await running.start()
        yield running


async def test_a_backup_made_while_it_serves_serves(gateway: Program, tmp_path: Path) -> None:
    data = str(gateway.folder / "data")
    secret = {"enabled": True, "url": "https://crm.example/in", "headers": {"X-Key": "s3cret"}}
    assert (await gateway.call("POST", "/webhook/set/loja-1", secret)).status == 201
    target = tmp_path / "copy.db"

    done = await comporta("backup", str(target), "--with-keys", DATA_DIR=data)

    assert (done.status, done.err) == (0, "")
    assert str(target) in done.out
    refused = await comporta("restore", str(target), DATA_DIR=data)
    assert is_one_line(refused, "another process")

    await gateway.end()
    shutil.rmtree(data)
    done = await comporta("restore", str(target), DATA_DIR=data)
    assert (done.status, done.err) == (0, "")
    await gateway.start()
    found = (await gateway.call("GET", "/webhook/find/loja-1")).json
    assert found["url"] == "https://crm.example/in"


async def test_the_keys_are_told_of_and_never_mixed(gateway: Program, tmp_path: Path) -> None:
    data, target = gateway.folder / "data", tmp_path / "copy.db"
    done = await comporta("backup", str(target), DATA_DIR=str(data))
    assert "encryption keys" in done.out
    assert not (tmp_path / "copy.db.key").exists()
    await gateway.end()

    (tmp_path / "copy.db.key").write_text("another key")
    refused = await comporta("restore", str(target), DATA_DIR=str(data))

    assert is_one_line(refused, "is another key than")


async def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    data, target = str(tmp_path / "none"), str(tmp_path / "copy.db")
    postgres = {"STORE": "postgresql://u@h/d", "SECRET_KEYS": "x"}

    for command in ("backup", "restore"):
        assert is_one_line(await comporta(command, target, **postgres), "pg_dump")
    assert is_one_line(await comporta("backup", target, DATA_DIR=data), "there is no database")
    assert is_one_line(await comporta("restore", target, DATA_DIR=data), "there is no file")
    done = await comporta("backup", target, "--with-keys", DATA_DIR=data)
    assert is_one_line(done, "COMPORTA_SECRET_KEYS")
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - a look at a folder
