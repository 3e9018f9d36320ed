"""`comporta listen` and `comporta send`, as a person would use them beside a running gateway."""

import asyncio
import base64
import json
import os
import sys
from typing import Any

from standardwebhooks import Webhook

from tests.e2e.deliveries import SECRET
from tests.e2e.program import KEY, Program
from tests.sinks.receiver import Receiver, until


def environ(program: Program) -> dict[str, str]:
    ours = {"COMPORTA_PORT": str(program.port), "COMPORTA_API_KEY": KEY}
    return {k: v for k, v in os.environ.items() if not k.startswith("COMPORTA_")} | ours


async def command(program: Program, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *words,
        env=environ(program),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def sent(program: Program, sample: str, url: str) -> Any:
    process = await command(program, "send", sample, "--to", url, "--secret", SECRET)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    status, body = out.decode().split(" ", 1)
    assert status == "200"
    return json.loads(body)


async def test_what_is_sent_is_heard(embedded: Program) -> None:
    await embedded.start()
    await embedded.call("POST", "/websocket/set/loja-1", {"enabled": True})
    shop = await embedded.install("shopify", "loja-1", SECRET)
    listening = await command(embedded, "listen", "loja-1")
    try:
        told = []
        assert listening.stdout
        heard = asyncio.create_task(listening.stdout.readline())
        async with asyncio.timeout(30):
            # Until the listener is connected it hears nothing: each sample is a fact of its own.
            for sample in ("orders_create", "orders_paid", "orders_cancelled", "refunds_create"):
                answer = await sent(embedded, f"shopify/{sample}", shop["ingest_url"])
                told.append(answer["events"][0]["id"])
                await asyncio.wait({heard}, timeout=2)
            frame = json.loads(await heard)
    finally:
        listening.terminate()
        await listening.wait()
    assert frame["id"] in told
    assert frame["instance"] == "loja-1"


async def test_what_is_heard_can_be_forwarded_signed(embedded: Program, receiver: Receiver) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * 32).decode()
    await embedded.start()
    await embedded.call("POST", "/websocket/set/loja-1", {"enabled": True})
    words = ["listen", "loja-1", "--forward-to", receiver.url, "--secret", secret]
    listening = await command(embedded, *words)
    try:
        await embedded.reaches("comporta_websocket_connections", 1)
        shop = await embedded.install("shopify", "loja-1", SECRET)
        answer = await sent(embedded, "shopify/orders_paid", shop["ingest_url"])
        await until(lambda: bool(receiver.got))
        assert listening.stderr
        told = (await asyncio.wait_for(listening.stderr.readline(), 20)).decode()
    finally:
        listening.terminate()
        await listening.wait()
    [got] = receiver.got
    Webhook(secret).verify(got.body, dict(got.headers))
    ident = answer["events"][0]["id"]
    assert (got.headers["webhook-id"], json.loads(got.body)["event"]) == (ident, "order.paid")
    assert told == f"{ident} -> {receiver.url}: 200\n"


async def test_a_place_that_is_none_is_not_forwarded_to(embedded: Program) -> None:
    for words in (["file:///etc/passwd"], ["http://127.0.0.1:1/", "--secret", "x"]):
        refused = await command(embedded, "listen", "loja-1", "--forward-to", *words)
        _, err = await refused.communicate()
        assert (refused.returncode, err.count(b"\n")) == (1, 1)


async def test_an_unknown_gateway_or_instance_is_one_clear_line(embedded: Program) -> None:
    nobody = await command(embedded, "listen", "loja-1")
    _, err = await nobody.communicate()
    assert nobody.returncode == 1
    assert err.decode().startswith("comporta: no gateway answers at ")
    await embedded.start()
    refused = await command(embedded, "listen", "nobody-here")
    _, err = await asyncio.wait_for(refused.communicate(), 20)
    assert refused.returncode == 1
    assert err.decode().startswith("comporta: the gateway answered 404: nobody-here is no instance")
    assert "POST /websocket/set/nobody-here" in err.decode()
    assert err.decode().count("\n") == 1
