"""What an installation goes through: rotation, off and on, and what this gateway cannot do yet."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from drivers import BY_SLUG
from drivers.claim import Draft
from gateway.models import Installation
from schemas.errors import ConflictError
from tests.api.rig import NOBODY, Answer, Api

BODY = b'{"id":"evt_1","event":"x"}'


def path_of(installation: Any) -> str:
    return urlsplit(str(installation["ingest_url"])).path.removeprefix("/gw")


async def deliver(api: Api, path: str, secret: str, body: bytes = BODY) -> int:
    """A hotmart delivery with this secret; its status."""
    draft = Draft({"X-Hotmart-Hottok": secret}, {}, body, secret, 0)
    BY_SLUG["hotmart"].scheme.sign(draft)
    headers = draft.headers | {"Content-Type": "application/json"}
    async with api.session.post(api.url + path, data=draft.body, headers=headers) as got:
        return got.status


async def act(api: Api, installation: Any, action: str, body: Any = None) -> Answer:
    return await api.post(f"/installations/{installation['id']}/{action}", body)


@pytest.fixture
async def installed(api: Api) -> Any:
    return await api.install("hotmart", credentials={"secret": "first"})


async def test_a_token_is_rotated_with_an_overlap(api: Api, installed: Any) -> None:
    second = (await act(api, installed, "rotate-token", {"overlap_seconds": 60})).data

    assert second["ingest_url"] != installed["ingest_url"]
    for one in (installed, second):
        assert await deliver(api, path_of(one), "first") == 200
    third = (await act(api, installed, "rotate-token", {"overlap_seconds": 0})).data
    assert await deliver(api, path_of(third), "first") == 200
    for one in (installed, second):
        assert await deliver(api, path_of(one), "first") == 404


async def test_only_some_old_tokens_are_kept(api: Api, installed: Any) -> None:
    for _ in range(8):
        await act(api, installed, "rotate-token")
    stored = api.services.directory.installation(installed["id"])

    assert stored
    assert len(stored.tokens) == 5
    assert await deliver(api, path_of(installed), "first") == 404


@pytest.mark.parametrize("nested", [False, True])
async def test_a_secret_is_rotated_with_an_overlap(api: Api, installed: Any, nested: bool) -> None:
    def body(secret: str, overlap: int) -> dict[str, Any]:
        given = {"credentials": {"secret": secret}} if nested else {"secret": secret}
        return given | {"overlap_seconds": overlap}

    path = path_of(installed)
    shown = (await act(api, installed, "rotate-credentials", body("second-secret-1234", 60))).data
    assert shown["credentials"]["secret"] == "********1234"
    assert shown["ingest_url"] == installed["ingest_url"]
    for secret in ("first", "second-secret-1234"):
        assert await deliver(api, path, secret) == 200
    await act(api, installed, "rotate-credentials", body("third", 0))
    statuses = [await deliver(api, path, s) for s in ("first", "second-secret-1234", "third")]
    assert statuses == [401, 401, 200]


async def test_other_credentials_are_replaced(api: Api, installed: Any) -> None:
    body = {"credentials": {"client_id": "fresh"}}
    shown = (await act(api, installed, "rotate-credentials", body)).data

    assert shown["credentials"]["client_id"] == "fresh"
    assert await deliver(api, path_of(installed), "first") == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "secret"),
        ({"secret": ""}, "credentials.secret"),
        ({"secret": "x", "overlap_seconds": -1}, "overlap_seconds"),
        ({"credentials": {"hottok": "x"}}, "credentials.hottok"),
        ({"overlap": 1, "secret": "x"}, "overlap"),
    ],
)
async def test_a_rotation_is_checked(api: Api, installed: Any, body: Any, path: str) -> None:
    assert path in (await act(api, installed, "rotate-credentials", body)).faults
    assert await deliver(api, path_of(installed), "first") == 200


async def test_it_is_switched_off_and_on(api: Api, installed: Any) -> None:
    off = (await act(api, installed, "disable")).data
    assert off["status"] == "disabled"
    assert await deliver(api, path_of(installed), "first") == 404
    on = (await act(api, installed, "enable")).data
    assert on["status"] == "active"
    assert await deliver(api, path_of(installed), "first") == 200


async def test_a_driver_that_is_off_stays_off(api: Api, installed: Any) -> None:
    await act(api, installed, "disable")
    await api.put("/drivers/hotmart/settings", {"enabled": False})

    assert (await act(api, installed, "enable")).status == 409
    await api.put("/drivers/hotmart/settings", {"enabled": True})
    assert (await act(api, installed, "enable")).status == 200


async def test_what_waits_for_authorisation_still_does_when_enabled(api: Api) -> None:
    oauth = {"redirect_url": "https://x.com/cb", "client_id": "c", "client_secret": "s"}
    await api.put("/drivers/shopify/settings", {"oauth_settings": oauth})
    made = await api.install("shopify", credentials={}, settings={"shop": "a.myshopify.com"})
    await act(api, made, "disable")

    assert (await act(api, made, "enable")).data["status"] == "pending_auth"


async def test_new_credentials_mend_an_error(api: Api, installed: Any) -> None:
    directory = api.services.directory
    stored = directory.installation(installed["id"])
    assert stored
    broken = stored.model_copy(update={"status": "error", "reason": "the token was refused"})
    await directory.save("installation", broken)

    shown = (await api.get(f"/installations/{installed['id']}")).data
    assert (shown["status"], shown["reason"]) == ("error", "the token was refused")
    mended = (await act(api, installed, "rotate-credentials", {"secret": "fresh"})).data
    assert (mended["status"], mended["reason"]) == ("active", None)


async def test_a_change_at_the_same_moment_is_not_lost(api: Api, installed: Any) -> None:
    """Somebody else wrote the record, and this process has not heard of it yet."""
    registry = api.services.registry
    record = await registry.get("installation", installed["id"])
    assert record
    record.doc["name"] = "renamed elsewhere"
    await api.services.store.database.write(
        "UPDATE records SET version = version + 1 WHERE id = $1", installed["id"]
    )

    shown = (await api.patch(f"/installations/{installed['id']}", {"name": "ours"})).data
    assert shown["name"] == "ours"


async def test_whoever_always_comes_second_is_told(
    api: Api, installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overtaken(*_: object, **__: object) -> None:
        raise ConflictError("changed meanwhile")

    monkeypatch.setattr(api.services.registry.__class__, "put", overtaken)

    answer = await api.patch(f"/installations/{installed['id']}", {"name": "ours"})
    assert answer.status == 409
    assert answer.body["message"] == "changed meanwhile"


async def test_a_driver_that_is_no_more(api: Api) -> None:
    """After a downgrade, say: what is stored can be seen and removed."""
    services = api.services
    stored = Installation(
        id=services.ids(), tenant="default", driver="ancient", instance="loja", name="old"
    )
    await services.directory.save("installation", stored)
    path = f"/installations/{stored.id}"

    assert (await api.get(path)).data["driver"]["slug"] == "ancient"
    assert (await api.get("/installations")).body["meta"]["total"] == 1
    assert (await api.patch(path, {"name": "x"})).status == 404
    for action in ("enable", "poll", "authorize"):
        assert (await api.post(f"{path}/{action}")).status == 409
    assert (await api.post(f"{path}/disable")).status == 200
    assert (await api.delete(path)).status == 204


async def test_what_cannot_be_done_says_why(api: Api, installed: Any) -> None:
    shopify = await api.install("shopify")
    kiwify = await api.install("kiwify")

    for one, action, words in (
        (installed, "authorize", "by its credentials"),
        (shopify, "authorize", "PUT /drivers/shopify/settings"),
        (kiwify, "poll", "nothing to poll"),
    ):
        answer = await act(api, one, action)
        assert answer.status == 409, action
        assert words in answer.body["message"]


async def test_a_poll_is_asked_for(api: Api) -> None:
    thin = await api.install("bagy", credentials={})
    away = {"api_base_url": NOBODY}
    full = await api.install("bagy", credentials={"access_token": "t"}, settings=away)

    refused = await act(api, thin, "poll")
    assert refused.status == 409
    assert "access_token" in refused.body["message"]
    assert (await act(api, full, "poll")).status == 202
    await act(api, full, "disable")
    assert "disabled" in (await act(api, full, "poll")).body["message"]


async def test_others_cannot_touch_it(api: Api, installed: Any) -> None:
    limited = await api.limited("INSTALLATIONS_MANAGE", instance="other")
    reader = await api.limited("EVENTS_READ")

    for action in ("rotate-token", "rotate-credentials", "enable", "disable", "authorize", "poll"):
        path = f"/installations/{installed['id']}/{action}"
        assert (await limited.post(path, {"secret": "x"})).status in {404, 422}
        assert (await limited.post(path)).status == 404
        assert (await reader.post(path)).status == 403
    assert await deliver(api, path_of(installed), "first") == 200
