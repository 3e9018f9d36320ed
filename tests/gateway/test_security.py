"""Keys, secrets at rest, and who may do what."""

import os
import re
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from gateway.security import (
    EVERYTHING,
    Principal,
    SecretsError,
    Vault,
    digest,
    is_masked,
    is_mistyped,
    mask,
    new_api_key,
    random_text,
)

OLD, NEW = "EcC1cGnMHTdXfVqWF7pGfb-8eRCTbYeCvWVEqmmhBlo=", Fernet.generate_key().decode()
ROW = "installation/01hm6y"
SECRET = {"secrets": [{"value": "çedilha \u2603", "until": 1_767_268_800_000_000}], "rate": 0.5}


def test_what_was_sealed_opens_as_it_was() -> None:
    vault = Vault([OLD])

    assert vault.open(ROW, vault.seal(ROW, SECRET)) == SECRET


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_any_value_survives_the_vault(value: object) -> None:
    vault = Vault([OLD])

    assert vault.open(ROW, vault.seal(ROW, value)) == value


def test_a_sealed_secret_does_not_show() -> None:
    sealed = Vault([OLD]).seal(ROW, {"secret": "hunter2"})

    assert sealed.startswith("enc:v1:")
    assert "hunter2" not in sealed
    assert OLD not in repr(Vault([OLD]))


def test_a_new_key_in_front_reads_what_the_old_one_wrote() -> None:
    written_before = Vault([OLD]).seal(ROW, SECRET)
    rotated = Vault([NEW, OLD])

    assert rotated.open(ROW, written_before) == SECRET
    assert Vault([NEW]).open(ROW, rotated.seal(ROW, SECRET)) == SECRET
    assert Vault([NEW]).open(ROW, rotated.rotate(written_before)) == SECRET


def test_without_its_key_a_secret_does_not_open() -> None:
    sealed = Vault([OLD]).seal(ROW, SECRET)

    with pytest.raises(SecretsError, match=ROW):
        Vault([NEW]).open(ROW, sealed)


def test_a_secret_moved_to_another_row_does_not_open() -> None:
    vault = Vault([OLD])

    with pytest.raises(SecretsError, match="belong to another row"):
        vault.open("installation/02", vault.seal(ROW, SECRET))


@pytest.mark.parametrize("keep", [0, 7, 20, -4, -1])
def test_a_damaged_secret_does_not_open(keep: int) -> None:
    vault = Vault([OLD])
    sealed = vault.seal(ROW, SECRET)

    with pytest.raises(SecretsError):
        vault.open(ROW, sealed[:keep])
    with pytest.raises(SecretsError):
        vault.open(ROW, sealed.swapcase())


@pytest.mark.parametrize("keys", [[], [""], ["short"], [OLD, "not-a-key"], ["ç" * 44]])
def test_keys_that_are_none_are_refused_by_name(keys: list[str]) -> None:
    with pytest.raises(SecretsError, match="COMPORTA_SECRET_KEYS"):
        Vault(keys)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("", ""),
        ("short", "********"),
        ("fifteen-letters", "********"),
        ("whsec_0123456789abcdef", "********cdef"),
    ],
)
def test_a_masked_secret_is_recognised_and_of_no_use(secret: str, shown: str) -> None:
    assert mask(secret) == shown
    assert is_masked(mask(secret)) is bool(secret)


@pytest.mark.parametrize("value", ["whsec_abc", "", None, 7, ["********"]])
def test_what_was_never_masked_is_no_mask(value: object) -> None:
    assert not is_masked(value)


def test_an_api_key_is_forty_characters_behind_its_prefix() -> None:
    assert re.fullmatch(r"cmp_[0-9A-Za-z]{40}", new_api_key(os.urandom))


def test_api_keys_differ() -> None:
    assert len({new_api_key(os.urandom) for _ in range(1000)}) == 1000


def test_a_key_of_ours_is_not_mistyped() -> None:
    assert not any(is_mistyped(new_api_key(os.urandom)) for _ in range(100))


@given(st.integers(4, 43), st.sampled_from("0Aaz~é\ud800"))
def test_a_changed_character_is_noticed(place: int, other: str) -> None:
    key = new_api_key(bytes_from([7, 99, 180, 3, 45]))
    changed = key[:place] + other + key[place + 1 :]

    assert is_mistyped(changed) is (changed != key)


@pytest.mark.parametrize("length", [4, 10, 43])
def test_a_key_that_was_cut_off_is_noticed(length: int) -> None:
    assert is_mistyped(new_api_key(os.urandom)[:length])


@pytest.mark.parametrize("key", ["e2e-admin-key", "", "CMP_x", "429683C4C977415CAAFCCE10F7D57E11"])
def test_an_operators_own_key_may_look_like_anything(key: str) -> None:
    assert not is_mistyped(key)


def bytes_from(pattern: list[int]) -> "Pattern":
    return Pattern(pattern)


class Pattern:
    """Bytes that come round again."""

    def __init__(self, pattern: list[int]) -> None:
        self._bytes = self._round(pattern)

    @staticmethod
    def _round(pattern: list[int]) -> Iterator[int]:
        while True:
            yield from pattern

    def __call__(self, size: int) -> bytes:
        return bytes(next(self._bytes) for _ in range(size))


def test_every_character_is_as_likely_as_any_other() -> None:
    text = random_text(Pattern(list(range(256))), 62 * 40)

    assert {text.count(c) for c in set(text)} == {40}
    assert len(set(text)) == 62


@pytest.mark.parametrize("token", ["", "cmp_x", "ç", "\ud800", "x" * 10_000])
def test_any_text_has_a_digest(token: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", digest(token))


def test_a_principal_may_what_was_given() -> None:
    reader = Principal("default", "k", "reader", frozenset({"EVENTS_READ"}), "loja-1")
    admin = Principal("default", "k", "admin", frozenset({EVERYTHING}))

    assert reader.may("EVENTS_READ")
    assert not reader.may("SINKS_MANAGE")
    assert admin.may("SINKS_MANAGE")
    assert reader.sees("loja-1")
    assert not reader.sees("loja-2")
    assert admin.sees("loja-2")
    assert (reader.instances, admin.instances) == (frozenset({"loja-1"}), None)
