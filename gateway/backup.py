"""`comporta backup` and `comporta restore`: the embedded store and, when asked for, its keys."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from gateway.settings import Settings, SettingsError
from gateway.store.sqlite.backup import copy_out, put_back

KEYS = ".key"  # what the name of a backup's key file adds to its own
POSTGRES = "the store is PostgreSQL: use pg_dump, or your server's own backups"


def back_up(
    settings: Settings,
    target: Path,
    tell: Callable[[str], None],
    progress: Callable[[int, int], None],
    *,
    with_keys: bool,
) -> None:
    """Copy the store to a new file, whether it is served or not. `progress(done, all)`: pages.
    Raises SettingsError, StoreUnavailableError, OSError.
    """
    path = _embedded(settings)
    kept, keys = settings.data_dir / "secret.key", target.with_name(target.name + KEYS)
    if with_keys and not kept.exists():
        raise SettingsError(f"{kept} is not there: the keys are in COMPORTA_SECRET_KEYS")
    size = copy_out(path, target, progress)
    tell(f"{path} is copied to {target}, {size} bytes")
    if with_keys:
        _copy_private(kept, keys)
        tell(f"its encryption key is in {keys}: who has both can read every secret")
    else:
        tell("its secrets open only with the encryption keys it was made under: keep those, too")


def restore(settings: Settings, copy: Path, tell: Callable[[str], None]) -> None:
    """Put a backup in the place of the store, which must not be served, and its key file where
    there is one. Raises as `back_up`.
    """
    path, kept = _embedded(settings), settings.data_dir / "secret.key"
    keys = copy.with_name(copy.name + KEYS)
    if not copy.is_file():
        raise SettingsError(f"there is no file {copy}")
    if keys.exists() and kept.exists() and keys.read_bytes() != kept.read_bytes():
        raise SettingsError(f"{kept} is another key than {keys}: move one of them away")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = put_back(copy, path)
    if keys.exists() and not kept.exists():
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _copy_private(keys, kept)
    if before is not None:
        tell(f"what was there is now {before}")
    tell(f"{copy} is now {path}: what it holds as waiting is sent when the gateway starts")


def _embedded(settings: Settings) -> Path:
    if settings.is_postgres:
        raise SettingsError(POSTGRES)
    return settings.sqlite_path


def _copy_private(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as read, os.fdopen(descriptor, "wb") as write:
        shutil.copyfileobj(read, write)
