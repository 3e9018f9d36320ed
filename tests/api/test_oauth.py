"""Authorising installations: from the URL an owner is sent to until the token is stored."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from gateway import samples
from gateway.oauth import challenge
from tests.api.owner import REDIRECT, Owner, query_of
from tests.api.rig import PUBLIC, Answer, Api, eventually, serving
from tests.provider_apis.oauth import (
    CLIENT_ID,
    CLIENT_SECRET,
    Bling,
    Eduzz,
    Grant,
    Shopify,
    Stripe,
    authority,
)
from tests.services import free_port


@pytest.fixture(params=["bling", "shopify", "stripe", "eduzz"])
async def anyone(api: Api, request: pytest.FixtureRequest) -> AsyncIterator[Owner]:
    kinds = {"bling": Bling, "shopify": Shopify, "stripe": Stripe, "eduzz": Eduzz}
    async with authority(kinds[request.param]) as provider:
        provider.lifetime = None if request.param in {"stripe", "eduzz"} else 3600
        owner = Owner(api, provider, request.param)
        await owner.configures()
        yield owner


async def test_an_owner_authorises_and_it_works(anyone: Owner) -> None:
    made = await anyone.installs()
    assert (made["status"], made["reason"]) == ("pending_auth", None)

    shown = await anyone.authorises(made)

    assert (shown["status"], shown["reason"], shown["auth_url"]) == ("active", None, None)
    held = anyone.stored(made)
    assert held.oauth["access_token"] in anyone.provider.access
    assert held.known_credentials["access_token"] == held.oauth["access_token"]
    assert held.oauth["access_token"] not in str(shown)
    assert await anyone.events() == [
        ("installation.updated", "active", "oauth.authorized"),
        ("connection.update", "active", "oauth.authorized"),
    ]


async def test_what_is_asked_is_what_each_provider_documents(anyone: Owner) -> None:
    made = await anyone.installs()
    place, query = urlsplit(made["auth_url"]), query_of(made["auth_url"])
    await anyone.authorises(made)
    (sent,) = anyone.provider.asked
    callback = f"{PUBLIC}/oauth/{anyone.driver}/callback"

    common = {"response_type": "code", "client_id": CLIENT_ID, "state": query["state"]}
    proof: dict[str, dict[str, str]] = {"challenge": {}, "verifier": {}}
    if anyone.driver in {"shopify", "stripe"}:
        verifier = sent.get("code_verifier", "")
        proof["challenge"] = {
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        proof["verifier"] = {"code_verifier": verifier}
    code = {"grant_type": "authorization_code", "code": sent["code"]}
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    expected: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
        "bling": ("www.bling.com.br/Api/v3/oauth/authorize", common, code),
        "shopify": (
            f"{Shopify.shop}/admin/oauth/authorize",
            common
            | {"redirect_uri": callback, "scope": "read_orders,read_customers,read_fulfillments"},
            code | client | {"expiring": "1"},
        ),
        "stripe": (
            "connect.stripe.com/oauth/authorize",
            common | {"redirect_uri": callback, "scope": "read_only"},
            code | client,
        ),
        "eduzz": (
            "accounts.eduzz.com/oauth/authorize",
            {"responseType" if k == "response_type" else k: v for k, v in common.items()}
            | {"redirectTo": callback},
            code | client | {"redirect_uri": callback},
        ),
    }
    page, asked, form = expected[anyone.driver]
    assert place.scheme == "https"
    assert place.netloc + place.path == page
    assert query == asked | proof["challenge"]
    assert sent == form | proof["verifier"]


async def test_tokens_are_sealed_at_rest(owner: Owner) -> None:
    made = await owner.installs()
    await owner.authorises(made)
    record = await owner.api.services.registry.get("installation", made["id"])

    assert record
    assert "access-" not in str(record.doc)
    assert "refresh-" not in str(record.doc)


async def test_the_account_that_came_with_the_token_is_known(api: Api) -> None:
    async with authority(Stripe, lifetime=None) as provider:
        owner = Owner(api, provider, "stripe")
        await owner.configures()
        made = await owner.installs()
        await owner.authorises(made)

        assert owner.stored(made).known_credentials["account"] == "acct_1"
        assert owner.stored(made).oauth["expires_at"] is None


class TestRefusals:
    """What can go wrong between the page and the token."""

    async def test_an_owner_who_declines(self, owner: Owner) -> None:
        made = await owner.installs()
        state = query_of(made["auth_url"])["state"]
        query = f"error=access_denied&error_description=O+usu%C3%A1rio+recusou&state={state}"
        back = await owner.comes_back(query)
        shown = await owner.looks_at(made)

        assert (back.status, back.headers["Location"]) == (302, REDIRECT)
        assert shown["status"] == "error"
        assert shown["reason"] == "access was not granted: access_denied: O usuário recusou"
        assert (await owner.events())[0] == ("installation.updated", "error", "oauth.failed")
        assert (await owner.authorises(shown))["status"] == "active"

    async def test_a_code_that_is_worth_nothing(self, owner: Owner) -> None:
        made = await owner.installs()
        query = owner.provider.grant(made["auth_url"])
        owner.provider.codes.clear()
        await owner.comes_back(query)
        shown = await owner.looks_at(made)

        assert shown["status"] == "error"
        assert "invalid_grant: Invalid refresh token" in shown["reason"]

    async def test_a_provider_that_is_not_there(self, owner: Owner) -> None:
        made = await owner.installs(api_base_url=f"http://127.0.0.1:{free_port()}")
        await owner.comes_back(owner.provider.grant(made["auth_url"]))
        shown = await owner.looks_at(made)

        assert shown["status"] == "error"
        assert "connect" in shown["reason"]
        assert shown["auth_url"]

    async def test_scopes_that_were_not_granted(self, merchant: Owner) -> None:
        merchant.provider.scope = "read_orders,write_customers"
        made = await merchant.installs()
        shown = await merchant.authorises(made)

        assert shown["status"] == "error"
        assert shown["reason"] == "these scopes were not granted: read_fulfillments"
        assert merchant.stored(made).oauth == {}
        assert (await merchant.events())[0][2] == "oauth.scopes_missing"
        merchant.provider.scope = "read_orders,write_customers,write_fulfillments"
        assert (await merchant.authorises(shown))["status"] == "active"

    async def test_declining_takes_nothing_away(self, owner: Owner) -> None:
        made = await owner.installs()
        await owner.authorises(made)
        before = owner.stored(made).oauth
        again = (await owner.api.post(f"/installations/{made['id']}/authorize")).data
        state = query_of(again["auth_url"])["state"]
        await owner.comes_back(f"error=access_denied&state={state}")

        assert (await owner.looks_at(made))["status"] == "active"
        assert owner.stored(made).oauth == before

    async def test_a_callback_without_shopifys_proof(self, merchant: Owner) -> None:
        made = await merchant.installs()
        query = merchant.provider.grant(made["auth_url"])
        bare, _, proof = query.rpartition("&hmac=")
        for forged in (bare, f"{bare}&hmac={proof[::-1]}", query.replace("code-1", "code-2")):
            answer = await merchant.comes_back(forged)
            assert answer.status == 403
            assert answer.body["code"] == "invalid_callback"
        assert merchant.provider.asked == []
        assert (await merchant.comes_back(query)).status == 302  # the forgeries used nothing up

    async def test_a_callback_of_another_shop(
        self, merchant: Owner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await merchant.installs()
        monkeypatch.setattr(
            Shopify, "shop", "outra.myshopify.com"
        )  # signed with the same secret, which all shops of an app share
        url = made["auth_url"].replace("casa.", "outra.")
        answer = await merchant.comes_back(merchant.provider.grant(url))

        assert answer.status == 403
        assert "another shop" in answer.body["message"]

    async def test_the_clients_secret_goes_only_where_the_operator_lets_it(
        self, owner: Owner
    ) -> None:
        made = await owner.installs(api_base_url="https://collector.example.com")
        answer = await owner.api.post(f"/installations/{made['id']}/authorize")

        assert made["auth_url"] is None
        assert answer.status == 409
        assert "COMPORTA_ALLOW_TARGETS" in answer.body["message"]


async def delivers(owner: Owner, made: Any, name: str, secret: str, **changed: str) -> Answer:
    """A sample of the driver's, signed now, with other texts in it when told."""
    sample = samples.load(f"{owner.driver}/{name}")
    body, headers = sample.body.decode(), dict(sample.headers)
    for before, after in changed.items():
        body = body.replace(before, after)
        headers = {k: v.replace(before, after) for k, v in headers.items()}
    changed_sample = replace(sample, body=body.encode(), headers=headers)
    draft = changed_sample.signed(secret, owner.api.services.now() // 1_000_000)
    path = urlsplit(made["ingest_url"]).path.removeprefix("/gw")
    url = owner.api.url + path
    async with owner.api.session.post(url, data=draft.body, headers=draft.headers) as answer:
        return Answer(answer.status, await answer.json(), answer.headers)


async def test_a_shop_that_uninstalls_the_app_takes_access_back(merchant: Owner) -> None:
    made = await merchant.authorises(await merchant.installs())
    told = await delivers(merchant, made, "app_uninstalled", CLIENT_SECRET, casaaruana="casa")
    shown = await merchant.looks_at(made)

    assert told.status == 200
    assert (shown["status"], bool(shown["auth_url"])) == ("error", True)
    assert shown["reason"] == "the provider says: the app was uninstalled"
    assert merchant.stored(made).oauth == {}
    rest = [name for name, _, _ in await merchant.events()][2:]
    assert rest == ["installation.updated", "connection.update"]


async def test_only_our_account_is_deauthorized(api: Api) -> None:
    async with authority(Stripe, lifetime=None) as provider:
        owner = Owner(api, provider, "stripe")
        await owner.configures()
        made = await owner.authorises(await owner.installs())
        await delivers(owner, made, "deauthorized", CLIENT_SECRET)
        assert (await owner.looks_at(made))["status"] == "active"
        ours = {"acct_1LrWmTnB": "acct_1", "evt_1ZzDeauthorized": "evt_2"}
        await delivers(owner, made, "deauthorized", CLIENT_SECRET, **ours)
        assert (await owner.looks_at(made))["status"] == "error"


async def test_a_custom_client_of_the_tenant_is_used(api: Api) -> None:
    async with authority(Bling) as provider:
        owner = Owner(api, provider)
        custom = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        settings = {
            "redirect_url": REDIRECT,
            "client_id": "the-shared-one",
            "client_secret": "never-sent",
            "custom_oauth": custom,
        }
        await owner.configures(oauth_settings=settings, custom_oauth_enabled=True)
        made = await owner.installs()

        assert (await owner.authorises(made))["status"] == "active"


async def test_authorising_replaces_a_token_that_was_given_by_hand(owner: Owner) -> None:
    for given in ("by-hand-0123456789", "by-hand-again-0123"):
        owner.provider.access[given] = (Grant("", None), float("inf"))
    made = await owner.api.install(
        "bling",
        credentials={"access_token": "by-hand-0123456789"},
        settings={"api_base_url": owner.provider.url},
    )
    assert made["auth_url"] is None
    asked = (await owner.api.post(f"/installations/{made['id']}/authorize")).data
    shown = await owner.authorises(asked)

    assert "access_token" not in shown["credentials"]
    one = owner.stored(made)
    assert one.known_credentials["access_token"].startswith("access-")
    # And the other way round.
    token = {"credentials": {"access_token": "by-hand-again-0123"}}
    await owner.api.patch(f"/installations/{made['id']}", token)
    assert owner.stored(made).known_credentials["access_token"] == "by-hand-again-0123"


async def test_one_that_is_switched_off_stays_off(owner: Owner) -> None:
    made = await owner.installs()
    await owner.api.post(f"/installations/{made['id']}/disable")
    asked = (await owner.api.post(f"/installations/{made['id']}/authorize")).data
    shown = await owner.authorises(asked)

    assert shown["status"] == "disabled"
    enabled = (await owner.api.post(f"/installations/{made['id']}/enable")).data
    assert (enabled["status"], enabled["auth_url"]) == ("active", None)


@pytest.mark.parametrize("shop", ["casa.example.com", "casa.myshopify.com.evil.example", "-"])
async def test_only_a_shop_of_shopifys_gets_the_clients_secret(merchant: Owner, shop: str) -> None:
    wish = {"driver": "shopify", "instance": "loja", "settings": {"shop": shop}}

    assert "settings.shop" in (await merchant.api.post("/installations", wish)).faults


async def test_what_is_told_survives_a_crash_in_between(owner: Owner) -> None:
    """The status is stored with a note; whoever finds it later tells it, once."""
    made = await owner.installs()
    services = owner.api.services
    note = {"id": "note-1", "from": "pending_auth", "at": 1, "cause": "oauth.authorized"}
    one = owner.stored(made).model_copy(update={"status": "active", "info": {"untold": note}})
    await services.directory.save("installation", one)
    for _ in range(2):
        await services.standing.tell(one)
    await services.standing.tell(owner.stored(made))

    assert len(await owner.events()) == 2
    assert "untold" not in owner.stored(made).info


async def test_what_another_process_left_untold_is_told(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, services = await owner.installs(), owner.api.services
    note = {"id": "note-1", "from": "pending_auth", "at": 1, "cause": "oauth.failed"}
    update = {"status": "error", "info": {"untold": note}}
    await services.directory.save("installation", owner.stored(made).model_copy(update=update))
    monkeypatch.setattr("gateway.standing.LOOK_EVERY", 0.01)
    watching = asyncio.create_task(services.standing.watch())
    try:
        await eventually(owner.events)
    finally:
        watching.cancel()

    assert (await owner.events())[0] == ("installation.updated", "error", "oauth.failed")


async def test_an_owner_whose_driver_was_unconfigured_meanwhile(owner: Owner) -> None:
    made = await owner.installs()
    query = owner.provider.grant(made["auth_url"])
    settings = owner.api.services.directory.driver_settings("default", "bling")
    assert settings
    await owner.api.services.directory.save(
        "driver_settings", settings.model_copy(update={"redirect_url": ""})
    )
    async with owner.api.session.get(f"{owner.api.url}/oauth/bling/callback?{query}") as answer:
        assert (answer.status, await answer.json()) == (200, {"data": {"completed": True}})
    assert (await owner.looks_at(made))["auth_url"] is None


async def test_it_is_done_on_postgres(tmp_path: Any, postgres_db: str) -> None:
    async with (
        serving(tmp_path, store=SecretStr(postgres_db)) as api,
        authority(Shopify) as provider,
    ):
        owner = Owner(api, provider, "shopify")
        await owner.configures()
        made = await owner.installs()

        assert (await owner.authorises(made))["status"] == "active"
        assert len(await owner.events()) == 2
