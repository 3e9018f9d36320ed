"""Migrations: each once, whoever starts, and never backwards."""

from pathlib import Path

import pytest

from gateway.store import migrate, open_store
from gateway.store.base import Store
from gateway.store.migrate import Migration
from schemas.errors import StoreUnavailableError
from tests.store.rigs import Rig


async def versions(store: Store) -> list[int]:
    rows = await store.database.fetch("SELECT version FROM schema_version ORDER BY version")
    return [version for (version,) in rows]


def known(rig: Rig) -> list[int]:
    return [step.version for step in migrate.available(rig.name)]


async def test_each_step_is_taken_once(rig: Rig) -> None:
    for _ in range(2):
        store = await rig.open()
        assert await versions(store) == known(rig)
        await store.close()


async def test_two_may_start_at_once(rig: Rig) -> None:
    await rig.migrate_twice_at_once()

    assert await versions(await rig.open("node-c")) == known(rig)


async def test_a_newer_store_is_left_alone(rig: Rig) -> None:
    """Who serves it already goes on, so that a rollout has somebody who does; nobody older starts
    on it any more.
    """
    store = await rig.open()
    await store.database.write("INSERT INTO schema_version VALUES (9999, 'later', 0)")
    await store.check()
    await store.close()

    with pytest.raises(StoreUnavailableError, match="newer program"):
        await rig.open()


async def test_a_store_that_lost_its_version_is_not_ready(rig: Rig) -> None:
    store = await rig.open()
    await store.database.write("DELETE FROM schema_version")

    with pytest.raises(StoreUnavailableError):
        await store.check()


def test_both_engines_know_the_same_steps() -> None:
    sqlite, postgres = (migrate.available(engine) for engine in ("sqlite", "postgres"))

    assert [(s.version, s.name) for s in sqlite] == [(s.version, s.name) for s in postgres]


def test_what_is_outstanding_is_planned_in_order() -> None:
    steps = [Migration(n, f"step{n}", f"-- {n}") for n in (1, 2, 3)]

    plan = migrate.statements(steps, {1}, now=7)

    record = migrate.RECORD
    assert plan == [
        *(("-- 2", ()), (record, (2, "step2", 7))),
        *(("-- 3", ()), (record, (3, "step3", 7))),
    ]


async def test_tables_and_columns_are_the_same(rig: Rig) -> None:
    """One SQL reads both: what SQLite has, the others have."""
    store = await rig.open()
    schema = Path(migrate.__file__).with_name("migrations") / "sqlite"
    for table in (
        "records",
        "inbounds",
        "events",
        "seen",
        "deliveries",
        "attempts",
        "nodes",
        "jobs",
    ):
        columns = await columns_of(schema, table)
        await store.database.fetch(f"SELECT {', '.join(columns)} FROM {table} WHERE 1 = 0")
        rows = await store.database.fetch(f"SELECT * FROM {table} LIMIT 1")
        assert all(len(row) == len(columns) for row in rows)


async def columns_of(schema: Path, table: str) -> list[str]:
    import apsw

    connection = apsw.Connection(":memory:")
    for step in migrate.available("sqlite"):
        connection.execute(step.sql)
    return [
        name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    ]


@pytest.mark.parametrize("url", ["", "sqlite:///", "mysql://host/db", "data/comporta.db"])
async def test_an_unknown_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///"):
        await open_store(url, node="a", lease_seconds=10)
