"""The life of an API key: proven when it is set, watched until it ends."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drivers import BY_SLUG
from drivers.describe import Fetch
from gateway.provider_api import ApiError
from tests.api.rig import Api, eventually
from tests.provider_apis.oauth import (
    CLIENT_ID,
    CLIENT_SECRET,
    Authority,
    Grant,
    Hotmart,
    Kiwify,
    authority,
)
from tests.services import free_port

COMPANY = "/Api/v3/empresas/me/dados-basicos"
FOREVER = float("inf")


def knows(provider: Authority, *keys: str) -> None:
    """The provider has these keys, and none else."""
    provider.api[COMPANY] = {"data": {"id": "1"}}
    provider.access = {key: (Grant("", None), FOREVER) for key in keys}


async def install(api: Api, url: str, key: str, **more: Any) -> Any:
    wish = {
        "driver": "bling",
        "instance": "loja",
        "credentials": {"access_token": key, "secret": "s3cret"},
        "settings": {"api_base_url": url} | more,
    }
    return await api.post("/installations", wish)


async def events(api: Api) -> list[Any]:
    """The data of every `installation.updated`, oldest first."""
    found = (await api.get("/processing/events?filter[name]=installation.updated")).data
    whole = [(await api.get(f"/processing/events/{item['id']}")).data for item in found]
    return [(event["provider_event"], event["data"]) for event in whole][::-1]


async def standing(api: Api) -> dict[str, float | None]:
    """How many installations of Bling are said to be active and in error."""
    api.services.gauges._fresh_until = 0.0
    await api.services.gauges.refresh()
    value = api.services.metrics.registry.get_sample_value
    return {
        status: value("comporta_installations", {"driver": "bling", "status": status})
        for status in ("active", "error")
    }


def jwt(ends: datetime) -> str:
    claims = urlsafe_b64encode(json.dumps({"exp": int(ends.timestamp())}).encode())
    return f"eyJhbGciOiJIUzI1NiJ9.{claims.rstrip(b'=').decode()}.c2lnbmF0dXJl"


class TestWhenSet:
    """A key is proven by a call that its driver describes."""

    async def test_a_key_that_the_provider_knows_is_taken(self, api: Api) -> None:
        async with authority() as provider:
            knows(provider, "key-1")
            made = (await install(api, provider.url, "key-1")).data

            assert (made["status"], made["warnings"]) == ("active", [])
            assert (COMPANY, 200) in provider.called

    async def test_a_key_that_it_refuses_is_not(self, api: Api) -> None:
        async with authority() as provider:
            knows(provider, "key-1")
            answer = await install(api, provider.url, "key-2")

        assert set(answer.faults) == {"credentials.access_token"}
        assert answer.body["code"] == "credentials_refused"
        assert "Bling refuses these credentials (company: HTTP 401)" in answer.body["message"]
        assert (await api.get("/installations")).data == []
        assert (await api.get("/instances")).data == []

    async def test_a_client_is_proven_by_logging_in(self, api: Api) -> None:
        async with authority(Kiwify) as provider:
            wish = {
                "settings": {"api_base_url": provider.url},
                "credentials": {
                    "secret": "s3cret",
                    "client_id": CLIENT_ID,
                    "client_secret": CLIENT_SECRET,
                    "account_id": "acc-1",
                },
            }
            assert (await api.install("kiwify", **wish))["warnings"] == []
            wish["credentials"]["client_secret"] = "another"
            wrong = await api.post("/installations", {"driver": "kiwify", "instance": "x"} | wish)

        assert "credentials.client_secret" in wrong.faults

    async def test_hotmarts_client_logs_in_again_when_its_token_ends(self, api: Api) -> None:
        client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "basic": Hotmart.basic}
        sales = Fetch(name="sales", url="https://developers.hotmart.com/payments/api/v1/sales")
        async with authority(Hotmart) as provider:
            provider.api["/payments/api/v1/sales"] = {"items": []}
            away = {"api_base_url": provider.url}
            made = await api.install(
                "hotmart", settings=away, credentials=client | {"secret": "hottok"}
            )
            assert made["warnings"] == []
            one = api.services.directory.installation(made["id"])
            assert one

            async def ask() -> Any:
                call = api.services.provider_api.call
                return await call(BY_SLUG["hotmart"], one, sales)

            for _ in range(2):
                assert await ask() == {"items": []}
            assert len(provider.asked) == 2  # one proved it, one serves both calls
            provider.access.clear()
            assert await ask() == {"items": []}
            assert len(provider.asked) == 3
            wrong = client | {"basic": "Basic b3RoZXI="}
            refused = await api.patch(f"/installations/{made['id']}", {"credentials": wrong})

        assert "credentials.basic" in refused.faults

    async def test_only_new_credentials_are_proven(self, api: Api) -> None:
        async with authority() as provider:
            knows(provider, "key-1", "key-2")
            made = (await install(api, provider.url, "key-1")).data
            path = f"/installations/{made['id']}"

            def proofs() -> int:
                return [place for place, _ in provider.called].count(COMPANY)

            await api.patch(path, {"name": "Outra", "credentials": {"access_token": "********"}})
            assert proofs() == 1
            await api.patch(path, {"credentials": {"access_token": "key-2"}})
            assert proofs() == 2
            for action in ("PATCH", "rotate-credentials"):
                wish = {"credentials": {"access_token": "key-3"}}
                patched = action == "PATCH"
                answer = await (
                    api.patch(path, wish) if patched else api.post(f"{path}/{action}", wish)
                )
                assert set(answer.faults) == {"credentials.access_token"}
            stored = api.services.directory.installation(made["id"])
            assert stored
            assert stored.credentials == {"access_token": "key-2"}
            knows(provider, "key-4")
            wish = {"credentials": {"access_token": "key-4"}}
            assert (await api.post(f"{path}/rotate-credentials", wish)).data["warnings"] == []

    async def test_what_a_driver_cannot_prove_is_taken(self, api: Api) -> None:
        made = await api.install("appmax", credentials={"access_token": "key"})

        assert (made["status"], made["warnings"]) == ("active", [])


class TestUnreachable:
    """A provider that cannot be asked proves nothing."""

    async def test_the_key_is_taken_with_a_warning_until_it_is_proven(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.credential_check.FIRST_PAUSE", 0.1)
        made = (await install(api, f"http://127.0.0.1:{free_port()}", "key-1")).data
        (warning,) = made["warnings"]

        assert made["status"] == "active"
        assert warning.startswith("the credentials could not be checked with Bling: connect")
        async with authority() as provider:
            knows(provider, "key-1")
            moved = {"settings": {"api_base_url": provider.url}}
            await api.patch(f"/installations/{made['id']}", moved)

            async def proven() -> bool:
                return not (await api.get(f"/installations/{made['id']}")).data["warnings"]

            await eventually(proven)
        assert await events(api) == []

    async def test_it_is_proven_soon_though_its_end_is_watched_already(self, api: Api) -> None:
        ends = (datetime.now(UTC) + timedelta(days=30)).isoformat()
        async with authority() as provider:
            knows(provider, "key-1", "key-2")
            made = (await install(api, provider.url, "key-1", credentials_expire_at=ends)).data
            path = f"/installations/{made['id']}"

            async def watched() -> Any:
                return await api.services.store.database.fetch(
                    "SELECT due_at FROM jobs WHERE kind = 'check' AND owner IS NULL"
                )

            await eventually(watched)
            away = {"api_base_url": f"http://127.0.0.1:{free_port()}"}
            new = {"credentials": {"access_token": "key-2"}, "settings": away}
            assert len((await api.patch(path, new)).data["warnings"]) == 1
            await api.patch(path, {"settings": {"api_base_url": provider.url}})

            async def proven() -> bool:
                return not (await api.get(path)).data["warnings"]

            await eventually(proven)

    async def test_it_is_an_error_once_the_provider_refuses_it(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.credential_check.FIRST_PAUSE", 0.1)
        made = (await install(api, f"http://127.0.0.1:{free_port()}", "key-1")).data
        async with authority() as provider:
            knows(provider)
            moved = {"settings": {"api_base_url": provider.url}}
            await api.patch(f"/installations/{made['id']}", moved)

            async def told() -> list[Any]:
                return await events(api)

            ((cause, data),) = await eventually(told)
        assert (cause, data["status"]) == ("api.unauthorized", "error")
        assert "refuses the credentials" in data["reason"]


async def test_a_key_that_is_refused_later_is_an_error_that_is_told(api: Api) -> None:
    async with authority() as provider:
        knows(provider, "key-1")
        made = (await install(api, provider.url, "key-1")).data
        knows(provider, "key-2")
        one = api.services.directory.installation(made["id"])
        assert one
        fetch = Fetch(name="company", url=f"https://api.bling.com.br{COMPANY}")
        with pytest.raises(ApiError):
            await api.services.provider_api.call(BY_SLUG["bling"], one, fetch)

        async def told() -> list[Any]:
            return await events(api)

        ((cause, data),) = await eventually(told)
        assert (cause, data["status"]) == ("api.unauthorized", "error")
        path = f"/installations/{made['id']}"
        assert (await api.get(path)).data["status"] == "error"
        assert await standing(api) == {"active": 0.0, "error": 1.0}
        again = await api.patch(path, {"credentials": {"access_token": "key-2"}})
        assert (again.data["status"], again.data["reason"]) == ("active", None)
        assert await standing(api) == {"active": 1.0, "error": 0.0}
        await api.delete(path)
        assert await standing(api) == {"active": 0, "error": 0}


class TestEnds:
    """A key whose end is known."""

    @pytest.mark.parametrize("by", ["jwt", "setting"])
    async def test_it_is_told_a_week_before(self, api: Api, by: str) -> None:
        ends = (datetime.now(UTC) + timedelta(days=6)).replace(microsecond=0)
        key = jwt(ends) if by == "jwt" else "key-1"
        more = {} if by == "jwt" else {"credentials_expire_at": ends.isoformat()}
        async with authority() as provider:
            knows(provider, key)
            made = (await install(api, provider.url, key, **more)).data

            async def told() -> list[Any]:
                return await events(api)

            ((cause, data),) = await eventually(told)
        assert made["warnings"] == [
            f"the credentials end on {ends:%Y-%m-%d %H:%M} UTC: rotate them"
        ]
        assert (cause, data["status"]) == ("credentials.expiring", "active")
        assert data["expires_at"] == f"{ends:%Y-%m-%dT%H:%M:%SZ}"
        await api.services.checks.ensure_all()
        one = api.services.directory.installation(made["id"])
        assert one
        assert "warned" in one.info

    async def test_what_ends_later_is_no_news(self, api: Api) -> None:
        async with authority() as provider:
            key = jwt(datetime.now(UTC) + timedelta(days=30))
            knows(provider, key)
            made = (await install(api, provider.url, key)).data

        assert made["warnings"] == []
        assert await events(api) == []

    async def test_what_has_ended_says_so(self, api: Api) -> None:
        settings = {"credentials_expire_at": "2026-01-31"}
        made = await api.install("appmax", credentials={"access_token": "k"}, settings=settings)

        assert made["warnings"] == ["the credentials ended on 2026-01-31 00:00 UTC: rotate them"]

    @pytest.mark.parametrize("key", ["a.b.c", "a.!!!.c", "a.W10.c", "a.eyJleHAiOiJ4In0.c", "a.b"])
    async def test_what_only_looks_like_a_token_has_no_end(self, api: Api, key: str) -> None:
        made = await api.install("appmax", credentials={"access_token": key})

        assert made["warnings"] == []

    async def test_an_end_must_be_a_date(self, api: Api) -> None:
        wish = {"driver": "appmax", "instance": "x", "settings": {"credentials_expire_at": "soon"}}

        assert set((await api.post("/installations", wish)).faults) == {
            "settings.credentials_expire_at"
        }
