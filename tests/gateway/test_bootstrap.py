"""First start: keys are made once, kept whole and for the owner only."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.bootstrap import Keys, ensure_keys, kept_keys
from gateway.security import SecretsError
from gateway.settings import Settings, SettingsError

FERNET = "EcC1cGnMHTdXfVqWF7pGfb-8eRCTbYeCvWVEqmmhBlo="


def start(folder: Path, **more: str) -> Keys:
    environ = {"COMPORTA_DATA_DIR": str(folder)}
    return ensure_keys(Settings.load(environ | more), os.urandom)


def opens(keys: Keys, sealed: str) -> bool:
    return bool(keys.vault.open("row", sealed) == "secret")


def test_the_first_start_makes_keys_and_the_next_finds_them(tmp_path: Path) -> None:
    first = start(tmp_path / "data")
    second = start(tmp_path / "data")

    assert (first.is_new, second.is_new) == (True, False)
    assert second.admin_key == first.admin_key
    assert opens(second, first.vault.seal("row", "secret"))


def test_key_files_are_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    before = os.umask(0)
    try:
        start(folder)
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"admin.key": 0o600, "secret.key": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_the_environment_gives_is_not_written_down(tmp_path: Path) -> None:
    keys = start(
        tmp_path / "data", COMPORTA_API_KEY="mine", COMPORTA_SECRET_KEYS=f" {FERNET} ,{FERNET}"
    )

    assert (keys.admin_key, keys.is_new) == ("mine", False)
    assert not (tmp_path / "data").exists()


def test_many_starts_at_once_agree_on_one_pair_of_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: start(tmp_path / "data"), range(8)))

    assert len({keys.admin_key for keys in started}) == 1
    sealed = started[0].vault.seal("row", "secret")
    assert all(opens(keys, sealed) for keys in started)
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["admin.key", "secret.key"]


@pytest.mark.parametrize("name", ["secret.key", "admin.key"])
@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_key_file_without_a_key_is_damage_and_not_a_first_start(
    tmp_path: Path, name: str, content: bytes
) -> None:
    start(tmp_path)
    (tmp_path / name).write_bytes(content)

    with pytest.raises(SettingsError, match=name):
        start(tmp_path)
    assert (tmp_path / name).read_bytes() == content


def test_what_a_crash_left_half_written_is_not_taken_for_a_key(tmp_path: Path) -> None:
    (tmp_path / "secret.key.0123456789abcdef").write_text("half a k")

    keys = start(tmp_path)

    assert opens(start(tmp_path), keys.vault.seal("row", "secret"))


def test_a_wrong_encryption_key_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="COMPORTA_SECRET_KEYS"):
        start(tmp_path, COMPORTA_SECRET_KEYS="no-key")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")

    with pytest.raises(SettingsError, match="data"):
        start(tmp_path / "data")


def test_looking_makes_nothing(tmp_path: Path) -> None:
    settings = Settings.load({"COMPORTA_DATA_DIR": str(tmp_path / "data")})

    assert kept_keys(settings) == (None, None)
    assert not (tmp_path / "data").exists()
