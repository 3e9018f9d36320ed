"""API keys: shown once, never more than whoever made them, gone at once when revoked."""

from typing import Any

import pytest

from gateway.models import ApiKey
from gateway.security import digest
from tests.api.rig import Api


async def made(api: Api, **wish: Any) -> Any:
    return (await api.post("/api-keys", {"name": "k", "permissions": ["EVENTS_READ"]} | wish)).data


async def works(api: Api, key: str) -> bool:
    status = (await api.with_key(key).get("/drivers/names")).status
    assert status in {200, 401}
    return status == 200


async def test_a_key_is_shown_when_it_is_made_and_never_again(api: Api) -> None:
    wish = {"name": " CI ", "permissions": ["EVENTS_READ", "EVENTS_READ"], "instance": "loja-1"}
    answer = await api.post("/api-keys", wish)
    listed = await api.get("/api-keys")

    assert answer.status == 201
    key = answer.data.pop("key")
    assert key.startswith("cmp_")
    assert len(key) == 44
    assert answer.data["name"] == "CI"
    assert answer.data["permissions"] == ["EVENTS_READ"]
    assert answer.data["instance"] == "loja-1"
    assert answer.data["expires_at"] is None
    assert listed.body["data"] == [answer.data]
    assert listed.body["meta"]["total"] == 1
    assert key not in str(listed.body)


@pytest.mark.parametrize("header", ["apikey", "Authorization"])
async def test_a_key_is_taken_from_either_header(api: Api, header: str) -> None:
    key = (await made(api))["key"]
    value = key if header == "apikey" else f"bearer {key}"

    anonymous = api.with_key(None)
    assert (await anonymous.get("/drivers/names", headers={header: value})).status == 200
    assert (await anonymous.get("/drivers/names", headers={header: value + "x"})).status == 401
    refused = await anonymous.get("/drivers/nobody-knows")
    assert refused.status == 401
    assert refused.body["error"] == "Unauthorized"


async def test_what_is_wrong_with_a_wish_is_named(api: Api) -> None:
    wish = {
        "name": "",
        "permissions": ["EVENTS_READ", "EVERYTHING"],
        "instance": "no spaces",
        "expires_at": "tomorrow",
        "expire": 1,
    }
    answer = await api.post("/api-keys", wish)

    assert set(answer.faults) == {"name", "permissions.1", "instance", "expires_at", "expire"}
    assert (await api.get("/api-keys")).body["data"] == []


async def test_a_key_cannot_have_expired_when_it_is_made(api: Api) -> None:
    wish = {"name": "k", "permissions": [], "expires_at": "2020-01-01T00:00:00Z"}

    assert "expires_at" in (await api.post("/api-keys", wish)).faults


async def test_a_key_expires(api: Api) -> None:
    key = await made(api, expires_at="2999-01-01T00:00:00-03:00")
    assert key["expires_at"] == "2999-01-01T03:00:00.000000Z"
    assert await works(api, key["key"])

    directory = api.services.directory
    stored = directory.api_key(key["id"])
    assert stored
    await directory.save("api_key", stored.model_copy(update={"expires_at": 1}))
    assert not await works(api, key["key"])


async def test_a_key_gives_no_permission_that_it_lacks(api: Api) -> None:
    limited = await api.limited("KEYS_MANAGE", "EVENTS_READ")

    for more in (["SINKS_MANAGE"], ["*"], ["EVENTS_READ", "KEYS_MANAGE", "DRIVERS_MANAGE"]):
        answer = await limited.post("/api-keys", {"name": "k", "permissions": more})
        assert answer.status == 403, more
        assert answer.body["error"] == "Forbidden"
    assert await made(limited, permissions=["KEYS_MANAGE"])


async def test_rotating_a_stronger_key_would_show_it(api: Api) -> None:
    stronger = await made(api, permissions=["*"])
    limited = await api.limited("KEYS_MANAGE")

    assert (await limited.post(f"/api-keys/{stronger['id']}/rotate")).status == 403
    assert await works(api, stronger["key"])


async def test_a_key_of_an_instance_stays_within_it(api: Api) -> None:
    other = await made(api, instance="loja-2")
    limited = await api.limited("*", instance="loja-1")

    for instance in ("loja-2", None):
        wish: dict[str, Any] = {"name": "k", "permissions": [], "instance": instance}
        assert (await limited.post("/api-keys", wish)).status == 403
    inside = await made(limited, instance="loja-1")
    assert {k["instance"] for k in (await limited.get("/api-keys")).data} == {"loja-1"}
    for method, path in (("DELETE", ""), ("POST", "/rotate")):
        assert (await limited.call(method, f"/api-keys/{other['id']}{path}")).status == 404
    assert (await limited.delete(f"/api-keys/{inside['id']}")).status == 204


async def test_a_deleted_key_is_gone(api: Api) -> None:
    key = await made(api)

    assert (await api.delete(f"/api-keys/{key['id']}")).status == 204
    assert not await works(api, key["key"])
    again = await api.delete(f"/api-keys/{key['id']}")
    assert again.status == 404
    assert again.body["error"] == "Not found"


async def test_rotation_lets_the_old_key_work_a_little_longer(api: Api) -> None:
    first = await made(api)
    second = (await api.post(f"/api-keys/{first['id']}/rotate", {"overlap_seconds": 60})).data

    assert second["id"] == first["id"]
    assert second["key"] != first["key"]
    assert await works(api, first["key"])
    assert await works(api, second["key"])

    third = (await api.post(f"/api-keys/{first['id']}/rotate", {"overlap_seconds": 0})).data
    assert [await works(api, k["key"]) for k in (first, second, third)] == [False, False, True]

    stored = api.services.directory.api_key(first["id"])
    assert stored
    assert stored.previous == ()
    await api.delete(f"/api-keys/{first['id']}")
    assert not await works(api, third["key"])


def test_a_replaced_key_ends_when_its_time_is_over() -> None:
    key = ApiKey(
        id="k", tenant="t", name="k", digest=digest("new"), permissions=(), previous=(("old", 10),)
    )

    assert key.works("old", 9)
    assert not key.works("old", 10)
    assert key.works(digest("new"), 11)


@pytest.mark.parametrize("overlap", [-1, "soon", 1.5, 10**9])
async def test_an_overlap_is_a_number_of_seconds(api: Api, overlap: Any) -> None:
    key = await made(api)
    answer = await api.post(f"/api-keys/{key['id']}/rotate", {"overlap_seconds": overlap})

    assert "overlap_seconds" in answer.faults
    assert await works(api, key["key"])


async def test_the_last_use_of_a_key_is_told(api: Api) -> None:
    key = await made(api)
    assert key["last_used_at"] is None
    await works(api, key["key"])
    await api.services.key_use.flush()
    first = (await api.get("/api-keys")).data[0]
    await works(api, key["key"])
    await api.services.key_use.flush()

    assert first["last_used_at"] > first["created_at"]
    assert (await api.get("/api-keys")).data[0] == first, "once a minute is enough"


async def test_keys_are_of_one_tenant(api: Api) -> None:
    stranger = ApiKey(
        id=api.services.ids(), tenant="other", name="x", digest=digest("x"), permissions=("*",)
    )
    await api.services.directory.save("api_key", stranger)
    theirs = api.with_key("x")
    ours = await made(api)

    assert (await api.get("/api-keys")).body["meta"]["total"] == 1
    assert (await api.delete(f"/api-keys/{stranger.id}")).status == 404
    assert (await theirs.delete(f"/api-keys/{ours['id']}")).status == 404
    assert await works(api, ours["key"])


async def test_only_who_may_manages_keys(api: Api) -> None:
    limited = await api.limited("EVENTS_READ")

    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("DELETE", "/x"),
        ("POST", "/x/rotate"),
    ):
        assert (await limited.call(method, "/api-keys" + path)).status == 403
