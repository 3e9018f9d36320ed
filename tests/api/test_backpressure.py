"""When a delivery cannot be kept the provider hears 503 and when to come again; the API goes on."""

import asyncio
import shutil
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from gateway import pressure
from tests.api.rig import Answer, Api, eventually, serving
from tests.api.shop import Shop, opened


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    total: int
    used: int
    free: int


def is_refusal(answer: Answer, saying: str) -> bool:
    """Whether it says when to come again, and is of the contract's shape."""
    if answer.status != 503:
        return False
    assert 5 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.body["error"] == "Unavailable"
    assert saying in answer.body["message"], answer.body
    return True


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pressure is looked at many times a second."""
    monkeypatch.setattr(pressure, "EVERY", 0.05)


async def refused(shop: Shop, saying: str) -> None:
    """Wait until deliveries are refused; what was accepted meanwhile is of no interest."""
    number = 1000

    async def is_refused() -> bool:
        nonlocal number
        number += 1
        answer = await shop.sends(id=f"delivery-{number}", transaction=f"HP{number:08}")
        return is_refusal(answer, saying)

    await eventually(is_refused)


async def accepted(shop: Shop) -> None:
    number = 5000

    async def is_accepted() -> bool:
        nonlocal number
        number += 1
        answer = await shop.sends(id=f"delivery-{number}", transaction=f"HP{number:08}")
        return answer.status == 200

    await eventually(is_accepted)


async def test_a_disk_that_is_almost_full(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await opened(api)
    await shop.order(1)
    real = shutil.disk_usage
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 10**12 - 1000, 1000))

    await refused(shop, "the disk is almost full")
    assert (await api.get("/readyz")).status == 503
    assert (await api.get("/processing/events")).status == 200

    monkeypatch.setattr("shutil.disk_usage", real)
    await accepted(shop)


async def test_a_full_queue_of_deliveries(tmp_path: Path) -> None:
    async with serving(tmp_path, max_backlog=3) as api:
        shop = await opened(api, url="http://127.0.0.1:9999/", ordered=True, retry=[0.001] * 50)
        # A sink that is down holds its deliveries: these are due, and nobody sends them.
        for task in api.services.dispatcher._loops.values():
            task.cancel()

        await refused(shop, "the backlog is full")
        assert (await api.get("/readyz")).status == 200
        assert (await api.get("/processing/dispatches?filter[status]=pending")).status == 200


async def test_writes_that_wait_too_long(api: Api) -> None:
    shop = await opened(api)
    other = apsw.Connection(str(api.services.settings.sqlite_path))
    other.execute("BEGIN EXCLUSIVE")
    waiting = asyncio.ensure_future(shop.sends(id="first", transaction="HP1"))
    number = 0

    async def is_refused() -> bool:
        """At once, where those before it wait."""
        nonlocal number
        number += 1
        late = shop.sends(id=f"late-{number}", transaction=f"HP{number:08}")
        try:
            return is_refusal(await asyncio.wait_for(late, 0.3), "too long")
        except TimeoutError:
            return False

    await eventually(is_refused)
    other.execute("ROLLBACK")
    other.close()
    assert (await waiting).status in {200, 503}
    await accepted(shop)


async def test_a_store_that_is_gone(api: Api) -> None:
    shop = await opened(api)
    await api.services.store.close()

    await refused(shop, "the store")
    assert (await api.get("/healthz")).status == 200
    assert (await api.get("/readyz")).status == 503


async def test_a_gateway_that_stops(api: Api) -> None:
    shop = await opened(api)
    api.services.pressure.draining = True

    assert is_refusal(await shop.sends(), "shutting down")
    assert (await api.get("/readyz")).status == 503
    assert (await api.get("/processing/events")).status == 200
