"""The live tail's socket opens for its own page and visitor, and for nobody else."""

from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from tests.api.rig import eventually, serving
from tests.api.shop import opened
from tests.portal.visitor import Visitor


async def refused(visitor: Visitor, place: str, origin: str | None) -> int:
    headers = {"Origin": origin} if origin else {}
    with pytest.raises(aiohttp.WSServerHandshakeError) as told:
        await visitor.session.ws_connect(f"{visitor.api.url}/portal{place}", headers=headers)
    return told.value.status


async def test_the_socket_is_for_its_own_page(visitor: Visitor) -> None:
    await opened(visitor.api)

    assert await refused(visitor, "/tail/loja", "https://evil.example") == 403
    assert await refused(visitor, "/tail/loja", None) == 403
    assert await refused(visitor, "/tail/nobody", visitor.api.url) == 404
    async with Visitor.of(visitor.api) as stranger:
        assert await refused(stranger, "/tail/loja", visitor.api.url) == 200  # the form to sign in
    assert (await visitor.see("/tail/loja")).status == 403
    seen = await visitor.session.get(
        f"{visitor.api.url}/portal/tail/loja", headers={"Origin": visitor.api.url}
    )
    assert seen.status == 400


async def test_events_come_in_order_until_the_key_is_revoked(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = visitor.api
    shop = await opened(api)
    monkeypatch.setattr("gateway.portal.views.tail.CHECK_EVERY", 1)
    made = (await api.post("/api-keys", {"name": "k", "permissions": ["EVENTS_READ"]})).data
    async with Visitor.of(api) as reader:
        await reader.sign_in(made["key"])
        url = f"{api.url}/portal/tail/loja"
        async with reader.session.ws_connect(url, headers={"Origin": api.url}) as socket:
            ids = [await shop.order(number) for number in range(3)]
            told = [await socket.receive_json(timeout=10) for _ in ids]
            assert [one["id"] for one in told] == ids

            await api.delete(f"/api-keys/{made['id']}")
            ending = await socket.receive(timeout=10)
            assert ending.type is aiohttp.WSMsgType.CLOSE
            assert ending.data == 4401


async def test_postgres_serves_the_same_pages(tmp_path: Path, postgres_db: str) -> None:
    async with serving(tmp_path, store=SecretStr(postgres_db)) as api, Visitor.of(api) as visitor:
        await visitor.sign_in()
        shop = await opened(api)
        url = f"{api.url}/portal/tail/loja"
        async with visitor.session.ws_connect(url, headers={"Origin": api.url}) as socket:
            event = await shop.order(1)
            assert (await socket.receive_json(timeout=10))["id"] == event
        for place in ("", "?window=7d", "/events", f"/events/{event}", "/failures/drift"):
            assert (await visitor.see(place)).status == 200, place
        assert (await visitor.see("/search?q=HP00000001", follow=False)).status == 303


async def test_the_overview_counts_what_goes_through(visitor: Visitor) -> None:
    shop = await opened(visitor.api, url="https://127.0.0.1:1099/x")
    await shop.order(1)

    async def stuck() -> bool:
        return "1 waiting" in (await visitor.see("?part=1")).text

    await eventually(stuck)
    seen = await visitor.see("?window=7d")
    assert "Nothing has come in yet" not in seen.text
    assert 'aria-current="true">7 days' in seen.text
