"""First start: the keys a gateway needs, generated and kept beside its store unless the environment
gives them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from gateway.security import RandomBytes, Vault, new_api_key
from gateway.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Keys:
    """`admin_key`: acts as the admin of tenant `default`. `is_new`: made just now, to be shown
    once.
    """

    vault: Vault
    admin_key: str
    is_new: bool


def ensure_keys(settings: Settings, random: RandomBytes) -> Keys:
    """The vault and admin key of this installation, made on first start.

    Raises SettingsError or SecretsError.
    """
    sealed, admin = kept_keys(settings)
    if sealed is None:
        made = Fernet.generate_key().decode()
        sealed = _keep(settings.data_dir / "secret.key", made, random)
    vault = Vault(_split(sealed))
    if admin is not None:
        return Keys(vault, admin, is_new=False)
    admin = _keep(settings.data_dir / "admin.key", new_api_key(random), random)
    return Keys(vault, admin, is_new=True)


def kept_keys(settings: Settings) -> tuple[str | None, str | None]:
    """The encryption keys and the admin key as they were given or kept; None for what the first
    start has yet to make. Raises SettingsError.
    """
    sealed = settings.secret_keys.get_secret_value() or _kept(settings.data_dir / "secret.key")
    admin = settings.api_key.get_secret_value() or _kept(settings.data_dir / "admin.key")
    return sealed, admin


def _split(keys: str) -> list[str]:
    return [k.strip() for k in keys.split(",") if k.strip()]


def _kept(path: Path) -> str | None:
    """What a key file holds, None when there is none. An empty one is damage, not a first start."""
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        kept = ""
    if not kept:
        raise SettingsError(f"{path} holds no key: restore it from a backup, or remove it")
    return kept


def _keep(path: Path, value: str, random: RandomBytes) -> str:
    """Write once, readable by the owner only; whoever came first wins. A key file is whole from the
    moment it has its name: half a key would be another key after the next start.
    """
    draft = path.with_name(f"{path.name}.{random(8).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(value + "\n")
            file.flush()
            os.fsync(file.fileno())
        _publish(draft, path)
    except OSError as error:
        raise SettingsError(
            f"cannot write {path}: {error.strerror}; set COMPORTA_DATA_DIR"
        ) from None
    finally:
        with suppress(OSError):
            draft.unlink()
    return _kept(path) or value


def _publish(draft: Path, path: Path) -> None:
    """Give the file its name, unless another has it, and have the folder remember."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
