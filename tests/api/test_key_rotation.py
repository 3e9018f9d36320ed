"""A new API key beside the old one: which of them is used, shown, told and kept."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from drivers import BY_SLUG
from drivers.describe import Fetch
from gateway.bootstrap import Keys
from gateway.models import Earlier
from gateway.provider_api import ApiError
from gateway.security import Vault
from tests.api.rig import ADMIN, Api, eventually, serving
from tests.provider_apis.oauth import (
    CLIENT_ID,
    CLIENT_SECRET,
    Authority,
    Bling,
    Eduzz,
    Grant,
    Kiwify,
    authority,
)

OLD, NEW, NEWER = "old-key-0123456789", "new-key-0123456789", "newer-key-012345678"
COMPANY = "/Api/v3/empresas/me/dados-basicos"
ORDERS, ORDER_PATH = "/Api/v3/pedidos/vendas", "/Api/v3/pedidos/vendas/1"
ORDER = Fetch(name="order", url=f"https://api.bling.com.br{ORDER_PATH}")
MINUTE = 60_000_000


def knows(provider: Authority, *keys: str) -> None:
    provider.access = {key: (Grant("", None), float("inf")) for key in keys}


class Shop:
    """An installation of Bling with a key, and the provider that knows it."""

    def __init__(self, api: Api, provider: Authority, made: Any) -> None:
        self.api, self.provider, self.made = api, provider, made
        self.path = f"/installations/{made['id']}"

    async def rotates(self, key: str, overlap: int = 60) -> Any:
        body = {"credentials": {"access_token": key}, "overlap_seconds": overlap}
        return (await self.api.post(f"{self.path}/rotate-credentials", body)).data

    async def calls(self) -> Any:
        one = self.api.services.directory.installation(self.made["id"])
        assert one
        return await self.api.services.provider_api.call(BY_SLUG["bling"], one, ORDER)

    async def shown(self) -> Any:
        return (await self.api.get(self.path)).data

    def used(self) -> list[int]:
        """How the provider answered since the last look."""
        statuses = [status for path, status in self.provider.called if path == ORDER_PATH]
        self.provider.called.clear()
        return statuses

    async def in_error(self) -> Any:
        async def look() -> Any:
            now = await self.shown()
            return now if now["status"] == "error" else None

        return await eventually(look)


async def a_shop(api: Api, provider: Authority) -> Shop:
    provider.api |= {COMPANY: {"data": {"id": "1"}}, ORDERS: {"data": []}, ORDER_PATH: {"data": {}}}
    knows(provider, OLD)
    made = await api.install(
        "bling",
        credentials={"access_token": OLD, "secret": "s3cret"},
        settings={"api_base_url": provider.url, "poll_interval": 500},
    )
    shop = Shop(api, provider, made)

    async def polled() -> bool:
        return all(one["last_swept_at"] for one in (await shop.shown())["polls"])

    await eventually(polled)
    return shop


@pytest.fixture
async def shop(api: Api) -> AsyncIterator[Shop]:
    async with authority(Bling) as provider:
        yield await a_shop(api, provider)


async def test_the_new_key_is_used_and_the_old_one_kept(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    shown = await shop.rotates(NEW)

    assert shown["credentials"]["access_token"] == "********6789"
    (previous,) = shown["previous_credentials"]
    assert previous["credentials"] == {"access_token": "********6789"}
    assert previous["until"] > shown["updated_at"]
    assert OLD not in str(shown)
    knows(shop.provider, NEW)
    assert await shop.calls() == {"data": {}}
    assert (await shop.shown())["warnings"] == []


async def test_the_old_key_serves_while_the_new_one_is_refused(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    await shop.rotates(NEW)
    knows(shop.provider, OLD)
    shop.used()
    for _ in range(3):
        assert await shop.calls() == {"data": {}}
    assert shop.used() == [401, 200, 200, 200]  # it is not refused first each time
    shown = await shop.shown()
    assert shown["status"] == "active"
    (warning,) = shown["warnings"]
    assert warning.startswith("Bling refuses the new credentials (order: HTTP 401): those before")

    knows(shop.provider, NEW)  # the provider has changed over
    assert await shop.calls() == {"data": {}}
    assert shop.used() == [401, 200]
    assert (await shop.shown())["warnings"] == []
    assert (await shop.api.get("/processing/events")).data == []


async def test_the_new_key_is_tried_again_after_a_while(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    knows(shop.provider, OLD, NEW)
    await shop.rotates(NEW, 3600)
    knows(shop.provider, OLD)
    await shop.calls()
    shop.used()
    turns, later = shop.api.services.provider_api._turns, shop.api.services.now() + MINUTE
    monkeypatch.setattr(turns, "_now", lambda: later)
    await shop.calls()

    assert shop.used() == [401, 200]


async def test_it_is_an_error_when_neither_is_taken(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    await shop.rotates(NEW)
    knows(shop.provider)
    with pytest.raises(ApiError, match="HTTP 401"):
        await shop.calls()
    shown = await shop.in_error()

    assert shown["reason"] == "the provider refuses the credentials: order: HTTP 401"


async def test_without_an_overlap_the_old_key_is_gone_at_once(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    shown = await shop.rotates(NEW, 0)
    assert shown["previous_credentials"] == []
    knows(shop.provider, OLD)
    with pytest.raises(ApiError):
        await shop.calls()

    assert (await shop.in_error())["previous_credentials"] == []


async def test_a_patch_takes_the_old_one_away(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW, NEWER)
    await shop.rotates(NEW)
    change = {"credentials": {"access_token": NEWER}}
    assert (await shop.api.patch(shop.path, change)).data["previous_credentials"] == []
    stored = shop.api.services.directory.installation(shop.made["id"])
    assert stored
    assert stored.earlier == ()


async def test_of_two_rotations_in_a_row_both_count(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW, NEWER)
    await shop.rotates(NEW, 3600)
    shown = await shop.rotates(NEWER, 1800)
    assert len(shown["previous_credentials"]) == 2
    assert len({one["until"] for one in shown["previous_credentials"]}) == 1
    knows(shop.provider, OLD)
    shop.used()

    assert await shop.calls() == {"data": {}}
    assert shop.used() == [401, 401, 200]


async def test_what_the_provider_refuses_changes_nothing(shop: Shop) -> None:
    body = {"credentials": {"access_token": NEW}, "overlap_seconds": 60}
    answer = await shop.api.post(f"{shop.path}/rotate-credentials", body)

    assert set(answer.faults) == {"credentials.access_token"}
    assert (await shop.shown())["previous_credentials"] == []
    assert await shop.calls() == {"data": {}}


async def test_an_answer_may_be_sent_back(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    shown = await shop.rotates(NEW)

    assert (await shop.api.patch(shop.path, shown)).data["previous_credentials"]


async def test_the_old_key_is_erased_when_its_time_is_over(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    await shop.rotates(NEW, 1)
    stored = shop.api.services.directory.installation

    async def erased() -> bool:
        one = stored(shop.made["id"])
        return one is not None and one.earlier == ()

    assert not await erased()
    await eventually(erased)
    assert (await shop.shown())["previous_credentials"] == []


async def test_a_key_that_was_never_taken_is_an_error_at_the_overlaps_end(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    await shop.rotates(NEW, 1)
    knows(shop.provider, OLD)
    await shop.calls()
    assert (await shop.shown())["status"] == "active"
    shown = await shop.in_error()  # though nobody calls

    assert shown["reason"] == "the provider refuses the credentials: company: HTTP 401"
    assert shown["previous_credentials"] == []


async def test_it_is_erased_though_the_installation_is_off(shop: Shop) -> None:
    knows(shop.provider, OLD, NEW)
    await shop.rotates(NEW, 1)
    await shop.api.post(f"{shop.path}/disable")

    async def erased() -> bool:
        one = shop.api.services.directory.installation(shop.made["id"])
        return one is not None and one.earlier == ()

    await eventually(erased)


async def test_secrets_that_still_verify_are_shown(shop: Shop) -> None:
    body = {"secret": "the-second-secret", "overlap_seconds": 60}
    shown = (await shop.api.post(f"{shop.path}/rotate-credentials", body)).data

    (previous,) = shown["previous_credentials"]
    assert previous["credentials"] == {"secret": "********"}


async def test_an_old_client_logs_in_while_the_new_one_is_refused(api: Api) -> None:
    sales = Fetch(name="sales", url="https://public-api.kiwify.com/v1/sales")
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "account_id": "acc-1"}
    async with authority(Kiwify) as provider:
        provider.api["/v1/sales"] = {"data": []}
        made = await api.install(
            "kiwify",
            credentials=client | {"secret": "s"},
            settings={"api_base_url": provider.url},
        )
        one = api.services.directory.installation(made["id"])
        assert one
        await api.services.directory.save(
            "installation",
            one.model_copy(
                update={
                    "credentials": client | {"client_secret": "not-active-yet"},
                    "earlier": (
                        Earlier(credentials=client, until=api.services.now() + 60 * MINUTE),
                    ),
                }
            ),
        )
        for _ in range(2):
            stored = api.services.directory.installation(made["id"])
            assert stored
            call = api.services.provider_api.call
            assert await call(BY_SLUG["kiwify"], stored, sales) == {"data": []}
        assert len(provider.asked) == 2  # one proved it, one serves both calls


async def test_a_key_nobody_uses_falls_back_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.credential_check.LONGEST_SLEEP", 0.1)
    async with authority(Eduzz) as provider:
        provider.api[Eduzz.account] = {"id": "1"}
        knows(provider, OLD, NEW)
        made = await api.install(
            "eduzz",
            credentials={"access_token": OLD, "secret": "s3cret"},
            settings={"api_base_url": provider.url},
        )
        path = f"/installations/{made['id']}"
        body = {"credentials": {"access_token": NEW}, "overlap_seconds": 3600}
        await api.post(f"{path}/rotate-credentials", body)
        knows(provider, OLD)

        async def warned() -> Any:
            return (await api.get(path)).data["warnings"]

        (warning,) = await eventually(warned)
        assert "refuses the new credentials (account: HTTP 401)" in warning
        assert (await api.get(path)).data["status"] == "active"
        knows(provider, NEW)

        async def well() -> bool:
            return not await warned()

        await eventually(well)


async def restarted(folder: Path, **more: Any) -> None:
    """It goes on as it was, and ends when it has to."""
    more["keys"] = Keys(Vault([Fernet.generate_key().decode()]), ADMIN, is_new=False)
    async with authority(Bling) as provider:
        async with serving(folder, **more) as api:
            shop = await a_shop(api, provider)
            knows(provider, OLD, NEW)
            await shop.rotates(NEW, 3)
            record = await api.services.registry.get("installation", shop.made["id"])
            assert record
            assert OLD not in str(record.doc)
            assert NEW not in str(record.doc)
            assert "earlier" not in record.doc
        knows(provider, OLD)
        async with serving(folder, **more) as api:
            shop = Shop(api, provider, shop.made)
            assert await shop.calls() == {"data": {}}
            await shop.in_error()
            stored = api.services.directory.installation(shop.made["id"])
            assert stored
            assert stored.earlier == ()


async def test_it_is_sealed_and_survives_a_restart(tmp_path: Path) -> None:
    await restarted(tmp_path)


async def test_it_does_on_postgres_too(tmp_path: Path, postgres_db: str) -> None:
    await restarted(tmp_path, store=SecretStr(postgres_db))
