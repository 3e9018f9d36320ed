"""Records: one name each, one writer at a time, every change told."""

import asyncio
from typing import Any

import pytest

from gateway.store.base import Record, Store
from gateway.store.registry import Registry
from schemas.errors import ConflictError
from tests.store.rows import SECOND, Clock


def record(ident: str = "1", **fields: Any) -> Record:
    defaults: dict[str, Any] = {"kind": "sink", "id": ident, "tenant": "t", "name": ident}
    return Record(**(defaults | fields))


class Told(list[tuple[str, str]]):
    """What a registry tells."""

    async def notify(self, topic: str, payload: str) -> None:
        self.append((topic, payload))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def registry(store: Store, told: Told) -> Registry:
    return Registry(store.database, told.notify)


async def test_what_was_put_is_found(registry: Registry, clock: Clock) -> None:
    doc = {"url": "https://example.com/ü", "retry": [1, 2.5], "nested": {"none": None}}
    written = await registry.put(record(name="default", doc=doc), expect_version=0)

    assert (written.version, written.created_at, written.updated_at) == (1, clock.now, clock.now)
    assert written.doc == doc
    assert await registry.get("sink", "1") == written
    assert await registry.find("sink", "t", "default") == written
    assert await registry.get("instance", "1") is None
    assert await registry.find("sink", "other", "default") is None


async def test_a_change_keeps_its_birth_and_counts(registry: Registry, clock: Clock) -> None:
    first = await registry.put(record(doc={"n": 1}), expect_version=0)
    clock.advance(1)
    second = await registry.put(record(name="new", doc={"n": 2}), expect_version=1)

    assert (second.version, second.name, second.doc) == (2, "new", {"n": 2})
    assert (second.created_at, second.updated_at) == (first.created_at, clock.now)
    assert await registry.find("sink", "t", "1") is None


async def test_without_a_version_the_last_word_counts(registry: Registry) -> None:
    assert (await registry.put(record(doc={"n": 1}))).version == 1
    assert (await registry.put(record(doc={"n": 2}))).version == 2
    assert (await registry.put(record(doc={"n": 3}))).doc == {"n": 3}


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_another_version_is_a_conflict(registry: Registry, told: Told, version: int) -> None:
    await registry.put(record(), expect_version=0)
    await registry.put(record(doc={"n": 2}), expect_version=1)
    told.clear()

    with pytest.raises(ConflictError):
        await registry.put(record(doc={"n": 9}), expect_version=version)
    found = await registry.get("sink", "1")
    assert found
    assert found.doc == {"n": 2}
    assert told == []


async def test_what_is_gone_cannot_be_changed(registry: Registry) -> None:
    with pytest.raises(ConflictError):
        await registry.put(record(), expect_version=1)
    assert await registry.list("sink") == []


@pytest.mark.parametrize("version", [0, None])
async def test_a_name_is_taken_once(registry: Registry, version: int | None) -> None:
    await registry.put(record("1", name="default"), expect_version=0)
    with pytest.raises(ConflictError):
        await registry.put(record("2", name="default"), expect_version=version)
    await registry.put(record("2", name="default", tenant="other"), expect_version=version)
    await registry.put(record("2", name="default", kind="instance"), expect_version=version)


@pytest.mark.parametrize("version", [1, None])
async def test_a_taken_name_cannot_be_moved_to(registry: Registry, version: int | None) -> None:
    await registry.put(record("1", name="one"), expect_version=0)
    await registry.put(record("2", name="two"), expect_version=0)
    with pytest.raises(ConflictError):
        await registry.put(record("2", name="one"), expect_version=version)
    found = await registry.get("sink", "2")
    assert found
    assert (found.name, found.version) == ("two", 1)


async def test_of_many_writers_one_wins(registry: Registry) -> None:
    await registry.put(record(), expect_version=0)
    writes = (registry.put(record(doc={"n": n}), expect_version=1) for n in range(20))
    answers = await asyncio.gather(*writes, return_exceptions=True)

    won = [answer for answer in answers if isinstance(answer, Record)]
    assert len(won) == 1
    assert all(isinstance(a, ConflictError) for a in answers if a is not won[0])
    assert await registry.get("sink", "1") == won[0]


async def test_of_many_who_want_a_name_one_gets_it(registry: Registry) -> None:
    for n in range(10):
        await registry.put(record(str(n)), expect_version=0)
    moves = (registry.put(record(str(n), name="wanted"), expect_version=1) for n in range(10))
    answers = await asyncio.gather(*moves, return_exceptions=True)

    assert sum(isinstance(answer, Record) for answer in answers) == 1
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 9


async def test_lists_are_of_one_kind_oldest_first(registry: Registry) -> None:
    for ident, tenant in (("3", "t"), ("1", "t"), ("2", "u")):
        await registry.put(record(ident, tenant=tenant), expect_version=0)
    await registry.put(record("4", kind="instance"), expect_version=0)

    assert [one.id for one in await registry.list("sink")] == ["1", "2", "3"]
    assert [one.id for one in await registry.list("sink", "t")] == ["1", "3"]


async def test_every_change_is_told_after_it_happened(registry: Registry, told: Told) -> None:
    await registry.put(record("1"), expect_version=0)
    await registry.put(record("1", doc={"n": 1}), expect_version=1)
    assert await registry.delete("sink", "1")
    assert not await registry.delete("sink", "1")

    assert told == [("config", "sink/1")] * 3
    assert await registry.get("sink", "1") is None


async def test_names_may_hold_anything(registry: Registry, clock: Clock) -> None:
    clock.advance(SECOND)
    odd = "nul\0 half\ud800 emoji 🎈"
    written = await registry.put(record(name=odd, doc={odd: odd}), expect_version=0)

    assert written.doc == {odd: odd}
    assert await registry.find("sink", "t", odd) == written
    assert await registry.get("sink", odd) is None
