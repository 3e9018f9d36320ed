"""`comporta demo`: a real gateway in a temporary folder, a real delivery through it, each step
shown.

Exit status 0 only when all of it happened: the provider was answered, the receiver got the event
with a signature that holds, and the record can be looked up.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import signal
import socket
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.syntax import Syntax

from gateway import samples

INSTANCE, SAMPLE, SECRET = "loja-demo", "shopify/orders_paid", "demo-shopify-client-secret"
PATIENCE = 20.0


class DemoError(Exception):
    """A step did not happen."""


@dataclass(slots=True)
class Receiver:
    """The shop's own server: keeps what it gets."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        """Take a delivery."""
        headers = {k.lower(): v for k, v in request.headers.items()}
        self.got.append((headers, await request.read()))
        self.arrived.set()
        return web.Response(text="thank you")


@dataclass(slots=True, frozen=True)
class Gateway:
    """The running program under demonstration."""

    url: str
    key: str
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """An API call; raises DemoError unless it worked."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with self.session.request(
            method, self.url + path, json=body, headers=headers
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise DemoError(f"{method} {path} answered {answer.status}: {text[:300]}")
            return json.loads(text)


async def demo() -> int:
    """Play it; gives the exit status."""
    console = Console(highlight=False)
    console.rule("[bold]Comporta: one delivery, from the provider to your server")
    try:
        with tempfile.TemporaryDirectory(prefix="comporta-demo-") as folder:
            async with _receiver() as (receiver, target), _gateway(folder) as gateway:
                await _play(console, gateway, receiver, target)
    except (DemoError, aiohttp.ClientError, TimeoutError, OSError) as error:
        console.print(f"[red]The demo failed:[/red] {error}")
        return 1
    console.rule("[bold green]It all happened. Next: README.md, “First integration”")
    return 0


async def _play(console: Console, gateway: Gateway, receiver: Receiver, target: str) -> None:
    console.print(f"[dim]gateway {gateway.url} (SQLite, temporary), receiver {target}[/dim]\n")
    sink = await gateway.call(
        "POST", f"/webhook/set/{INSTANCE}", {"url": target, "events": ["order.*"]}
    )
    console.print(
        f"[bold]1[/bold] A webhook sink for every order event of [cyan]{INSTANCE}[/cyan]; it signs."
    )
    body = {"driver": "shopify", "instance": INSTANCE, "credentials": {"secret": SECRET}}
    shop = (await gateway.call("POST", "/installations", body))["data"]
    console.print(
        f"[bold]2[/bold] Shopify installed; it will post to\n  [cyan]{shop['ingest_url']}[/cyan]"
    )
    answer = await _deliver(console, gateway, shop["ingest_url"])
    await asyncio.wait_for(receiver.arrived.wait(), PATIENCE)
    event_id = answer["events"][0]["id"]
    headers, raw = receiver.got[0]
    if headers.get("webhook-id") != event_id:
        raise DemoError("the receiver got another event")
    _check_signature(sink["secret"], headers, raw)
    console.print(
        "\n[bold]4[/bold] What your server received, signature verified (Standard Webhooks):"
    )
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "x-event-type"):
        console.print(f"  {name}: [cyan]{headers[name]}[/cyan]")
    console.print(
        Syntax(_pretty(json.loads(raw)), "json", background_color="default", word_wrap=True)
    )
    await _show_record(console, gateway, event_id)


async def _deliver(console: Console, gateway: Gateway, url: str) -> Any:
    """Post the sample as Shopify does, twice: the second is recognised."""
    sample = samples.load(SAMPLE)
    draft = sample.signed(SECRET, 0)
    console.print(
        f"\n[bold]3[/bold] Shopify posts a paid order ({len(draft.body)} bytes, HMAC in a header):"
    )
    for name in ("X-Shopify-Topic", "X-Shopify-Webhook-Id", "X-Shopify-Hmac-Sha256"):
        console.print(f"  {name}: [cyan]{draft.headers[name]}[/cyan]")
    shown = draft.body.decode()[:300].replace("[", r"\[")
    console.print(f"  [dim]{shown}…[/dim]")
    answers = []
    for told in ("it is answered after the commit", "sent again, it is recognised"):
        async with gateway.session.post(url, data=draft.body, headers=draft.headers) as answer:
            text = await answer.text()
            if answer.status != 200:
                raise DemoError(f"the delivery was answered {answer.status}: {text[:300]}")
            console.print(f"  {told}: 200 [cyan]{text}[/cyan]")
            answers.append(json.loads(text))
    if not answers[1]["events"][0]["duplicate"]:
        raise DemoError("the redelivery was not recognised")
    return answers[0]


async def _show_record(console: Console, gateway: Gateway, event_id: str) -> None:
    """What the gateway remembers of it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            event = (await gateway.call("GET", f"/processing/events/{event_id}"))["data"]
            if event["status"] == "dispatched" and event["dispatches"]:
                break
            await asyncio.sleep(0.05)
    dispatch_id = event["dispatches"][0]["id"]
    dispatch = (await gateway.call("GET", f"/processing/dispatches/{dispatch_id}"))["data"]
    if dispatch["status"] != "succeeded":
        raise DemoError(f"the delivery is {dispatch['status']}")
    console.print("\n[bold]5[/bold] And what the gateway remembers of it:")
    record = {
        k: event[k] for k in ("id", "name", "seq", "key", "status", "created_at", "inbound_id")
    }
    tries = [
        {"at": a.get("at") or a.get("attempted_at"), "duration_ms": a.get("duration_ms")}
        for a in dispatch["attempts"]
    ]
    shown = record | {"dispatch": dispatch["status"], "attempts": tries}
    console.print(Syntax(_pretty(shown), "json", background_color="default", word_wrap=True))


def _check_signature(secret: str, headers: dict[str, str], raw: bytes) -> None:
    key = b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + raw
    expected = "v1," + b64encode(hmac.digest(key, signed, "sha256")).decode()
    if expected not in headers["webhook-signature"].split(" "):
        raise DemoError("the signature of the delivery does not hold")


def _pretty(value: Any) -> str:
    return json.dumps(_known(value), indent=2, ensure_ascii=False)


def _known(value: Any) -> Any:
    """Without what is null or empty, for reading on a terminal."""
    if isinstance(value, dict):
        return {k: _known(v) for k, v in value.items() if v not in (None, [], {})}
    return [_known(v) for v in value] if isinstance(value, list) else value


@contextlib.asynccontextmanager
async def _receiver() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/orders", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield receiver, f"http://127.0.0.1:{port}/orders"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _gateway(folder: str) -> AsyncIterator[Gateway]:
    """The program itself, as a process of its own."""
    port = _free_port()
    ours = {
        "COMPORTA_DATA_DIR": folder,
        "COMPORTA_PORT": str(port),
        "COMPORTA_ALLOW_TARGETS": "127.0.0.0/8",
        "COMPORTA_LOG_LEVEL": "warning",
    }
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COMPORTA_")} | ours
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "serve", env=environ, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}"
            await _ready(session, url, process)
            key = (Path(folder) / "admin.key").read_text(encoding="ascii").strip()
            yield Gateway(url, key, session)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _ready(
    session: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process
) -> None:
    async with asyncio.timeout(PATIENCE):
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url + "/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise DemoError(f"the gateway ended with status {process.returncode}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
