"""Commands that ask a running gateway."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.samples import names
from tests.e2e.program import Program, program
from tests.gateway.command import comporta, is_one_line, of
from tests.test_architecture import ROOT


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Program]:
    async with program(tmp_path) as running:
        await running.start()
        yield running


async def test_an_embedded_store_has_one_master(gateway: Program) -> None:
    path = gateway.folder / "data" / "comporta.db"

    done = await comporta("migrate", STORE=f"sqlite:///{path}")

    assert is_one_line(done, "another process")


async def test_the_doctor_sees_a_running_gateway(gateway: Program) -> None:
    done = await comporta("doctor", **of(gateway))

    assert done.status == 0
    assert f"ready at {gateway.url}" in done.out


async def test_a_key_is_made_listed_and_revoked(gateway: Program) -> None:
    wish = (
        "--permission",
        "EVENTS_READ",
        "--instance",
        "loja",
        "--expires-at",
        "2099-12-31T00:00Z",
    )
    made = await comporta("keys", "create", "ci", *wish, **of(gateway))
    key = made.out.strip()
    assert (made.status, made.err) == (0, "")
    assert (await gateway.call("GET", "/drivers", key=key)).status == 200
    assert (await gateway.call("GET", "/api-keys", key=key)).status == 403

    listed = await comporta("keys", "list", **of(gateway))
    head, line = (line.split() for line in listed.out.splitlines())
    ident, *told = line
    assert head == ["ID", "NAME", "INSTANCE", "EXPIRES", "PERMISSIONS"]
    assert told == ["ci", "loja", "2099-12-31", "EVENTS_READ"]
    assert key not in listed.out

    revoked = await comporta("keys", "revoke", ident, **of(gateway))
    assert (revoked.status, revoked.out) == (0, f"revoked {ident}\n")
    assert (await gateway.call("GET", "/drivers", key=key)).status == 401


async def test_a_list_has_no_end_before_its_last_key(gateway: Program) -> None:
    for number in range(101):
        body = {"name": f"key-{number:03}", "permissions": ["EVENTS_READ"]}
        assert (await gateway.call("POST", "/api-keys", body)).status == 201

    listed = await comporta("keys", "list", **of(gateway))

    names = {line.split()[1] for line in listed.out.splitlines()[1:]}
    assert names >= {"key-000", "key-100"}
    assert all(line.split()[2:4] == ["all", "never"] for line in listed.out.splitlines()[1:])


async def test_a_tenant_is_made_and_listed(gateway: Program) -> None:
    made = await comporta("tenants", "create", "acme", **of(gateway))
    again = await comporta("tenants", "create", "acme", **of(gateway))
    listed = await comporta("tenants", "list", **of(gateway))

    assert (await gateway.call("GET", "/api-keys", key=made.out.strip())).status == 200
    assert is_one_line(again, "there is a tenant acme already")
    assert listed.out.split() == ["acme", "default"]
    denied = await comporta("tenants", "list", **of(gateway, API_KEY=made.out.strip()))
    assert is_one_line(denied, "only the operator's own key")


async def test_secrets_are_sealed_anew_while_the_gateway_runs(gateway: Program) -> None:
    from cryptography.fernet import Fernet

    from tests.e2e.deliveries import kiwify
    from tests.e2e.program import SECRET_KEYS

    made = await gateway.install("kiwify", "loja", "e2e-signing-secret")
    newest = Fernet.generate_key().decode()
    assert await gateway.end() == 0
    await gateway.start(SECRET_KEYS=f"{newest},{SECRET_KEYS}")
    first = await comporta("keys", "rotate-encryption", **of(gateway))
    second = await comporta("keys", "rotate-encryption", **of(gateway))
    assert first.out == "1 secrets were sealed with the newest key, 0 had it\n"
    assert second.out == "0 secrets were sealed with the newest key, 1 had it\n"

    assert await gateway.end() == 0
    await gateway.start(SECRET_KEYS=newest)
    assert (await kiwify(1).post(gateway, made["ingest_url"])).status == 200


async def test_what_the_gateway_refuses_is_told_in_its_words(gateway: Program) -> None:
    done = await comporta("keys", "list", **of(gateway, API_KEY="wrong"))
    assert is_one_line(done, "Unauthorized")
    done = await comporta("keys", "create", "x", "--permission", "NONSENSE", **of(gateway))
    assert is_one_line(done, "permissions.0")
    done = await comporta("keys", "revoke", "nobody", **of(gateway))
    assert is_one_line(done, "Not found")
    done = await comporta("renormalize", "nobody", **of(gateway))
    assert done.status == 1
    assert "Traceback" not in done.err


async def test_a_proxy_of_the_environment_is_not_asked(gateway: Program) -> None:
    environ = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("COMPORTA_")}
    ours = {f"COMPORTA_{k}": v for k, v in of(gateway).items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "keys", "list"),
        cwd=ROOT,
        env=clean | ours | environ,
        stdout=asyncio.subprocess.PIPE,
    )
    await process.communicate()

    assert process.returncode == 0


async def test_replaying_nothing_says_so(gateway: Program) -> None:
    done = await comporta("replay", "--instance", "loja-1", **of(gateway))

    assert done.status == 0
    assert re.fullmatch(r"replay \w+: 0 deliveries\n", done.out)


async def test_renormalizing_nothing_says_so(gateway: Program) -> None:
    done = await comporta("renormalize", "kiwify", **of(gateway))

    assert (done.status, done.out) == (0, "0 deliveries are being read again\n")


async def test_samples_are_named_and_sent(gateway: Program) -> None:
    listed = await comporta("send", "--list")
    assert listed.out.split() == names()

    shop = await gateway.install("shopify", "loja-1", "s3cret")
    sent = await comporta(
        "send", "shopify/orders_paid", "--to", shop["ingest_url"], "--secret", "s3cret"
    )
    assert sent.status == 0
    assert sent.out.startswith('200 {"received":true')

    wrong = await comporta(
        "send", "shopify/orders_paid", "--to", shop["ingest_url"], "--secret", "wrong"
    )
    assert (wrong.status, wrong.out[:4]) == (1, "401 ")
