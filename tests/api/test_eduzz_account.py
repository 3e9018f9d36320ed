"""An account of Eduzz: by its OAuth, a personal token, an application, or for webhooks alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers import BY_SLUG
from gateway.provider_api import ApiError
from tests.api.owner import Owner
from tests.api.rig import Api, eventually
from tests.provider_apis.oauth import CLIENT_ID, CLIENT_SECRET, Eduzz, Grant, authority

TOKEN = "edzpap_personal-token-of-these-tests"
WEBHOOK_KEY = "a-key-of-the-webhook-panel"


@pytest.fixture
async def producer(api: Api) -> AsyncIterator[Owner]:
    async with authority(Eduzz, lifetime=None) as provider:
        provider.api[Eduzz.account] = {"id": "1", "name": "Loja", "email": "loja@example.com"}
        provider.access[TOKEN] = (Grant("", None), float("inf"))
        owner = Owner(api, provider, "eduzz")
        await owner.configures()
        yield owner


async def ask(owner: Owner, made: Any) -> Any:
    """Which account this is, by the driver's own probe."""
    driver = BY_SLUG["eduzz"]
    assert driver.api
    assert driver.api.probe
    fetch = driver.api.probe({})
    assert fetch
    return await owner.api.services.provider_api.call(driver, owner.stored(made), fetch)


async def by_hand(owner: Owner, **credentials: str) -> Any:
    wish = {"settings": {"api_base_url": owner.provider.url}, "credentials": credentials}
    return await owner.api.post("/installations", {"driver": "eduzz", "instance": "loja"} | wish)


async def test_a_token_that_never_ends_is_kept_until_it_is_taken_back(producer: Owner) -> None:
    made = await producer.authorises(await producer.installs())
    held = producer.stored(made)

    assert held.known_credentials["account"] == "98239281"
    assert (held.oauth["expires_at"], held.oauth["refresh_token"]) == (None, None)
    assert (await ask(producer, made))["name"] == "Loja"
    producer.provider.revoke()
    with pytest.raises(ApiError, match="HTTP 401"):
        await ask(producer, made)
    shown = await producer.looks_at(made)
    assert shown["status"] == "error"
    assert shown["reason"] == "the provider refuses the credentials: account: HTTP 401"
    assert (await producer.events())[2][1:] == ("error", "api.unauthorized")
    assert (await producer.authorises(shown))["status"] == "active"


async def test_a_code_that_is_worth_nothing(producer: Owner) -> None:
    made = await producer.installs()
    query = producer.provider.grant(made["auth_url"])
    producer.provider.codes.clear()
    await producer.comes_back(query)
    shown = await producer.looks_at(made)

    assert (shown["status"], bool(shown["auth_url"])) == ("error", True)
    assert shown["reason"].startswith("the code gave no token: HTTP 404 (Token not found")


async def test_the_clients_secret_is_no_webhook_key(producer: Owner) -> None:
    made = await producer.authorises(await producer.installs())
    assert "secret" not in made["credentials"]
    assert made["warnings"] == ["no `secret` is known: deliveries to the ingest URL are refused"]
    assert producer.stored(made).secrets == ()

    body = {"credentials": {"secret": WEBHOOK_KEY}}
    shown = (await producer.api.patch(f"/installations/{made['id']}", body)).data
    assert shown["warnings"] == []
    assert producer.stored(made).secrets[0].value == WEBHOOK_KEY != CLIENT_SECRET
    assert producer.stored(made).oauth["access_token"]


async def test_a_personal_token_is_proven_when_it_is_set(producer: Owner) -> None:
    made = (await by_hand(producer, access_token=TOKEN, secret=WEBHOOK_KEY)).data
    assert (made["status"], made["auth_url"], made["warnings"]) == ("active", None, [])
    assert producer.provider.called == [(Eduzz.account, 200)]
    assert TOKEN not in str(made)
    assert (await ask(producer, made))["id"] == "1"

    wrong = await by_hand(producer, access_token="another", secret=WEBHOOK_KEY)
    assert set(wrong.faults) == {"credentials.access_token"}
    assert "Eduzz refuses these credentials (account: HTTP 401)" in wrong.body["message"]


async def test_an_application_gets_a_token_for_its_own_account(producer: Owner) -> None:
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    made = (await by_hand(producer, **client)).data
    assert (made["status"], made["auth_url"]) == ("active", None)
    assert [form["grant_type"] for form in producer.provider.asked] == ["client_credentials"]
    assert made["credentials"]["client_id"] == CLIENT_ID
    assert CLIENT_SECRET not in str(made)
    assert (await ask(producer, made))["id"] == "1"
    # A token that was taken back is got again.
    producer.provider.access.clear()
    assert (await ask(producer, made))["id"] == "1"

    wrong = await by_hand(producer, **client | {"client_secret": "another"})
    assert set(wrong.faults) == {"credentials.client_id", "credentials.client_secret"}


async def test_a_token_that_is_taken_back_is_found_out_though_nobody_uses_it(
    producer: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.credential_check.LONGEST_SLEEP", 0.1)
    made = (await by_hand(producer, access_token=TOKEN, secret=WEBHOOK_KEY)).data
    asked = producer.provider.called

    async def asked_again() -> bool:
        return len(asked) > 3

    await eventually(asked_again)
    assert (await producer.looks_at(made))["status"] == "active"
    del producer.provider.access[TOKEN]

    async def told() -> list[Any]:
        return await producer.events()

    assert (await eventually(told))[0] == ("installation.updated", "error", "api.unauthorized")
    assert (await producer.looks_at(made))["status"] == "error"


async def test_webhooks_need_a_key_and_nothing_else(api: Api) -> None:
    made = await api.install("eduzz", credentials={"secret": WEBHOOK_KEY})
    assert (made["status"], made["auth_url"], made["warnings"]) == ("active", None, [])

    switched = await api.put("/drivers/eduzz/settings", {"enabled": True})
    assert switched.status == 200, switched.body
    neither = await api.post("/installations", {"driver": "eduzz", "instance": "loja"})
    assert neither.status == 409
    assert neither.body["code"] == "driver_not_configured"
