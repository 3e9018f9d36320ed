"""The list of drivers is the folder, and every driver states its facts in full."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import drivers
from drivers import BY_ID, BY_SLUG, DRIVERS
from drivers.base import Driver
from schemas.events import COMMERCE_NAMES, is_messaging
from tests.drivers.samples import FOLDER, SAMPLES, Sample

PACKAGE = Path(drivers.__file__).parent
# The world, its clock and its dice.
IMPURE = set(
    "aiohttp asyncio asyncpg concurrent gateway glob http io logging multiprocessing os pathlib "
    "random requests secrets select shutil sinks socket ssl subprocess sys tempfile threading time "
    "uuid".split()
)
CLOCK = {"now", "utcnow", "today"}
FORBIDDEN_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__"}
ULID = re.compile(r"[0-7][0-9abcdefghjkmnpqrstvwxyz]{25}")

every_driver = pytest.mark.parametrize("driver", DRIVERS, ids=lambda d: d.slug)
MODULES = sorted(PACKAGE.glob("*.py"))


def test_the_list_is_the_folder() -> None:
    defining = {
        p.stem for p in MODULES if re.search(r"^DRIVER = ", p.read_text("utf-8"), re.MULTILINE)
    }
    assert [d.slug for d in DRIVERS] == sorted(defining)


def test_every_id_and_slug_is_unique() -> None:
    assert len(DRIVERS) == len(BY_SLUG) == len(BY_ID)


@every_driver
def test_a_driver_states_its_facts(driver: Driver) -> None:
    assert ULID.fullmatch(driver.id)
    assert re.fullmatch(r"[a-z0-9_]+", driver.slug)
    assert set(driver.description) == {"pt", "en"}
    assert all(text.endswith(".") for text in driver.description.values())
    assert driver.docs_url.startswith("https://")
    assert driver.name.strip() == driver.name != ""
    assert driver.version.startswith("v")
    assert (driver.type == "polling") <= bool(driver.polls)


@every_driver
def test_what_a_driver_declares_is_known_and_told_once(driver: Driver) -> None:
    names = driver.supported_events
    assert len(names) == len(set(names))
    assert all(name in COMMERCE_NAMES or is_messaging(name) for name in names)
    credentials = [c.name for c in driver.credentials]
    assert "secret" not in credentials, "the signature secret is implicit"
    for repeated in (credentials, list(driver.secret_fields), [p.name for p in driver.polls]):
        assert [name for name, count in Counter(repeated).items() if count > 1] == []


@every_driver
def test_the_credentials_an_api_needs_can_be_had(driver: Driver) -> None:
    named = {c.name for c in driver.credentials}
    from_login = {"access_token"} if driver.oauth or (driver.api and driver.api.login) else set()
    if driver.api:
        assert set(driver.api.credentials) <= named | from_login
        assert driver.api.base_url.startswith("https://")
        assert driver.api.per_minute > 0


@every_driver
def test_every_declared_event_is_shown_by_a_sample(driver: Driver) -> None:
    shown = {
        event.name
        for sample in SAMPLES
        if sample.driver is driver
        for what in (sample.run(), *([sample.run_enriched()] if sample.answers else []))
        for event in what.events
    }
    assert shown == set(driver.supported_events)


@every_driver
def test_every_secret_field_is_shown_by_a_sample(driver: Driver) -> None:
    shown = b"\n".join(s.body for s in SAMPLES if s.driver is driver)
    assert [name for name in driver.secret_fields if name.encode() not in shown] == []


def test_samples_belong_to_a_driver_and_golden_files_to_a_sample() -> None:
    assert {p.name for p in FOLDER.iterdir()} <= set(BY_SLUG)
    goldens = {s.golden for s in SAMPLES}
    assert set(FOLDER.glob("*/*.events.json")) == goldens


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)
def test_a_sample_says_what_it_shows(sample: Sample) -> None:
    assert sample.content["note"].strip()
    assert isinstance(sample.content["expect"], dict)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_drivers_are_pure(path: Path) -> None:
    """No I/O, no clock, no dice: what a driver says depends on its arguments alone."""
    tree = ast.parse(path.read_text("utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
    }
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    clocks = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCK
    }
    written = [n for n in ast.walk(tree) if isinstance(n, ast.Global | ast.Nonlocal)]
    assert (imported & IMPURE, called & FORBIDDEN_CALLS, clocks, written) == (
        set(),
        set(),
        set(),
        [],
    )
