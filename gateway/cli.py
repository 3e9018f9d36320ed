"""The command line: `comporta COMMAND --help` says the rest.

Exit status: 0 done, 1 it did not work, 2 the call was wrong. Every command imports what it needs
when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli_base import AsJson, call, fail, guarded, load_settings, show_progress
from gateway.cli_keys import keys, tenants

app = typer.Typer(
    name="comporta",
    help="Comporta, the event gateway for commerce: provider webhooks in, canonical events out, "
    "nothing lost. `comporta demo` shows all of it in a minute.",
    epilog="Settings are environment variables (deploy/comporta.example.env). Exit status: 0 done, "
    "1 it did not work, 2 the call or the settings are wrong, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMPLETE = "_COMPORTA_COMPLETE"  # set by a shell that wants to know what may come next
app.add_typer(keys, name="keys")
app.add_typer(tenants, name="tenants")


class Shell(StrEnum):
    """What `comporta completion` speaks."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def _sample_names(incomplete: str) -> list[str]:
    from gateway import samples

    return [name for name in samples.names() if name.startswith(incomplete)]


def _driver_slugs(incomplete: str) -> list[str]:
    from drivers import DRIVERS

    return [driver.slug for driver in DRIVERS if driver.slug.startswith(incomplete)]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(help="processes (PostgreSQL only)")] = None,
) -> None:
    """Run the gateway. Without configuration: SQLite in ./data, http://127.0.0.1:8080."""
    from gateway.shared_metrics import shared_among

    settings = load_settings(host=host, port=port, workers=workers)
    with shared_among(settings.workers):
        from gateway.serve import serve as run

        status = guarded(lambda: run(settings))
    raise typer.Exit(status)


@app.command()
def migrate() -> None:
    """Bring the store's schema up to date.

    Serving does so, too; this does it beforehand, and says what was done.
    """
    from gateway.maintenance import migrate as run

    settings = load_settings()
    print(guarded(lambda: asyncio.run(run(settings))))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check all that a gateway needs; say what to do.

    Settings, keys, disk, clock, store, brokers, the public URL. It only looks: nothing is migrated
    or made. Exit status 1 when something must be done.
    """
    from gateway.doctor import Patient, as_json_text, as_lines, examine

    patient = Patient(load_settings(), os.environ, lambda: time.time_ns() // 1000)
    findings = guarded(lambda: asyncio.run(examine(patient)))
    print(as_json_text(findings) if as_json else as_lines(findings))
    raise typer.Exit(1 if any(f.level == "fail" for f in findings) else 0)


@app.command()
def health(
    ready: Annotated[bool, typer.Option("--ready", help="also whether the store takes writes")] = (
        False
    ),
) -> None:
    """Whether the gateway answers: exit status 0 or 1.

    For containers and scripts. It asks the gateway that these settings describe, on this machine.
    """
    from gateway.admin_client import check_health

    settings = load_settings()
    print(guarded(lambda: check_health(settings, "/readyz" if ready else "/healthz")))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="where to; it must not exist yet")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="the encryption key too, as FILE.key")
    ] = False,
) -> None:
    """Copy the embedded store, even while it is served."""
    from gateway.backup import back_up

    settings = load_settings()
    guarded(lambda: back_up(settings, file, print, show_progress, with_keys=with_keys))


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="what `comporta backup` made")]) -> None:
    """Put a backup in the place of the embedded store.

    Stop the gateway first. What was there is kept beside it.
    """
    from gateway.backup import restore as run

    settings = load_settings()
    guarded(lambda: run(settings, file, print))


@app.command()
def demo() -> None:
    """Play a delivery through a temporary gateway.

    Everything is real, every step is shown, and nothing is left behind.
    """
    from gateway.demo import demo as run

    raise typer.Exit(guarded(lambda: asyncio.run(run())))


@app.command()
def drivers(as_json: AsJson = False) -> None:
    """The catalogue of providers.

    How each proves its deliveries (signed, a token, or its secret URL alone), and how many kinds of
    events it tells.
    """
    from gateway.catalogue import as_json_text, as_table

    print(as_json_text() if as_json else as_table())


@app.command()
def send(
    sample: Annotated[
        str,
        typer.Argument(help="driver/case, e.g. shopify/orders_paid", autocompletion=_sample_names),
    ] = "",
    to: Annotated[str, typer.Option(help="the ingest URL of an installation")] = "",
    secret: Annotated[str, typer.Option(help="that installation's secret")] = "",
    list_them: Annotated[bool, typer.Option("--list", help="name every sample")] = False,
    as_json: AsJson = False,
) -> None:
    """Send a bundled delivery, freshly signed.

    `--list` names all of them. The answer is the gateway's; exit status 1 when it refuses.
    """
    from gateway import samples
    from gateway.sending import send as run

    if list_them:
        names = samples.names()
        print(json.dumps(names) if as_json else "\n".join(names))
        return
    if not sample or not to:
        fail("say which sample and --to which URL (see --help)", 2)
    status, body = guarded(lambda: run(samples.load(sample), to, secret))
    print(json.dumps({"status": status, "body": body}) if as_json else f"{status} {body}")
    raise typer.Exit(0 if status < 400 else 1)


@app.command()
def listen(
    instance: Annotated[str, typer.Argument(help="whose events")],
    events: Annotated[str, typer.Option(help="comma list, e.g. order.paid,ORDER_*")] = "",
    forward_to: Annotated[str, typer.Option(help="a URL to post each event to, as a webhook")] = "",
    secret: Annotated[str, typer.Option(help="whsec_… to sign what is forwarded with")] = "",
) -> None:
    """Print an instance's events as they come.

    One JSON line each; Ctrl-C ends it. With --forward-to they also reach a program on this machine
    while you write it: nothing has to be reachable from outside. The instance needs its websocket
    sink: POST /websocket/set/INSTANCE.
    """
    from gateway.admin_client import AdminClient
    from gateway.forwarding import Forwarder
    from gateway.listening import listen as run

    settings = load_settings()
    client = guarded(lambda: AdminClient.of(settings))
    forward = guarded(lambda: Forwarder(forward_to, secret, time.time)) if forward_to else None

    def write(line: str) -> None:
        print(line, flush=True)
        if forward is not None:
            print(forward.send(line), file=sys.stderr, flush=True)

    guarded(lambda: asyncio.run(run(client, instance, events, write)))


@app.command()
def tail(
    instance: Annotated[str | None, typer.Option(help="of one instance")] = None,
    name: Annotated[str | None, typer.Option(help="of one event, e.g. order.paid")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="how many")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on; Ctrl-C ends it")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the newest events, and what became of them.

    Of every instance, from the record: nothing has to be configured. `listen` hears those of one
    instance the moment they come.
    """
    from gateway.tailing import EVERY, Tail, as_line

    reader = Tail(partial(call, "GET"), {"instance": instance, "name": name})

    def run() -> None:
        events = reader.newest(count)
        while True:
            for event in events:
                print(as_line(event, as_json=as_json), flush=True)
            if not follow:
                return
            time.sleep(EVERY)
            events = reader.following()

    guarded(run)


@app.command()
def renormalize(
    driver: Annotated[
        str, typer.Argument(help="the driver that was fixed", autocompletion=_driver_slugs)
    ],
    since: Annotated[str | None, typer.Option(help="ISO 8601 time; default everything")] = None,
) -> None:
    """Read a driver's quarantined deliveries again.

    On the running gateway, after an update taught the driver what it did not understand.
    """
    body = {"driver": driver} | ({"from": since} if since else {})
    answer = call("POST", "/processing/renormalize", body)
    print(f"{answer['data'].get('matched', 0)} deliveries are being read again")


@app.command()
def replay(
    *,
    instance: Annotated[str | None, typer.Option(help="of one instance")] = None,
    sink: Annotated[str | None, typer.Option(help="to one sink: its kind, kind/name or id")] = None,
    name: Annotated[str | None, typer.Option(help="of one event, e.g. order.paid")] = None,
    status: Annotated[str, typer.Option(help="dead, canceled or succeeded")] = "dead",
    since: Annotated[str | None, typer.Option(help="ISO 8601 time")] = None,
    until: Annotated[str | None, typer.Option(help="ISO 8601 time")] = None,
    rate: Annotated[float | None, typer.Option(help="deliveries a second at most")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="show how far it is until it ends")] = False,
) -> None:
    """Deliver again, in bulk.

    On the running gateway; without options, everything that is dead. With --wait the exit
    status is 1 unless it went through to its end.
    """
    wanted = {"instance": instance, "sink": sink, "name": name, "status": status}
    wanted |= {"from": since, "to": until}
    body: dict[str, Any] = {"filter": {k: v for k, v in wanted.items() if v is not None}}
    if rate is not None:
        body["rate"] = rate
    data = call("POST", "/processing/replay", body)["data"]
    print(f"replay {data['id']}: {data['matched']} deliveries", flush=True)
    if wait:
        from gateway.following import follow

        look = partial(call, "GET", f"/processing/replays/{data['id']}")
        raise typer.Exit(guarded(lambda: follow(look, print, time.sleep)))


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish")]) -> None:
    """Print what makes a shell complete our commands.

    Options, samples and drivers, too. For bash and zsh: source <(comporta completion bash), in
    ~/.bashrc or ~/.zshrc. For fish: comporta completion fish >
    ~/.config/fish/completions/comporta.fish
    """
    from typer import completion as completing

    print(
        completing.get_completion_script(  # type: ignore[attr-defined]  # typer re-exports it without saying so
            prog_name="comporta", complete_var=COMPLETE, shell=shell.value
        )
    )


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the HTTP API."""
    from gateway.api.openapi import document
    from gateway.api.router import ROUTES
    from schemas import codec

    settings = load_settings()
    print(codec.dumps(document(ROUTES, settings.base_url)).decode())


def main() -> None:
    """The console script."""
    if COMPLETE in os.environ:
        from typer import completion as completing

        completing.completion_init()  # type: ignore[attr-defined]  # as above
    app(prog_name="comporta")
