"""`comporta keys` and `comporta tenants`: who may ask the running gateway for what."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gateway.cli_base import AsJson, call, every
from gateway.columns import in_columns

keys = typer.Typer(help="API keys and encryption keys.", no_args_is_help=True)
tenants = typer.Typer(help="Who owns instances, keys and everything else.", no_args_is_help=True)


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="what you will know it by")],
    permission: Annotated[
        list[str] | None, typer.Option(help="e.g. EVENTS_READ; may be repeated; without it: all")
    ] = None,
    instance: Annotated[str | None, typer.Option(help="the only instance it may touch")] = None,
    expires_at: Annotated[str | None, typer.Option(help="ISO 8601 time of its end")] = None,
) -> None:
    """Make an API key; it is shown once.

    Permissions: DRIVERS_MANAGE INSTALLATIONS_MANAGE SINKS_MANAGE EVENTS_READ EVENTS_WRITE
    EVENTS_REPLAY KEYS_MANAGE.
    """
    body = {
        "name": name,
        "permissions": permission or ["*"],
        "instance": instance,
        "expires_at": expires_at,
    }
    answer = call("POST", "/api-keys", {k: v for k, v in body.items() if v is not None})
    print(answer["data"]["key"])


@keys.command("list")
def keys_list(as_json: AsJson = False) -> None:
    """The API keys, without the keys themselves."""
    found = every("/api-keys")
    rows = [("ID", "NAME", "INSTANCE", "EXPIRES", "PERMISSIONS")]
    rows += [
        (
            k["id"],
            k["name"],
            k["instance"] or "all",
            (k["expires_at"] or "never")[:10],
            ",".join(k["permissions"]),
        )
        for k in found
    ]
    print(json.dumps(found, ensure_ascii=False) if as_json else in_columns(rows))


@keys.command("revoke")
def keys_revoke(ident: Annotated[str, typer.Argument(help="as `keys list` shows it")]) -> None:
    """End an API key at once."""
    call("DELETE", f"/api-keys/{ident}")
    print(f"revoked {ident}")


@keys.command("generate-secret")
def keys_generate_secret() -> None:
    """Print a fresh encryption key for COMPORTA_SECRET_KEYS."""
    from cryptography.fernet import Fernet

    print(Fernet.generate_key().decode())


@keys.command("rotate-encryption")
def keys_rotate_encryption() -> None:
    """Seal stored secrets with the newest key.

    The newest is the first of COMPORTA_SECRET_KEYS. When it is done the others may go.
    """
    told = call("POST", "/encryption/rotate")["data"]
    print(f"{told['rotated']} secrets were sealed with the newest key, {told['current']} had it")


@tenants.command("create")
def tenants_create(name: Annotated[str, typer.Argument(help="a-z 0-9 -, at most 32")]) -> None:
    """Make a tenant, and print its first API key.

    The key is shown once.
    """
    print(call("POST", "/tenants", {"name": name})["data"]["key"])


@tenants.command("list")
def tenants_list(as_json: AsJson = False) -> None:
    """The tenants."""
    found = every("/tenants")
    names = "\n".join(tenant["name"] for tenant in found)
    print(json.dumps(found, ensure_ascii=False) if as_json else names)
