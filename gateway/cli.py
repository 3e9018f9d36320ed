"""The command line: `comporta COMMAND --help` says the rest.

Exit status: 0 done, 1 it did not work, 2 the call was wrong. Every command imports what it needs
when it runs, so that `--help` is instant.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from gateway.settings import Settings

app = typer.Typer(
    name="comporta",
    help="Comporta, the event gateway for commerce: provider webhooks in, canonical events out, "
    "nothing lost. `comporta demo` shows all of it in a minute.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="API keys and encryption keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")
tenants = typer.Typer(help="Who owns instances, keys and everything else.", no_args_is_help=True)
app.add_typer(tenants, name="tenants")


def fail(message: str, status: int = 1) -> NoReturn:
    """End with one clear line."""
    print(f"comporta: {message}", file=sys.stderr)
    raise typer.Exit(status)


def load_settings(**overrides: Any) -> Settings:
    """The settings of the environment, with what the command line says on top."""
    from gateway.settings import PREFIX, Settings, SettingsError

    environ = dict(os.environ)
    environ |= {PREFIX + k.upper(): str(v) for k, v in overrides.items() if v is not None}
    try:
        return Settings.load(environ)
    except SettingsError as error:
        fail(str(error), 2)


def _guarded(work: Callable[[], Any]) -> Any:
    """Run a command; its foreseeable failures become one line."""
    from gateway.admin_client import AdminError
    from gateway.samples import UnknownSampleError
    from gateway.security import SecretsError
    from gateway.settings import SettingsError
    from schemas.errors import ComportaError

    try:
        return work()
    except (AdminError, UnknownSampleError, SecretsError, SettingsError) as error:
        fail(str(error))
    except ComportaError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(help="processes (PostgreSQL only)")] = None,
) -> None:
    """Run the gateway. Without configuration: SQLite in ./data, http://127.0.0.1:8080."""
    from gateway.serve import serve as run

    settings = load_settings(host=host, port=port, workers=workers)
    status = _guarded(lambda: run(settings))
    raise typer.Exit(status)


@app.command()
def migrate() -> None:
    """Bring the store's schema up to date, and say what was done."""
    from gateway.maintenance import migrate as run

    settings = load_settings()
    print(_guarded(lambda: asyncio.run(run(settings))))


@app.command()
def doctor() -> None:
    """Check configuration, store, keys and the running gateway; exit 1 when something is wrong."""
    from gateway.maintenance import examine

    settings = load_settings()
    findings = _guarded(lambda: asyncio.run(examine(settings)))
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject:<14} {finding.detail}")
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


@app.command()
def health(
    ready: Annotated[bool, typer.Option("--ready", help="also whether the store takes writes")] = (
        False
    ),
) -> None:
    """Whether the gateway of these settings answers: exit 0 or 1, for containers and scripts."""
    from gateway.admin_client import check_health

    settings = load_settings()
    print(_guarded(lambda: check_health(settings, "/readyz" if ready else "/healthz")))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="where to; it must not exist yet")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="the encryption key too, as FILE.key")
    ] = False,
) -> None:
    """Copy the embedded store to a file, while it is served or while it is not."""
    from gateway.backup import back_up

    settings = load_settings()
    _guarded(lambda: back_up(settings, file, print, with_keys=with_keys))


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="what `comporta backup` made")]) -> None:
    """Put a backup in the place of the embedded store; stop the gateway first."""
    from gateway.backup import restore as run

    settings = load_settings()
    _guarded(lambda: run(settings, file, print))


@app.command()
def demo() -> None:
    """Play a real delivery through a real gateway in a temporary folder, and show each step."""
    from gateway.demo import demo as run

    raise typer.Exit(_guarded(lambda: asyncio.run(run())))


@app.command()
def drivers(
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, for programs")] = False,
) -> None:
    """The catalogue of providers."""
    from gateway.catalogue import as_json_text, as_table

    print(as_json_text() if as_json else as_table())


@app.command()
def send(
    sample: Annotated[str, typer.Argument(help="driver/case, e.g. shopify/orders_paid")] = "",
    to: Annotated[str, typer.Option(help="the ingest URL of an installation")] = "",
    secret: Annotated[str, typer.Option(help="that installation's secret")] = "",
    list_them: Annotated[bool, typer.Option("--list", help="name every sample")] = False,
) -> None:
    """Send a bundled sample delivery, freshly signed, to a running gateway."""
    from gateway import samples
    from gateway.sending import send as run

    if list_them:
        print("\n".join(samples.names()))
        return
    if not sample or not to:
        fail("say which sample and --to which URL (see --help)", 2)
    status, body = _guarded(lambda: run(samples.load(sample), to, secret))
    print(f"{status} {body}")
    raise typer.Exit(0 if status < 400 else 1)


@keys.command("create")
def keys_create(
    name: str,
    permission: Annotated[list[str] | None, typer.Option(help="repeatable; default *")] = None,
    instance: Annotated[str | None, typer.Option(help="the only instance it may touch")] = None,
    expires_at: Annotated[str | None, typer.Option(help="ISO 8601 time of its end")] = None,
) -> None:
    """Make an API key on the running gateway; it is shown once."""
    body = {
        "name": name,
        "permissions": permission or ["*"],
        "instance": instance,
        "expires_at": expires_at,
    }
    answer = _call("POST", "/api-keys", {k: v for k, v in body.items() if v is not None})
    print(answer["data"]["key"])


@keys.command("list")
def keys_list() -> None:
    """The API keys of the running gateway."""
    for key in _call("GET", "/api-keys")["data"]:
        print(f"{key['id']}  {key['name']:<24} {','.join(key['permissions'])}")


@keys.command("revoke")
def keys_revoke(ident: str) -> None:
    """End an API key at once."""
    _call("DELETE", f"/api-keys/{ident}")
    print(f"revoked {ident}")


@keys.command("generate-secret")
def keys_generate_secret() -> None:
    """Print a fresh encryption key for COMPORTA_SECRET_KEYS."""
    from cryptography.fernet import Fernet

    print(Fernet.generate_key().decode())


@keys.command("rotate-encryption")
def keys_rotate_encryption() -> None:
    """Seal every stored secret with the newest of COMPORTA_SECRET_KEYS, on the running gateway."""
    told = _call("POST", "/encryption/rotate")["data"]
    print(f"{told['rotated']} secrets were sealed with the newest key, {told['current']} had it")


@tenants.command("create")
def tenants_create(name: Annotated[str, typer.Argument(help="a-z 0-9 -, at most 32")]) -> None:
    """Make a tenant on the running gateway, and print its first API key, which is shown once."""
    print(_call("POST", "/tenants", {"name": name})["data"]["key"])


@tenants.command("list")
def tenants_list() -> None:
    """The tenants of the running gateway."""
    for tenant in _call("GET", "/tenants?limit=100")["data"]:
        print(tenant["name"])


def _call(method: str, path: str, body: Any = None) -> Any:
    from gateway.admin_client import AdminClient

    settings = load_settings()
    return _guarded(lambda: AdminClient.of(settings).call(method, path, body))


@app.command()
def listen(
    instance: Annotated[str, typer.Argument(help="whose events")],
    events: Annotated[str, typer.Option(help="comma list, e.g. order.paid,ORDER_*")] = "",
) -> None:
    """Print the events of an instance as they come, one JSON line each (Ctrl-C ends it).

    The instance needs its websocket sink: POST /websocket/set/INSTANCE.
    """
    from gateway.admin_client import AdminClient
    from gateway.listening import listen as run

    settings = load_settings()
    client = _guarded(lambda: AdminClient.of(settings))
    _guarded(
        lambda: asyncio.run(run(client, instance, events, lambda line: print(line, flush=True)))
    )


@app.command()
def renormalize(
    driver: Annotated[str, typer.Argument(help="the driver that was fixed")],
    since: Annotated[str | None, typer.Option(help="ISO 8601 time; default everything")] = None,
) -> None:
    """Read the quarantined deliveries of a driver again, on the running gateway."""
    body = {"driver": driver} | ({"from": since} if since else {})
    answer = _call("POST", "/processing/renormalize", body)
    print(f"{answer['data'].get('matched', 0)} deliveries are being read again")


@app.command()
def replay(  # noqa: PLR0917 - options, which typer gives by name
    instance: Annotated[str | None, typer.Option(help="of one instance")] = None,
    sink: Annotated[str | None, typer.Option(help="to one sink: its kind, kind/name or id")] = None,
    name: Annotated[str | None, typer.Option(help="of one event, e.g. order.paid")] = None,
    status: Annotated[str, typer.Option(help="dead, canceled or succeeded")] = "dead",
    since: Annotated[str | None, typer.Option(help="ISO 8601 time")] = None,
    until: Annotated[str | None, typer.Option(help="ISO 8601 time")] = None,
    rate: Annotated[float | None, typer.Option(help="deliveries a second at most")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="show how far it is until it ends")] = False,
) -> None:
    """Deliver again, in bulk, on the running gateway."""
    wanted = {"instance": instance, "sink": sink, "name": name, "status": status}
    wanted |= {"from": since, "to": until}
    body: dict[str, Any] = {"filter": {k: v for k, v in wanted.items() if v is not None}}
    if rate is not None:
        body["rate"] = rate
    data = _call("POST", "/processing/replay", body)["data"]
    print(f"replay {data['id']}: {data['matched']} deliveries", flush=True)
    if wait:
        from gateway.following import follow

        look = partial(_call, "GET", f"/processing/replays/{data['id']}")
        raise typer.Exit(_guarded(lambda: follow(look, print, time.sleep)))


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the HTTP API, as /openapi.json serves it."""
    from gateway.api.openapi import document
    from gateway.api.router import ROUTES
    from schemas import codec

    settings = load_settings()
    print(codec.dumps(document(ROUTES, settings.base_url)).decode())


def main() -> None:
    """The console script."""
    app()
