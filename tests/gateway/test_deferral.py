"""Events that wait for silence: the wait is in the store, and the clock is moved on by hand."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from drivers import BY_SLUG
from drivers.base import receive
from drivers.claim import Draft
from gateway.app import wire
from gateway.bootstrap import Keys
from gateway.deferral import Deferral
from gateway.ids import Ulids
from gateway.intake import DEFER
from gateway.metrics import Metrics
from gateway.models import Installation, Secret
from gateway.security import Vault
from gateway.services import Services
from gateway.settings import Settings
from gateway.store import open_store
from gateway.store.base import Appended
from gateway.store.keys import moment
from gateway.store.rows import Wanted
from schemas.request import Grant
from tests.e2e.program import SECRET_KEYS

MINUTE = 60_000_000
SECRET = "shpss_test"
CHECKOUT = {
    "id": 38455190012131,
    "token": "4f7be1d2a9c840d0b5a0c3e7fd1286aa",
    "email": "jussara@example.com",
    "updated_at": "2026-03-19T22:19:48-03:00",
    "currency": "BRL",
    "total_price": "189.00",
    "completed_at": None,
    "line_items": [],
}
ORDER = {
    "id": 1,
    "checkout_token": CHECKOUT["token"],
    "financial_status": "paid",
    "currency": "BRL",
    "total_price": "189.00",
}


@dataclass
class World:
    """A gateway's parts over a store whose clock is ours; `restart` opens them again."""

    folder: Path
    url: str
    clock: list[int] = field(default_factory=lambda: [1_800_000_000_000_000])
    services: Services | None = None
    ids: Ulids = field(init=False)

    def __post_init__(self) -> None:
        self.ids = Ulids(lambda: self.clock[0], lambda n: b"\x07" * n)

    @property
    def parts(self) -> Services:
        assert self.services
        return self.services

    async def start(self) -> None:
        store = await open_store(
            self.url, node=self.ids(), lease_seconds=30, clock=lambda: self.clock[0]
        )
        settings = Settings.load({"COMPORTA_DATA_DIR": str(self.folder)})
        keys = Keys(Vault([SECRET_KEYS]), "admin", is_new=False)
        self.services = await wire(settings, keys, store, Metrics("test"), self.ids)

    async def stop(self) -> None:
        await self.parts.dispatcher.stop(0)
        await self.parts.egress.close()
        await self.parts.store.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def install(self) -> Installation:
        new = Installation(
            id=self.ids(),
            tenant="default",
            driver="shopify",
            instance="loja",
            name="loja",
            secrets=(Secret(value=SECRET),),
        )
        return await self.parts.directory.save("installation", new)

    async def deliver(self, shop: Installation, topic: str, body: dict[str, Any]) -> Appended:
        driver = BY_SLUG["shopify"]
        draft = Draft(
            {"Content-Type": "application/json", "X-Shopify-Topic": topic},
            {},
            json.dumps(body).encode(),
            SECRET,
            0,
        )
        driver.scheme.sign(draft)
        inbound = replace(draft.claim().inbound, received_at=moment(self.clock[0]))
        receipt = receive(driver, inbound, Grant(secrets=(SECRET,), settings=shop.settings))
        return await self.parts.intake.take(shop, inbound, receipt)

    async def run_due(self) -> int:
        """Run the deferrals that are due; gives how many there were."""
        parts = self.parts
        deferral = Deferral(parts.history, parts.directory, parts.intake)
        jobs = await parts.store.log.claim_jobs((DEFER,), 10)
        for job in jobs:
            await deferral.run(job)
        return len(jobs)

    async def events(self) -> list[Any]:
        page = await self.parts.history.events(Wanted(tenant="default"), limit=10, below=None)
        return [row.event for row in page]


@asynccontextmanager
async def opened(folder: Path, url: str) -> AsyncIterator[World]:
    world = World(folder, url)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/comporta.db"
    made: str = request.getfixturevalue("postgres_db")
    return made


@pytest.fixture
async def world(url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, url) as made:
        yield made


async def test_a_checkout_is_abandoned_after_its_silence_also_over_a_restart(world: World) -> None:
    shop = await world.install()
    told = await world.deliver(shop, "checkouts/update", CHECKOUT)
    assert told.events == ()
    world.clock[0] += 59 * MINUTE
    assert await world.run_due() == 0

    await world.restart()
    world.clock[0] += 2 * MINUTE

    assert await world.run_due() == 1
    (event,) = await world.events()
    assert (event.name, event.key) == ("checkout.abandoned", str(CHECKOUT["id"]))
    assert told.inbound_id
    inbound = await world.parts.history.inbound("default", told.inbound_id)
    assert inbound
    assert [e[0] for e in inbound.events] == [event.id]
    assert await world.run_due() == 0


async def test_an_order_that_names_the_checkout_ends_the_wait(world: World) -> None:
    shop = await world.install()
    await world.deliver(shop, "checkouts/update", CHECKOUT)
    world.clock[0] += 10 * MINUTE
    await world.deliver(shop, "orders/paid", ORDER)
    world.clock[0] += 120 * MINUTE

    assert await world.run_due() == 0
    assert [e.name for e in await world.events()] == ["order.paid"]


async def test_a_newer_snapshot_starts_the_wait_anew(world: World) -> None:
    shop = await world.install()
    await world.deliver(shop, "checkouts/create", CHECKOUT)
    world.clock[0] += 50 * MINUTE
    newer = CHECKOUT | {"updated_at": "2026-03-19T23:09:48-03:00", "total_price": "200.00"}
    await world.deliver(shop, "checkouts/update", newer)
    world.clock[0] += 30 * MINUTE
    assert await world.run_due() == 0
    world.clock[0] += 31 * MINUTE

    assert await world.run_due() == 1
    (event,) = await world.events()
    assert json.loads(event.data)["checkout"]["total"] == 20000
