"""The schemas we publish are those of the types, are valid themselves, and hold for real events."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import codec
from schemas.events import COMMERCE_NAMES, Event
from schemas.published import document
from tests.drivers.samples import SAMPLES
from tests.schemas.publish import FOLDER, dump, main

EXAMPLES = [e for s in SAMPLES for e in s.run().events if e.name in COMMERCE_NAMES]


@cache
def validator_of(name: str) -> Draft202012Validator:
    return Draft202012Validator(document(name))


def wire(event: Event) -> dict[str, Any]:
    """An event as a websocket gets it: the least there is."""
    told = {"id": "01ke7rhnt6fhb6tsbbhcdpep00", "seq": 7, "instance": "loja-1"}
    times = {"occurred_at": "2026-11-21T12:00:00Z"}
    return {**told, **times, "event": event.name, "data": json.loads(codec.dumps(event.data))}


@pytest.mark.parametrize("name", COMMERCE_NAMES)
def test_the_committed_schema_is_fresh_and_valid(name: str) -> None:
    written = (FOLDER / f"{name}.json").read_text("utf-8")
    assert dump(document(name)) == written, "stale: run `make schemas`"
    Draft202012Validator.check_schema(json.loads(written))
    assert json.loads(written)["$id"].endswith(f"/{name}.json")


def test_there_is_no_other_file() -> None:
    assert {p.stem for p in FOLDER.glob("*.json")} == set(COMMERCE_NAMES)


def test_an_unknown_name_has_no_schema() -> None:
    with pytest.raises(KeyError):
        document("order.frozen")


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda e: f"{e.name}-{e.dedupe_key[:40]}")
def test_events_of_the_samples_are_valid(event: Event) -> None:
    validator = validator_of(event.name)
    assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(wire(event))] == []


BREAKAGES: dict[str, Any] = {
    "another name": lambda w: w.update(event="order.frozen"),
    "no id": lambda w: w.pop("id"),
    "no order": lambda w: w["data"].update(order=None),
    "a part left out": lambda w: w["data"].pop("coupons"),
    "a field left out": lambda w: w["data"]["order"].pop("total"),
    "an amount as text": lambda w: w["data"]["order"].update(total="10.00"),
    "a status of no meaning": lambda w: w["data"]["order"].update(status="frozen"),
    "an id as number": lambda w: w["data"]["order"].update(id=7),
}


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_broken_event_is_not_valid(how: str) -> None:
    broken = wire(next(e for e in EXAMPLES if e.name == "order.paid"))
    validator = validator_of("order.paid")
    assert validator.is_valid(broken)
    BREAKAGES[how](broken)
    assert not validator.is_valid(broken)


def test_publishing_writes_every_file_and_removes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.schemas.publish.FOLDER", tmp_path)
    (tmp_path / "order.frozen.json").write_text("{}")
    assert main() == 0
    assert {p.stem for p in tmp_path.iterdir()} == set(COMMERCE_NAMES)
