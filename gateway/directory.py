"""Everything configured, in memory: what the hot path looks things up in, without a query.

The registry is the truth; every change anywhere is heard as (kind, id) and read again. Writers go
through `save` and `remove`, which also bring this process up to date before they return.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeVar, cast

from gateway.models import (
    ApiKey,
    DriverSettings,
    Installation,
    Instance,
    Stored,
    Tenant,
    from_record,
    name_of,
    sink_from_record,
    sink_name,
    sink_to_record,
    to_record,
)
from gateway.security import Vault
from gateway.store.base import Record
from gateway.store.registry import Registry
from schemas.errors import ConflictError
from schemas.sink_config import SinkConfig

KINDS = ("tenant", "api_key", "instance", "installation", "driver_settings", "sink")
T = TypeVar("T", bound=Stored)
DEFAULT_TENANT = "default"
K = TypeVar("K")
V = TypeVar("V", bound=Stored)


class Directory:
    """The configuration of all tenants. Look-ups are plain attribute reads; only `load` and
    `refresh` change it.
    """

    def __init__(self, registry: Registry, vault: Vault) -> None:
        self._registry = registry
        self._vault = vault
        self._things: dict[tuple[str, str], Stored] = {}
        self._names: dict[tuple[str, str, str], Stored] = {}
        self._keys: dict[str, ApiKey] = {}
        self._tokens: dict[str, Installation] = {}
        self._numbers: dict[tuple[str, str], Instance] = {}
        self._sinks: dict[str, SinkConfig] = {}
        self._sink_versions: dict[str, int] = {}
        self._by_instance: dict[tuple[str, str], tuple[SinkConfig, ...]] = {}
        self._listeners: list[Callable[[str, str], None]] = []
        # One read at a time: an answer that was overtaken would bring back what is gone.
        self._reading = asyncio.Lock()

    def on_change(self, callback: Callable[[str, str], None]) -> None:
        """Be called with (kind, id) after this process took a change in."""
        self._listeners.append(callback)

    async def load(self) -> None:
        """Read everything, and forget what is gone. Listeners hear of what differs."""
        changed: list[tuple[str, str]] = []
        async with self._reading:
            for kind in KINDS:
                records = {r.id: r for r in await self._registry.list(kind)}
                known = self._versions(kind)
                for ident in known.keys() - records.keys():
                    self._forget(kind, ident)
                    changed.append((kind, ident))
                for ident, record in records.items():
                    if known.get(ident) != record.version:
                        self._take(record)
                        changed.append((kind, ident))
        self._tell(changed)

    async def refresh(self, kind: str, ident: str) -> None:
        """Read one thing again, or forget it when it is gone; what is no configuration is left."""
        if kind not in KINDS:
            return
        async with self._reading:
            record = await self._registry.get(kind, ident)
            if record is None:
                self._forget(kind, ident)
            else:
                self._take(record)
        self._tell([(kind, ident)])

    async def save(self, kind: str, thing: T) -> T:
        """Write a thing (new when its version is 0).

        Raises ConflictError on a name or version clash.
        """
        if isinstance(thing, Instance) and not thing.version:
            self._refuse_alike(thing)
        record = to_record(kind, thing, self._vault)
        await self._registry.put(record, expect_version=thing.version)
        await self.refresh(kind, thing.id)
        saved = self._things.get((kind, thing.id))
        if saved is None:
            raise ConflictError(f"this {kind} was removed at the same moment")
        return cast("T", saved)

    def _refuse_alike(self, instance: Instance) -> None:
        """Names of brokers begin with the tenant's, but for `default`: there, an instance must not
        look like another tenant's.
        """
        for tenant in self.tenants():
            if instance.tenant == DEFAULT_TENANT and begins_like(instance.name, tenant.name):
                raise ConflictError(f"names that begin like {instance.name} are of another tenant")

    async def save_sink(self, config: SinkConfig) -> SinkConfig:
        """Write a sink's configuration."""
        version = self._sink_versions.get(config.id, 0)
        await self._registry.put(
            sink_to_record(config, self._vault, version), expect_version=version
        )
        await self.refresh("sink", config.id)
        saved = self._sinks.get(config.id)
        if saved is None:
            raise ConflictError("this sink was removed at the same moment")
        return saved

    async def remove(self, kind: str, ident: str) -> None:
        """Delete a thing; deleting what is gone is no error."""
        await self._registry.delete(kind, ident)
        await self.refresh(kind, ident)

    async def ensure_instance(self, tenant: str, name: str, new_id: Callable[[], str]) -> Instance:
        """The instance of this name, created when there is none."""
        found = self.instance(tenant, name)
        if found is not None:
            return found
        try:
            return await self.save("instance", Instance(id=new_id(), tenant=tenant, name=name))
        except ConflictError:
            record = await self._registry.find("instance", tenant, name)
            if record is None:
                raise
            await self.refresh("instance", record.id)
            found = self.instance(tenant, name)
            if found is None:
                raise
            return found

    def key(self, digest: str) -> ApiKey | None:
        """The API key of this digest, or that had it before it was rotated."""
        return self._keys.get(digest)

    def api_key(self, ident: str) -> ApiKey | None:
        """An API key by its id."""
        return cast("ApiKey | None", self._things.get(("api_key", ident)))

    def installation_by_token(self, digest: str) -> Installation | None:
        """The installation whose ingest URL holds this token, whether still valid or not."""
        return self._tokens.get(digest)

    def installation(self, ident: str) -> Installation | None:
        """An installation by its id."""
        return cast("Installation | None", self._things.get(("installation", ident)))

    def installations(self, tenant: str | None = None) -> list[Installation]:
        """Installations, oldest first."""
        return cast("list[Installation]", self._all("installation", tenant))

    def instance(self, tenant: str, name: str) -> Instance | None:
        """An instance by its name."""
        return cast("Instance | None", self._names.get(("instance", tenant, name)))

    def instance_by_number(self, tenant: str, number: str) -> Instance | None:
        """The instance that the Evolution channel knows by this `numberId`."""
        return self._numbers.get((tenant, number.removeprefix("+")))

    def instances(self, tenant: str | None = None) -> list[Instance]:
        """Instances, oldest first."""
        return cast("list[Instance]", self._all("instance", tenant))

    def keys(self, tenant: str) -> list[ApiKey]:
        """The API keys of a tenant, oldest first."""
        return cast("list[ApiKey]", self._all("api_key", tenant))

    def tenants(self) -> list[Tenant]:
        """Every tenant."""
        return cast("list[Tenant]", self._all("tenant", None))

    def driver_settings(self, tenant: str, driver: str) -> DriverSettings | None:
        """A tenant's settings of a driver, None when never configured."""
        return cast("DriverSettings | None", self._names.get(("driver_settings", tenant, driver)))

    def sink(self, ident: str) -> SinkConfig | None:
        """A sink by its id."""
        return self._sinks.get(ident)

    def find_sink(self, tenant: str, kind: str, instance: str, name: str) -> SinkConfig | None:
        """A sink by kind, instance and name."""
        wanted = sink_name(kind, instance, name)
        sinks = self._by_instance.get((tenant, instance), ())
        return next((s for s in sinks if sink_name(s.kind, s.instance, s.name) == wanted), None)

    def sinks_of(self, tenant: str, instance: str) -> tuple[SinkConfig, ...]:
        """Every sink of an instance."""
        return self._by_instance.get((tenant, instance), ())

    def sinks(self) -> list[SinkConfig]:
        """Every sink of every tenant."""
        return list(self._sinks.values())

    def _all(self, kind: str, tenant: str | None) -> list[Stored]:
        found = [
            t for (k, _), t in self._things.items() if k == kind and tenant in {None, t.tenant}
        ]
        return sorted(found, key=lambda t: t.id)

    def _tell(self, changed: Iterable[tuple[str, str]]) -> None:
        for kind, ident in changed:
            for listener in self._listeners:
                listener(kind, ident)

    def _versions(self, kind: str) -> dict[str, int]:
        if kind == "sink":
            return dict(self._sink_versions)
        return {i: thing.version for (k, i), thing in self._things.items() if k == kind}

    def _take(self, record: Record) -> None:
        self._forget(record.kind, record.id)
        if record.kind == "sink":
            config = sink_from_record(record, self._vault)
            self._sinks[record.id] = config
            self._sink_versions[record.id] = record.version
            others = self._by_instance.get((config.tenant, config.instance), ())
            grouped = sorted((*others, config), key=lambda s: s.id)
            self._by_instance[config.tenant, config.instance] = tuple(grouped)
            return
        thing = from_record(record, self._vault)
        self._things[record.kind, record.id] = thing
        self._names[record.kind, record.tenant, record.name] = thing
        if isinstance(thing, ApiKey):
            self._keys.update(dict.fromkeys((thing.digest, *(d for d, _ in thing.previous)), thing))
        if isinstance(thing, Instance) and thing.number:
            self._numbers[thing.tenant, thing.number.removeprefix("+")] = thing
        if isinstance(thing, Installation):
            self._tokens.update(dict.fromkeys((token for token, _ in thing.tokens), thing))

    def _forget(self, kind: str, ident: str) -> None:
        config = self._sinks.pop(ident, None)
        if config is not None:
            self._sink_versions.pop(ident)
            place = (config.tenant, config.instance)
            left = tuple(s for s in self._by_instance.pop(place) if s.id != ident)
            if left:
                self._by_instance[place] = left
        thing = self._things.pop((kind, ident), None)
        if thing is None:
            return
        _drop(self._names, ((kind, thing.tenant, name_of(kind, thing)),), thing)
        if isinstance(thing, ApiKey):
            _drop(self._keys, (thing.digest, *(d for d, _ in thing.previous)), thing)
        if isinstance(thing, Instance) and thing.number:
            _drop(self._numbers, ((thing.tenant, thing.number.removeprefix("+")),), thing)
        if isinstance(thing, Installation):
            _drop(self._tokens, (token for token, _ in thing.tokens), thing)


def begins_like(instance: str, tenant: str) -> bool:
    """Whether an instance of the default tenant would have a broker's names of this tenant's."""
    return instance.startswith((f"{tenant}.", f"{tenant}_"))


def _drop(table: dict[K, V], keys: Iterable[K], thing: Stored) -> None:
    """Remove what leads to `thing`; a name may be another's by now."""
    for key in keys:
        if table.get(key) is thing:
            del table[key]
