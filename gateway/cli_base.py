"""What every command needs: its settings, the running gateway, and one clear line when it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from gateway.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="as JSON, for programs")]


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


def guarded(work: Callable[[], Any]) -> Any:
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


def call(method: str, path: str, body: Any = None) -> Any:
    """What the running gateway answers."""
    from gateway.admin_client import AdminClient

    settings = load_settings()
    return guarded(lambda: AdminClient.of(settings).call(method, path, body))


def every(path: str) -> list[Any]:
    """What the running gateway lists there, on all of its pages."""
    found: list[Any] = []
    page = last = 1
    while page <= last:
        answer = call("GET", f"{path}?limit=100&page={page}")
        found += answer["data"]
        page, last = page + 1, answer["meta"]["last_page"]
    return found


def show_progress(done: int, whole: int) -> None:
    """How far long work is, on a terminal; nothing where nobody looks."""
    if sys.stderr.isatty() and whole:
        print(f"\r{done * 100 // whole:>3} %", end="", file=sys.stderr, flush=True)
        if done >= whole:
            print("\r     \r", end="", file=sys.stderr, flush=True)
