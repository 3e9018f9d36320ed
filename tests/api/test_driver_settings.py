"""Settings of a driver: merged, validated, masked, and frozen once they are in use."""

from typing import Any

import pytest

from tests.api.rig import Api

REDIRECT = "https://sua-app.com/oauth/callback"
SHOPIFY = "/drivers/shopify/settings"
CUSTOM = {
    "enabled": True,
    "custom_oauth_enabled": True,
    "oauth_settings": {
        "redirect_url": REDIRECT,
        "custom_oauth": {
            "client_id": "custom-client-id",
            "client_secret": "custom-client-secret",
        },
    },
}


async def test_what_was_never_configured_is_not_found(api: Api) -> None:
    answer = await api.get(SHOPIFY)

    assert answer.status == 404
    assert answer.body["error"] == "Not found"


async def test_the_answer_has_the_documented_shape(api: Api) -> None:
    body = {
        "enabled": True,
        "oauth_settings": {
            "redirect_url": REDIRECT,
            "client_id": "seu-client-id",
            "client_secret": "seu-client-secret",
        },
    }
    put, got = await api.put(SHOPIFY, body), await api.get(SHOPIFY)

    assert put.status == 200
    assert put.body == got.body
    shown = got.data
    assert set(shown) == set(
        "enabled custom_oauth_enabled custom_oauth_enabled_at custom_oauth_can_be_edited"
        " oauth_settings enabled_at created_at updated_at driver".split()
    )
    assert shown["enabled"] is True
    assert shown["custom_oauth_enabled"] is False
    assert shown["custom_oauth_enabled_at"] is None
    assert shown["custom_oauth_can_be_edited"] is True
    assert shown["oauth_settings"]["redirect_url"] == REDIRECT
    assert shown["oauth_settings"]["custom_oauth"] == []
    assert shown["driver"] == {
        "id": "01ke7rhnt6fhb6tsbbhcdpepsh",
        "name": "Shopify",
        "slug": "shopify",
    }
    assert shown["enabled_at"].endswith("Z")
    assert "seu-client-secret" not in str(got.body)
    assert (await api.get("/drivers/shopify")).data["enabled"] is True


async def test_custom_oauth_is_shown_masked(api: Api) -> None:
    shown = (await api.put(SHOPIFY, CUSTOM)).data

    custom = shown["oauth_settings"]["custom_oauth"]
    assert custom["client_id"] == "custom-client-id"
    assert custom["client_secret"] == "********cret"
    assert shown["custom_oauth_enabled_at"]


@pytest.mark.parametrize(
    ("slug", "body", "paths"),
    [
        ("shopify", {}, {"oauth_settings.redirect_url"}),
        ("shopify", {"enabled": True}, {"oauth_settings.redirect_url"}),
        (
            "shopify",
            {"custom_oauth_enabled": True},
            {
                "oauth_settings.redirect_url",
                "oauth_settings.custom_oauth.client_id",
                "oauth_settings.custom_oauth.client_secret",
            },
        ),
        (
            "shopify",
            {"oauth_settings": {"redirect_url": "sua-app.com"}},
            {"oauth_settings.redirect_url"},
        ),
        (
            "shopify",
            {"oauth_settings": {"redirect_url": "https://u:p@example.com/"}},
            {"oauth_settings.redirect_url"},
        ),
        (
            "shopify",
            {"oauth_settings": {"redirect_url": "javascript:alert(1)//"}},
            {"oauth_settings.redirect_url"},
        ),
        (
            "shopify",
            {"oauth_settings": {"redirect_url": REDIRECT, "client_secret": "********cret"}},
            {"oauth_settings.client_secret"},
        ),
        ("shopify", {"enabled": "yes"}, {"enabled"}),
        ("shopify", {"oauth_settings": {"redirect": "x"}}, {"oauth_settings.redirect"}),
        ("shopify", {"enable": True}, {"enable"}),
        ("shopify", [], {"body"}),
        ("hotmart", {"custom_oauth_enabled": True}, {"custom_oauth_enabled"}),
        (
            "hotmart",
            {"oauth_settings": {"redirect_url": REDIRECT, "client_id": "x"}},
            {"oauth_settings.redirect_url", "oauth_settings.client_id"},
        ),
    ],
)
async def test_settings_are_held_against_the_driver(
    api: Api, slug: str, body: Any, paths: set[str]
) -> None:
    answer = await api.put(f"/drivers/{slug}/settings", body)

    assert set(answer.faults) == paths
    assert (await api.get(f"/drivers/{slug}/settings")).status == 404


async def test_a_change_is_merged_over_what_is_stored(api: Api) -> None:
    await api.put(SHOPIFY, CUSTOM)
    other = "https://outra.com/cb"
    shown = (await api.put(SHOPIFY, {"oauth_settings": {"redirect_url": other}})).data

    assert shown["oauth_settings"]["redirect_url"] == other
    assert shown["custom_oauth_enabled"] is True
    stored = api.services.directory.driver_settings("default", "shopify")
    assert stored
    assert stored.custom_client_secret == "custom-client-secret"
    off = (await api.put(SHOPIFY, {"enabled": False})).data
    assert off["enabled"] is False
    assert off["enabled_at"] is None


async def test_what_was_shown_can_be_sent_back(api: Api) -> None:
    shown = (await api.put(SHOPIFY, CUSTOM)).data
    again = await api.put(SHOPIFY, shown)

    assert again.data == shown
    stored = api.services.directory.driver_settings("default", "shopify")
    assert stored
    assert stored.custom_client_secret == "custom-client-secret"


async def test_custom_oauth_is_frozen_by_the_first_installation(api: Api) -> None:
    shown = (await api.put(SHOPIFY, CUSTOM)).data
    installed = await api.install("shopify")
    changes: list[Any] = [
        {"custom_oauth_enabled": False},
        {"oauth_settings": {"custom_oauth": {"client_id": "other"}}},
        {"oauth_settings": {"custom_oauth": {"client_secret": "other"}}},
    ]

    for change in changes:
        answer = await api.put(SHOPIFY, change)
        assert answer.status == 409, change
        assert answer.body["error"] == "Conflict"
    same = await api.put(SHOPIFY, shown)
    assert same.status == 200
    assert same.data["custom_oauth_can_be_edited"] is False
    assert (await api.put(SHOPIFY, CUSTOM)).status == 200
    assert (await api.put(SHOPIFY, {"enabled": False})).status == 200

    await api.delete(f"/installations/{installed['id']}")
    assert (await api.put(SHOPIFY, changes[0])).status == 200


async def test_a_simple_driver_is_switched_on_and_off(api: Api) -> None:
    path = "/drivers/hotmart/settings"

    assert (await api.put(path, {"enabled": True})).data["enabled"] is True
    first = (await api.put(path, {"oauth_settings": [], "custom_oauth_enabled": False})).data
    assert first["oauth_settings"]["custom_oauth"] == []
    off = (await api.put(path, {"enabled": False})).data
    assert off["enabled"] is False
    assert (await api.get("/drivers/hotmart")).data["enabled"] is False
    refused = await api.post("/installations", {"driver": "hotmart", "instance": "x"})
    assert refused.status == 409
    assert "switched off" in refused.body["message"]


async def test_what_is_switched_off_needs_no_settings(api: Api) -> None:
    assert (await api.put(SHOPIFY, {"enabled": False})).data["enabled"] is False
    assert (await api.put(SHOPIFY, {"enabled": True})).status == 422


async def test_the_custom_client_counts_where_it_is_enabled(api: Api) -> None:
    await api.put(SHOPIFY, CUSTOM | {"oauth_settings": CUSTOM["oauth_settings"]})
    made = await api.install("shopify", credentials={}, settings={"shop": "a.myshopify.com"})
    stored = api.services.directory.installation(made["id"])

    assert stored
    assert made["status"] == "pending_auth"
    assert stored.secrets_at(api.services.now()) == ("custom-client-secret",)


async def test_the_permission_is_needed_and_one_instance_is_not_enough(api: Api) -> None:
    reader = await api.limited("INSTALLATIONS_MANAGE")
    limited = await api.limited("DRIVERS_MANAGE", instance="loja")

    assert (await reader.get(SHOPIFY)).status == 403
    assert (await reader.put(SHOPIFY, CUSTOM)).status == 403
    assert (await limited.put(SHOPIFY, CUSTOM)).status == 403
    assert (await limited.get(SHOPIFY)).status == 404
    assert (await api.put("/drivers/nobody/settings", {})).status == 404


async def test_installations_follow_the_clients_secret(api: Api) -> None:
    settings = {"redirect_url": REDIRECT, "client_id": "c", "client_secret": "first"}
    await api.put(SHOPIFY, {"oauth_settings": settings})
    follows = await api.install("shopify", credentials={"access_token": "shpat_1"})
    own = await api.install("shopify", credentials={"secret": "its own"})
    await api.put(SHOPIFY, {"oauth_settings": {"client_secret": "second"}})

    directory, now = api.services.directory, api.services.now()

    def secrets(ident: str) -> tuple[str, ...]:
        one = directory.installation(ident)
        assert one
        return one.secrets_at(now)

    assert secrets(follows["id"]) == ("second", "first")
    assert secrets(own["id"]) == ("its own",)
