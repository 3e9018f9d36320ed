"""Instances: named streams that are made, changed and removed with all that hangs on them."""

from typing import Any

import pytest

from tests.api.rig import Api


async def test_an_instance_is_made_changed_and_found(api: Api) -> None:
    made = await api.post("/instances", {"name": "loja-1", "skip_superseded": True})
    changed = await api.patch("/instances/loja-1", {"skip_superseded": False, "number": "55119"})

    assert made.status == 201
    assert made.data["skip_superseded"] is True
    assert changed.data["skip_superseded"] is False
    assert changed.data["number"] == "55119"
    assert (await api.get("/instances/loja-1/")).data == changed.data
    assert (await api.patch("/instances/loja-1", {"number": None})).data["number"] is None
    assert (await api.get("/instances")).body["data"][0]["name"] == "loja-1"


async def test_a_name_is_taken_once(api: Api) -> None:
    await api.post("/instances", {"name": "loja", "number": "5511"})

    again = await api.post("/instances", {"name": "loja"})
    assert again.status == 409
    assert again.body["error"] == "Conflict"
    assert (await api.post("/instances", {"name": "other", "number": "5511"})).status == 409
    await api.post("/instances", {"name": "third"})
    assert (await api.patch("/instances/third", {"number": "5511"})).status == 409
    assert (await api.patch("/instances/loja", {"number": "5511"})).status == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "name"),
        ({"name": "with space"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "x\n"}, "name"),
        ({"name": "x", "skip_superseded": "often"}, "skip_superseded"),
        ({"name": "x", "number": ""}, "number"),
        ({"name": "x", "nubmer": "1"}, "nubmer"),
        ([], "body"),
    ],
)
async def test_a_wish_is_checked(api: Api, body: Any, path: str) -> None:
    assert path in (await api.post("/instances", body)).faults


async def test_a_malformed_body_or_name_is_a_bad_request(api: Api) -> None:
    headers = {"Content-Type": "application/json", "apikey": api.key or ""}
    async with api.session.post(api.url + "/instances", data=b'{"name":', headers=headers) as got:
        assert got.status == 400
        assert (await got.json())["error"] == "Bad request"
    assert (await api.get("/instances/.hidden")).status == 400
    assert (await api.get("/instances/nobody")).status == 404
    assert (await api.patch("/instances/nobody", {})).status == 404


async def test_an_instance_keeps_its_name(api: Api) -> None:
    await api.post("/instances", {"name": "loja"})

    assert "name" in (await api.patch("/instances/loja", {"name": "shop"})).faults
    assert (
        "skip_superseded" in (await api.patch("/instances/loja", {"skip_superseded": None})).faults
    )
    assert (await api.patch("/instances/loja", {"name": "loja"})).status == 200


async def test_deleting_wants_the_name_and_takes_all_that_hangs_on_it(api: Api) -> None:
    await api.post("/webhook/set/loja", {"url": "https://example.com/hook"})
    installed = await api.install()
    other = await api.install(instance="outra")
    shown = (await api.get("/instances/loja")).data
    assert shown["sinks"] == [{"kind": "webhook", "name": "default", "enabled": True}]
    assert shown["installations"] == 1

    for query in ("", "?confirm=", "?confirm=outra"):
        assert "confirm" in (await api.delete(f"/instances/loja{query}")).faults
    assert (await api.delete("/instances/loja?confirm=loja")).status == 204

    assert (await api.get("/instances/loja")).status == 404
    assert (await api.get(f"/installations/{installed['id']}")).status == 404
    assert (await api.get("/webhook/find/loja")).body["enabled"] is False
    assert (await api.get(f"/installations/{other['id']}")).status == 200


async def test_a_limited_key_sees_only_its_own(api: Api) -> None:
    for name in ("loja-1", "loja-2"):
        await api.post("/instances", {"name": name})
    limited = await api.limited("SINKS_MANAGE", instance="loja-1")

    assert [i["name"] for i in (await limited.get("/instances")).data] == ["loja-1"]
    assert (await limited.get("/instances/loja-2")).status == 404
    assert (await limited.patch("/instances/loja-2", {})).status == 404
    assert (await limited.delete("/instances/loja-2?confirm=loja-2")).status == 404
    assert (await limited.post("/instances", {"name": "loja-3"})).status == 403


async def test_any_key_reads_and_only_some_change(api: Api) -> None:
    await api.post("/instances", {"name": "loja"})
    reader = await api.limited()

    assert (await reader.get("/instances")).status == 200
    assert (await reader.get("/instances/loja")).status == 200
    assert (await reader.post("/instances", {"name": "x"})).status == 403
    assert (await reader.patch("/instances/loja", {})).status == 403
    assert (await reader.delete("/instances/loja?confirm=loja")).status == 403
