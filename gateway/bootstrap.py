"""First start: the keys a gateway needs, generated and kept beside its store unless the environment
gives them.
"""

from __future__ import annotations

import os
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
    """The vault and admin key of this installation, made on first start. Raises SettingsError."""
    sealed = settings.secret_keys.get_secret_value()
    if not sealed:
        path = settings.data_dir / "secret.key"
        sealed = _kept(path) or _keep(path, Fernet.generate_key().decode())
    given = settings.api_key.get_secret_value()
    if given:
        return Keys(Vault(_split(sealed)), given, is_new=False)
    path = settings.data_dir / "admin.key"
    stored = _kept(path)
    admin = stored or _keep(path, new_api_key(random))
    return Keys(Vault(_split(sealed)), admin, is_new=stored is None)


def _split(keys: str) -> list[str]:
    return [k.strip() for k in keys.split(",") if k.strip()]


def _kept(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None


def _keep(path: Path, value: str) -> str:
    """Write once, readable by the owner only; whoever came first wins."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _kept(path) or value
    except OSError as error:
        raise SettingsError(
            f"cannot write {path}: {error.strerror}; set COMPORTA_DATA_DIR"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    return value
