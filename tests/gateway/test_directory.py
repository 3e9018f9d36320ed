"""The configuration in memory is what the registry holds, whatever happens at the same moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.directory import Directory
from gateway.models import ApiKey, Installation, Instance, Secret, Tenant
from gateway.security import Vault
from gateway.store.base import Record, Store
from gateway.store.registry import Registry
from gateway.store.sqlite import open_sqlite
from schemas.errors import ConflictError
from tests.gateway.far_side import a_config
from tests.gateway.pipeline import FERNET


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_sqlite(tmp_path / "comporta.db", node="n", lease_seconds=30)
    yield opened
    await opened.close()


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store.database, store.notify)


def another(store: Store) -> Directory:
    """What another process has in memory: it hears nothing unless told."""
    return Directory(Registry(store.database, store.notify), Vault([FERNET]))


@pytest.fixture
def directory(store: Store) -> Directory:
    return another(store)


def an_instance(ident: str = "n1", name: str = "loja-1") -> Instance:
    return Instance(id=ident, tenant="default", name=name)


def an_installation(ident: str = "i1") -> Installation:
    return Installation(
        id=ident,
        tenant="default",
        driver="kiwify",
        instance="loja-1",
        name="Kiwify",
        tokens=(("digest-1", None), ("digest-0", 99)),
        ingest_token="token-1",
        secrets=(Secret(value="hunter2"),),
        credentials={"client_id": "c"},
        settings={"poll_interval": 2.5},
    )


async def test_what_was_saved_is_found_everywhere_after_loading(
    store: Store, directory: Directory
) -> None:
    await directory.save("tenant", Tenant(id="default", tenant="default", name="default"))
    await directory.save("instance", an_instance())
    saved = await directory.save("installation", an_installation())
    await directory.save_sink(a_config(1, headers={"x-key": "hunter3"}))

    other = another(store)
    await other.load()

    assert other.instance("default", "loja-1") == directory.instance("default", "loja-1")
    assert other.installation_by_token("digest-0") == other.installation("i1") == saved
    assert other.installation("i1") == an_installation().model_copy(
        update={
            "version": saved.version,
            "created_at": saved.created_at,
            "updated_at": saved.updated_at,
        }
    )
    assert other.find_sink("default", "webhook", "loja-1", "name-1") == directory.sink("sink-1")
    assert [t.id for t in other.tenants()] == ["default"]


async def test_secrets_are_sealed_at_rest(store: Store, directory: Directory) -> None:
    await directory.save("installation", an_installation())
    await directory.save_sink(a_config(1, headers={"x-key": "hunter3"}))

    rows = await store.database.fetch("SELECT doc FROM records")

    assert len(rows) == 2
    assert not [doc for (doc,) in rows if "hunter" in doc or "token-1" in doc]


async def test_two_writers_of_one_version_are_told(store: Store, directory: Directory) -> None:
    first = await directory.save("instance", an_instance())
    await directory.save("instance", first.model_copy(update={"number": "551199"}))

    with pytest.raises(ConflictError):
        await directory.save("instance", first.model_copy(update={"number": "551188"}))

    found = directory.instance("default", "loja-1")
    assert found is not None
    assert found.number == "551199"


async def test_a_name_is_taken_once(directory: Directory) -> None:
    await directory.save("instance", an_instance("n1"))

    with pytest.raises(ConflictError):
        await directory.save("instance", an_instance("n2"))


async def test_everybody_who_wants_an_instance_gets_the_same(store: Store) -> None:
    directories = [another(store) for _ in range(5)]
    ids = (f"n{number}" for number in range(100))

    made = await asyncio.gather(
        *(d.ensure_instance("default", "loja-1", lambda: next(ids)) for d in directories * 4)
    )

    assert len({instance.id for instance in made}) == 1
    assert {d.instance("default", "loja-1") for d in directories} == {made[0]}


async def test_what_was_removed_elsewhere_is_forgotten(store: Store, directory: Directory) -> None:
    await directory.save("installation", an_installation())
    await directory.save_sink(a_config(1))
    other = another(store)
    await other.load()
    await directory.remove("installation", "i1")
    await directory.remove("sink", "sink-1")

    await other.refresh("installation", "i1")
    await other.refresh("sink", "sink-1")

    assert other.installation("i1") is None
    assert other.installation_by_token("digest-1") is None
    assert other.sinks_of("default", "loja-1") == ()
    assert other.sinks() == []


async def test_loading_again_makes_up_for_every_hint_that_was_missed(
    store: Store, directory: Directory
) -> None:
    await directory.save("instance", an_instance("n1", "gone"))
    kept = await directory.save("instance", an_instance("n2", "changed"))
    await directory.save("instance", an_instance("n3", "same"))
    other = another(store)
    await other.load()
    heard: list[tuple[str, str]] = []
    other.on_change(lambda kind, ident: heard.append((kind, ident)))
    await directory.remove("instance", "n1")
    await directory.save("instance", kept.model_copy(update={"number": "5511"}))
    await directory.save_sink(a_config(1))

    await other.load()

    assert sorted(heard) == [("instance", "n1"), ("instance", "n2"), ("sink", "sink-1")]
    assert other.instance("default", "gone") is None
    assert other.instance("default", "changed") == directory.instance("default", "changed")
    assert other.sink("sink-1") == directory.sink("sink-1")


async def test_a_name_given_to_another_is_not_lost_when_the_first_is_forgotten(
    store: Store, directory: Directory
) -> None:
    """The news of the removal come after the new thing was found by its name."""
    await directory.save("instance", an_instance("n1"))
    other = another(store)
    await other.load()
    await directory.remove("instance", "n1")
    await directory.save("instance", an_instance("n2"))

    await other.refresh("instance", "n2")
    await other.refresh("instance", "n1")

    found = other.instance("default", "loja-1")
    assert found is not None
    assert found.id == "n2"


async def test_a_token_that_moved_is_not_lost_either(store: Store, directory: Directory) -> None:
    await directory.save("installation", an_installation("i1"))
    other = another(store)
    await other.load()
    await directory.remove("installation", "i1")
    await directory.save("installation", an_installation("i2"))

    await other.refresh("installation", "i2")
    await other.refresh("installation", "i1")

    found = other.installation_by_token("digest-1")
    assert found is not None
    assert found.id == "i2"


async def test_a_rotated_key_is_found_by_both_digests(directory: Directory) -> None:
    key = ApiKey(id="k1", tenant="default", name="ci", digest="d0", permissions=("*",))
    saved = await directory.save("api_key", key)

    await directory.save(
        "api_key", saved.model_copy(update={"digest": "d1", "previous": (("d0", 50),)})
    )

    found = directory.key("d1")
    assert found is directory.key("d0") is directory.api_key("k1")
    assert found is not None
    assert (found.works("d1", 99), found.works("d0", 49), found.works("d0", 50)) == (
        True,
        True,
        False,
    )
    await directory.remove("api_key", "k1")
    assert directory.key("d0") is directory.key("d1") is None


async def test_many_refreshes_at_once_end_with_the_truth(
    store: Store, directory: Directory
) -> None:
    other = another(store)
    await directory.save_sink(a_config(1))

    async def change() -> None:
        for number in range(30):
            config = directory.sink("sink-1")
            assert config is not None
            await directory.save_sink(
                config.model_copy(update={"url": f"https://crm.example/{number}"})
            )
            if number == 15:
                await directory.remove("sink", "sink-1")
                await directory.save_sink(a_config(1))

    async def hear() -> None:
        for _ in range(60):
            await asyncio.gather(*(other.refresh("sink", "sink-1") for _ in range(3)))

    await asyncio.gather(change(), hear(), hear())
    await other.refresh("sink", "sink-1")

    assert other.sink("sink-1") == directory.sink("sink-1")
    assert len(other.sinks_of("default", "loja-1")) == 1


async def test_a_sink_removed_while_it_is_saved_is_a_conflict(
    directory: Directory, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(kind: str, ident: str) -> Record | None:
        return None

    monkeypatch.setattr(directory._registry, "get", gone)

    with pytest.raises(ConflictError):
        await directory.save_sink(a_config(1))
    with pytest.raises(ConflictError):
        await directory.save("instance", an_instance())


async def test_what_is_no_configuration_is_left_alone(
    directory: Directory, registry: Registry
) -> None:
    heard: list[str] = []
    directory.on_change(lambda kind, _: heard.append(kind))
    await registry.put(Record(kind="drift", id="x", tenant="default", name="kiwify"))

    await directory.refresh("drift", "x")

    assert heard == []
