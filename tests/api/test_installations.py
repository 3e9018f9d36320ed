"""Installations: made, validated by the driver, listed, changed and removed."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.api.rig import NOBODY, PUBLIC, Api

CALLBACK = "https://sua-app.com/oauth/callback"
SHOP = {"shop": "casa.myshopify.com", "api_base_url": NOBODY}


async def refused(api: Api, **wish: Any) -> dict[str, str]:
    """The faults of a wish that is otherwise in order."""
    whole = {"driver": "kiwify", "instance": "loja", "credentials": {"secret": "s3cret"}}
    faults = (await api.post("/installations", whole | wish)).faults
    assert (await api.get("/installations")).body["meta"]["total"] == 0
    assert (await api.get("/instances")).data == []
    return faults


async def test_an_installation_is_made_with_all_it_needs(api: Api) -> None:
    wish = {
        "driver": "kiwify",
        "instance": "loja-1",
        "name": "Minha loja",
        "settings": {"timezone": "America/Manaus", "poll_interval": 2.5},
        "credentials": {"secret": "a-long-webhook-secret", "client_id": "public-id"},
    }
    answer = await api.post("/installations", wish)
    made = answer.data

    assert answer.status == 201
    assert set(made) >= set(
        "id driver instance name status auth_url ingest_url settings credentials created_at"
        " updated_at".split()
    )
    assert set(made["driver"]) == {"id", "name", "slug"}
    assert made["driver"]["slug"] == "kiwify"
    assert made["status"] == "active"
    assert made["auth_url"] is None
    assert made["settings"] == wish["settings"]
    assert made["credentials"] == {"secret": "********cret", "client_id": "public-id"}
    assert made["ingest_url"].startswith(f"{PUBLIC}/hooks/kiwify/")
    assert len(made["ingest_url"].rpartition("/")[2]) == 32
    assert made["warnings"] == []
    assert made["created_at"] == made["updated_at"]
    assert (await api.get(f"/installations/{made['id']}")).data == made
    assert (await api.get("/instances/loja-1")).data["installations"] == 1


async def test_secrets_and_tokens_are_sealed_at_rest(api: Api) -> None:
    made = await api.install(credentials={"secret": "the-signing-secret"})
    record = await api.services.registry.get("installation", made["id"])

    assert record
    assert "the-signing-secret" not in str(record.doc)
    assert made["ingest_url"].rpartition("/")[2] not in str(record.doc)


async def test_the_ingest_url_takes_deliveries_until_it_is_removed(api: Api) -> None:
    made = await api.install()
    path = urlsplit(made["ingest_url"]).path.removeprefix("/gw")

    assert (await api.post(path, {})).status == 401
    assert (await api.delete(f"/installations/{made['id']}")).status == 204
    assert (await api.post(path, {})).status == 404
    for method in ("GET", "PATCH", "DELETE"):
        gone = await api.call(method, f"/installations/{made['id']}", {})
        assert gone.status == 404


async def test_the_first_installation_switches_the_driver_on(api: Api) -> None:
    assert (await api.get("/drivers/kiwify")).data["enabled"] is False
    await api.install()
    shown = (await api.get("/drivers/kiwify")).data

    assert shown["enabled"] is True
    assert shown["enabled_at"]
    assert (await api.get("/drivers/kiwify/settings")).data["enabled"] is True


async def test_a_driver_is_named_by_slug_or_id(api: Api) -> None:
    by_slug = await api.install("kiwify")
    ident = by_slug["driver"]["id"]
    wish = {"instance": "loja", "credentials": {"secret": "x"}}

    for named in ({"driver": ident}, {"driver_id": ident}, {"driver_id": "kiwify"}):
        assert (await api.post("/installations", wish | named)).data["driver"]["id"] == ident


@pytest.mark.parametrize(
    ("wish", "paths"),
    [
        ({"driver": "nobody"}, {"driver"}),
        ({"driver": None}, {"driver"}),
        ({"driver": None, "driver_id": "x"}, {"driver_id"}),
        ({"driver_id": "hotmart"}, {"driver_id"}),
        ({"instance": "a b"}, {"instance"}),
        ({"instance": None}, {"instance"}),
        ({"name": "x\ty"}, {"name"}),
        ({"credential": {}}, {"credential"}),
        ({"credentials": {}}, {"credentials.secret"}),
        ({"credentials": []}, {"credentials.secret"}),
        ({"credentials": {"secret": ""}}, {"credentials.secret"}),
        ({"credentials": {"secret": None}}, {"credentials.secret"}),
        ({"credentials": {"secret": 5}}, {"credentials.secret"}),
        ({"credentials": {"secret": "x\0"}}, {"credentials.secret"}),
        ({"credentials": {"secret": "x" * 9000}}, {"credentials.secret"}),
        ({"credentials": {"secret": "********cret"}}, {"credentials.secret"}),
        ({"credentials": {"hottok": "x"}}, {"credentials.hottok", "credentials.secret"}),
        ({"credentials": "secret"}, {"credentials"}),
        ({"settings": {"poll_interval": 0}}, {"settings.poll_interval"}),
        ({"settings": {"poll_interval": "5"}}, {"settings.poll_interval"}),
        ({"settings": {"webhook_topics": "orders"}}, {"settings.webhook_topics"}),
        ({"settings": {"abandoned_after_minutes": -1}}, {"settings.abandoned_after_minutes"}),
        ({"settings": {"jwks": {"key": []}}}, {"settings.jwks"}),
        ({"settings": {"status_map": {"1": 2}}}, {"settings.status_map.1"}),
        ({"settings": {"unsigned": "yes"}}, {"settings.unsigned"}),
        ({"settings": {"unsigned_plugins": "cartflows"}}, {"settings.unsigned_plugins"}),
        ({"settings": {"timezone": "Mars/Base"}}, {"settings.timezone"}),
        ({"settings": {"timezone": "../etc/passwd"}}, {"settings.timezone"}),
        ({"settings": {"header_name": "x y"}}, {"settings.header_name"}),
        ({"settings": {"shop": "https://x"}}, {"settings.shop"}),
        ({"settings": {"note": "x\0"}}, {"settings"}),
        ({"settings": {"blob": "x" * 70_000}}, {"settings"}),
        ({"settings": {"api_base_url": "http://10.0.0.1/"}}, {"settings.api_base_url"}),
        ({"settings": {"api_base_url": "http://example.com"}}, {"settings.api_base_url"}),
        ({"settings": {"api_base_url": 7}}, {"settings.api_base_url"}),
    ],
)
async def test_every_fault_is_named_and_nothing_is_kept(
    api: Api, wish: dict[str, Any], paths: set[str]
) -> None:
    assert set(await refused(api, **wish)) == paths


async def test_faults_are_found_together(api: Api) -> None:
    faults = await refused(
        api, credentials={"token": "x"}, settings={"poll_interval": 0, "shop": "-"}
    )

    assert set(faults) == {
        "credentials.token",
        "credentials.secret",
        "settings.poll_interval",
        "settings.shop",
    }


async def test_a_drivers_own_settings_pass_as_they_are(api: Api) -> None:
    settings = {"mine": {"deep": [1, {"x": None}, 0.5]}, "api_base_url": "http://127.0.0.1:9999"}
    made = await api.install(settings=settings)

    assert made["settings"] == settings


async def test_a_secret_is_optional_where_nothing_is_signed(api: Api) -> None:
    made = await api.install("assiny", credentials={})

    assert made["status"] == "active"
    assert made["credentials"] == {}
    assert made["name"] == "Assiny"
    assert (await api.install("pagarme", credentials={}))["status"] == "active"


class TestOAuth:
    """Drivers whose owner grants access."""

    async def test_credentials_make_it_active_at_once(self, api: Api) -> None:
        by_secret = await api.install("shopify", credentials={"secret": "webhooks-only"})
        by_token = await api.install("shopify", credentials={"access_token": "shpat_0123456789"})

        for made in (by_secret, by_token):
            assert made["status"] == "active"
            assert made["auth_url"] is None
        assert by_secret["warnings"] == []
        assert "refused" in by_token["warnings"][0]

    async def test_without_credentials_it_wants_settings(self, api: Api) -> None:
        wish = {"driver": "shopify", "instance": "loja", "settings": SHOP}
        never = await api.post("/installations", wish)
        await api.install("shopify")
        enabled_only = await api.post("/installations", wish)
        oauth = {"redirect_url": CALLBACK, "client_id": "c"}
        await api.put("/drivers/shopify/settings", {"oauth_settings": oauth})
        incomplete = await api.post("/installations", wish)

        for answer in (never, enabled_only, incomplete):
            assert answer.status == 409
            assert answer.body["error"] == "Conflict"
            assert "PUT /drivers/shopify/settings" in answer.body["message"]
        assert "oauth_settings.redirect_url" in never.body["message"]
        assert "redirect_url" not in incomplete.body["message"]
        assert "oauth_settings.client_secret" in incomplete.body["message"]

    async def test_with_settings_it_waits_to_be_authorised(self, api: Api) -> None:
        oauth = {"redirect_url": CALLBACK, "client_id": "c", "client_secret": "client-secret-1234"}
        await api.put("/drivers/shopify/settings", {"oauth_settings": oauth})
        shopless = await api.post("/installations", {"driver": "shopify", "instance": "loja"})
        made = await api.install("shopify", credentials={}, settings=SHOP)

        assert set(shopless.faults) == {"settings.shop"}
        assert made["status"] == "pending_auth"
        assert made["credentials"] == {"secret": "********1234"}, "the client's secret serves"
        given = await api.patch(
            f"/installations/{made['id']}", {"credentials": {"access_token": "shpat_1"}}
        )
        assert given.data["status"] == "active"

    async def test_an_empty_secret_is_refused_all_the_same(self, api: Api) -> None:
        faults = await refused(
            api, driver="shopify", credentials={"secret": "", "access_token": "t"}
        )

        assert set(faults) == {"credentials.secret"}


async def test_a_change_is_merged(api: Api) -> None:
    made = await api.install(
        settings={"timezone": "America/Sao_Paulo", "map": {"a": "1", "b": "2"}},
        credentials={"secret": "the-first-secret-of-all", "client_id": "id"},
    )
    path = f"/installations/{made['id']}"
    change = {
        "name": "Nova",
        "settings": {"map": {"a": None, "c": "3"}, "api_version": "v2"},
        "credentials": {"secret": "********-all", "client_id": None, "client_secret": "x"},
    }
    changed = (await api.patch(path, change)).data

    assert changed["name"] == "Nova"
    assert changed["settings"] == {
        "timezone": "America/Sao_Paulo",
        "map": {"b": "2", "c": "3"},
        "api_version": "v2",
    }
    assert changed["credentials"] == {"secret": "********-all", "client_secret": "********"}
    assert changed["ingest_url"] == made["ingest_url"]
    stored = api.services.directory.installation(made["id"])
    assert stored
    assert stored.secrets_at(0) == ("the-first-secret-of-all",)


async def test_what_was_shown_can_be_sent_back(api: Api) -> None:
    made = await api.install(credentials={"secret": "the-first-secret-of-all"})
    again = (await api.patch(f"/installations/{made['id']}", made)).data

    assert again | {"updated_at": None} == made | {"updated_at": None}
    stored = api.services.directory.installation(made["id"])
    assert stored
    assert stored.secrets_at(0) == ("the-first-secret-of-all",)


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"driver": "hotmart"}, {"driver"}),
        ({"driver": {"slug": "hotmart"}, "instance": "x"}, {"driver", "instance"}),
        ({"status": "disabled"}, {"status"}),
        ({"credentials": {"secret": None}}, {"credentials.secret"}),
        ({"credentials": {"client_secret": "********"}}, {"credentials.client_secret"}),
        ({"settings": {"poll_interval": -1}}, {"settings.poll_interval"}),
        ({"nome": "x"}, {"nome"}),
    ],
)
async def test_a_change_is_checked(api: Api, change: dict[str, Any], paths: set[str]) -> None:
    made = await api.install()
    path = f"/installations/{made['id']}"

    assert set((await api.patch(path, change)).faults) == paths
    assert (await api.get(path)).data == made


async def test_lists_are_filtered_and_paged(api: Api) -> None:
    for driver, instance in (("kiwify", "a"), ("hotmart", "a"), ("kiwify", "b")):
        await api.install(driver, instance=instance, name=f"{driver}-{instance}")
    first = (await api.get("/installations")).data[0]
    await api.post(f"/installations/{first['id']}/disable")

    async def names(query: str) -> list[str]:
        return [i["name"] for i in (await api.get(f"/installations?{query}")).data]

    assert await names("") == ["kiwify-a", "hotmart-a", "kiwify-b"]
    assert await names("filter[driver]=kiwify") == ["kiwify-a", "kiwify-b"]
    assert await names(f"filter[driver]={first['driver']['id']}&filter[instance]=b") == ["kiwify-b"]
    assert await names("filter[status]=disabled") == ["kiwify-a"]
    assert await names("filter[driver]=nobody") == []
    assert await names("limit=1&page=2&sort=-name") == ["kiwify-a"]
    page = await api.get("/installations?limit=2")
    assert page.body["meta"]["total"] == 3
    assert page.body["links"]["next"] == f"{PUBLIC}/installations?limit=2&page=2"
    assert "filter[status]" in (await api.get("/installations?filter[status]=off")).faults


async def test_a_limited_key_sees_only_its_instance(api: Api) -> None:
    ours, theirs = await api.install(instance="loja-1"), await api.install(instance="loja-2")
    limited = await api.limited("INSTALLATIONS_MANAGE", instance="loja-1")

    assert [i["id"] for i in (await limited.get("/installations")).data] == [ours["id"]]
    assert (await limited.get(f"/installations/{ours['id']}")).status == 200
    for method in ("GET", "PATCH", "DELETE"):
        answer = await limited.call(method, f"/installations/{theirs['id']}", {})
        assert answer.status == 404, method
    wish = {"driver": "kiwify", "instance": "loja-2", "credentials": {"secret": "x"}}
    assert (await limited.post("/installations", wish)).status == 403


async def test_who_lacks_the_permission_learns_nothing(api: Api) -> None:
    made = await api.install()
    reader = await api.limited("EVENTS_READ", "SINKS_MANAGE")

    assert (await reader.get("/installations")).status == 403
    assert (await reader.get(f"/installations/{made['id']}")).status == 403
    assert (await reader.get("/installations/nobody")).status == 403
    assert (await reader.post("/installations", {})).status == 403


async def test_it_is_configured_on_postgres(api_on_postgres: Api) -> None:
    api = api_on_postgres
    oauth = {"redirect_url": CALLBACK, "client_id": "c", "client_secret": "client-secret-1234"}
    await api.put("/drivers/shopify/settings", {"oauth_settings": oauth})
    made = await api.install("shopify", credentials={}, settings=SHOP | {"note": "ação 🚀"})
    token = {"credentials": {"access_token": "shpat_0123456789"}}
    changed = (await api.patch(f"/installations/{made['id']}", token)).data
    key = (await api.post("/api-keys", {"name": "ç", "permissions": ["*"]})).data

    assert changed["status"] == "active"
    assert changed["settings"] == SHOP | {"note": "ação 🚀"}
    assert (await api.with_key(key["key"]).get("/instances/loja")).data["installations"] == 1
    assert (await api.post("/instances", {"name": "loja"})).status == 409
    await api.services.directory.load()
    again = (await api.get(f"/installations/{made['id']}")).data
    assert again | {"polls": None} == changed | {"polls": None}
    assert (await api.delete("/instances/loja?confirm=loja")).status == 204
    assert (await api.get("/installations")).data == []
