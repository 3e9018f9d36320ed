"""The catalogue of event names."""

from __future__ import annotations

import pytest

from schemas.events import (
    ALIASES,
    COMMERCE_NAMES,
    FAMILIES,
    KEY_OF,
    MESSAGING,
    NAME_OF,
    SEED_KEYS,
    WEIGHTS,
    WIRE_NAMES,
    expand,
    family_of,
    is_messaging,
    key_of,
    to_key,
)


def test_every_name_has_one_key() -> None:
    assert len(WIRE_NAMES) == len(set(WIRE_NAMES)) == len(KEY_OF) == len(NAME_OF)
    assert {key_of(name) for name in WIRE_NAMES} == set(NAME_OF)


def test_the_seed_has_21_messaging_events() -> None:
    assert len(SEED_KEYS) == 21
    assert SEED_KEYS[0] == "APPLICATION_STARTUP"
    assert SEED_KEYS[-1] == "TYPEBOT_CHANGE_STATUS"


def test_weights_are_of_the_families_that_have_them() -> None:
    weighed = {name for f in ("order", "shipment", "return") for name in FAMILIES[f]}
    assert set(WEIGHTS) == weighed
    assert WEIGHTS["order.pending"] < WEIGHTS["order.paid"] < WEIGHTS["order.refunded"]
    assert {WEIGHTS[name] for name in weighed if name.endswith(".updated")} == {0}


@pytest.mark.parametrize("name", COMMERCE_NAMES)
def test_a_name_is_in_its_family(name: str) -> None:
    assert name in FAMILIES[family_of(name)]
    assert not is_messaging(name)
    assert NAME_OF[to_key(name)] == name


@pytest.mark.parametrize("key", MESSAGING)
def test_messaging_names_keep_their_spelling(key: str) -> None:
    assert is_messaging(MESSAGING[key])
    assert key_of(MESSAGING[key]) == key
    assert expand(key) == (key,)


def test_a_name_we_do_not_know_has_a_key_too() -> None:
    assert key_of("new.thing-happened") == "NEW_THING_HAPPENED"
    assert not is_messaging("new.thing-happened")


@pytest.mark.parametrize(
    ("spelling", "keys"),
    [
        ("order.paid", ("ORDER_PAID",)),
        (" Order-Paid ", ("ORDER_PAID",)),
        ("ORDER_PAID", ("ORDER_PAID",)),
        ("group-participants.update", ("GROUP_PARTICIPANTS_UPDATE",)),
        ("checkout.*", ("CHECKOUT_ABANDONED", "CHECKOUT_UPDATED")),
        ("CHECKOUT_*", ("CHECKOUT_ABANDONED", "CHECKOUT_UPDATED")),
        ("order.frozen", ()),
        ("planet.*", ()),
        ("*", ()),
        ("", ()),
        ("_*", ()),
    ],
)
def test_expand(spelling: str, keys: tuple[str, ...]) -> None:
    assert expand(spelling) == keys


def test_both_spellings_of_upstream_are_one_event() -> None:
    assert {alias: expand(alias) for alias in ALIASES} == {k: (v,) for k, v in ALIASES.items()}
    assert len(expand("order.*")) == len(FAMILIES["order"])
