"""`/processing/dispatches`: deliveries with their tries, once more or never."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tests.api.rig import Api, eventually
from tests.api.shop import Shop, opened
from tests.sinks.receiver import Got, Receiver, until


def refusing(receiver: Receiver, status: int = 500) -> None:
    receiver.answer = lambda _: web.Response(
        status=status, text="no " * 3000, headers={"X-Why": "because"}
    )


@pytest.fixture
async def shop(api: Api, receiver: Receiver) -> Shop:
    """Its webhook gives up after one try."""
    return await opened(api, url=receiver.url, retry=[])


async def test_every_try_is_told(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url, retry=[0], headers={"X-Api-Key": "hush"})
    refusing(receiver)
    event_id = await shop.order(1)
    dead = await shop.dispatch(event_id, "dead")
    detail = (await api.get(f"/processing/dispatches/{dead['id']}")).data

    assert {k: detail[k] for k in dead} == dead
    assert detail["event"] == "order.paid"
    assert detail["event_id"] == event_id
    assert detail["sink"] == "webhook"
    assert detail["instance"] == "loja"
    assert detail["attempt_response_code"] == 500
    assert detail["reason"]
    assert detail["next_attempt_at"] is None
    first, second = detail["attempts"]
    assert (first["number"], second["number"]) == (1, 2)
    assert first["attempted_at"] <= second["attempted_at"]
    assert first["duration_ms"] > 0
    assert first["request_headers"]["webhook-id"] == event_id
    assert first["request_headers"]["X-Api-Key"] == "[redacted]"
    assert "hush" not in str(detail)
    assert first["response_status"] == 500
    assert first["response_headers"]["x-why"] == "because"
    assert first["response_body"] == ("no " * 3000)[:4096]
    assert first["error"]


async def test_a_dead_letter_is_tried_again(api: Api, shop: Shop, receiver: Receiver) -> None:
    refusing(receiver)
    event_id = await shop.order(1)
    dead = await shop.dispatch(event_id, "dead")
    receiver.answer = lambda _: web.Response(text="ok")
    answer = await api.post(f"/processing/dispatches/{dead['id']}/retry")

    assert answer.status == 202
    assert answer.data["id"] == dead["id"]
    done = await shop.dispatch(event_id, "succeeded")
    assert done["replay"] == 1
    assert {got.headers["webhook-id"] for got in receiver.got} == {event_id}
    detail = (await api.get(f"/processing/dispatches/{dead['id']}")).data
    assert [a["response_status"] for a in detail["attempts"]] == [500, 200]


async def test_what_waits_can_be_canceled_and_nothing_else(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url, retry=[3600])
    refusing(receiver)
    event_id = await shop.order(1)
    waiting = await shop.dispatch(event_id, "retrying")
    assert waiting["next_attempt_at"]
    pending = (await api.get("/processing/events?filter[status]=pending")).data
    assert [e["id"] for e in pending] == [event_id]
    path = f"/processing/dispatches/{waiting['id']}"
    canceled = await api.post(f"{path}/cancel")

    assert canceled.status == 200
    assert canceled.data["status"] == "canceled"
    again = await api.post(f"{path}/cancel")
    assert again.status == 409
    assert "canceled" in again.body["message"]
    assert (await api.get(f"/processing/events/{event_id}")).data["status"] == "dispatched"
    receiver.answer = lambda _: web.Response()
    assert (await api.post(f"{path}/retry")).status == 202
    await shop.dispatch(event_id, "succeeded")


async def test_what_is_being_sent_is_left_to_itself(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url, retry=[])
    let_go = asyncio.Event()

    async def dawdle(_: Got) -> web.StreamResponse:
        await let_go.wait()
        return web.Response()

    receiver.answer = dawdle
    event_id = await shop.order(1)
    sending = await shop.dispatch(event_id, "delivering")
    for action in ("retry", "cancel"):
        answer = await api.post(f"/processing/dispatches/{sending['id']}/{action}")
        assert answer.status == 409, action
    again = (await api.post(f"/processing/events/{event_id}/replay")).data["dispatches"]
    assert [d["id"] for d in again] != [sending["id"]]
    let_go.set()

    async def both_done() -> bool:
        found = (await api.get(f"/processing/events/{event_id}")).data["dispatches"]
        return [d["status"] for d in found] == ["succeeded"] * 2

    await eventually(both_done)
    assert len(receiver.got) == 2


async def test_a_disabled_sink_holds_its_deliveries(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url, enabled=False)
    event_id = await shop.order(1)
    held = await shop.dispatch(event_id, "pending")
    await api.post("/webhook/set/loja", {"url": receiver.url, "enabled": True})

    assert held["attempts_made"] == 0
    await until(lambda: len(receiver.got) == 1)
    await shop.dispatch(event_id, "succeeded")


async def test_a_sink_that_is_gone_gets_nothing_more(
    api: Api, shop: Shop, receiver: Receiver
) -> None:
    refusing(receiver)
    event_id = await shop.order(1)
    dead = await shop.dispatch(event_id, "dead")
    await api.delete("/webhook/set/loja")

    assert (await api.post(f"/processing/dispatches/{dead['id']}/retry")).status == 409
    shown = (await api.get(f"/processing/dispatches/{dead['id']}")).data
    assert shown["sink"] is None
    assert shown["sink_id"] == dead["sink_id"]
    found = await api.get(f"/processing/dispatches?filter[sink]={dead['sink_id']}")
    assert [d["id"] for d in found.data] == [dead["id"]]


async def test_deleting_an_instance_cancels_what_waits(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url, enabled=False)
    event_id = await shop.order(1)
    held = await shop.dispatch(event_id, "pending")

    assert (await api.delete("/instances/loja?confirm=loja")).status == 204
    shown = (await api.get(f"/processing/dispatches/{held['id']}")).data
    assert shown["status"] == "canceled"
    assert (await api.get(f"/processing/events/{event_id}")).status == 200
    assert receiver.got == []


async def test_filters_and_cursors(api: Api, shop: Shop, receiver: Receiver) -> None:
    await api.post("/webhook/set/loja/backup", {"url": receiver.url + "/b", "events": ["order.*"]})
    first = await shop.order(1)

    async def both_arrived() -> bool:
        found = await api.get("/processing/dispatches?filter[status]=succeeded")
        return len(found.data) == 2

    await eventually(both_arrived)
    refusing(receiver)
    await shop.order(2)

    async def chosen(query: str = "") -> list[Any]:
        found: list[Any] = (await api.get(f"/processing/dispatches?{query}")).data
        return found

    await until(lambda: len(receiver.got) >= 4)
    assert len(await chosen()) == 4
    assert {d["sink"] for d in await chosen("filter[sink]=webhook")} == {
        "webhook",
        "webhook/backup",
    }
    assert {d["sink"] for d in await chosen("filter[sink]=webhook/backup")} == {"webhook/backup"}
    good = await chosen("filter[status]=succeeded&filter[name]=ORDER_PAID")
    assert {d["event_id"] for d in good} == {first}
    assert await chosen("filter[name]=order.refunded") == []
    page = await api.get("/processing/dispatches?limit=3")
    rest = await chosen(f"cursor={page.body['meta']['next_cursor']}")
    assert [d["id"] for d in (*page.data, *rest)] == [d["id"] for d in await chosen()]
    for query, path in (
        ("filter[sink]=nats", "filter[sink]"),
        ("filter[status]=lost", "filter[status]"),
        ("cursor=x", "cursor"),
    ):
        refused = await api.get(f"/processing/dispatches?{query}")
        assert set(refused.faults) == {path}


async def test_each_sees_its_own(api: Api, shop: Shop, receiver: Receiver) -> None:
    theirs = await opened(api, "outra", url=receiver.url)
    ours_id = (await shop.dispatch(await shop.order(1), "succeeded"))["id"]
    theirs_id = (await theirs.dispatch(await theirs.order(1), "succeeded"))["id"]
    limited = await api.limited("EVENTS_READ", "EVENTS_REPLAY", instance="loja")
    reader = await api.limited("EVENTS_READ")

    assert [d["id"] for d in (await limited.get("/processing/dispatches")).data] == [ours_id]
    elsewhere = await api.limited("EVENTS_READ", instance="third")
    unseen = await elsewhere.get("/processing/dispatches?filter[sink]=webhook")
    assert set(unseen.faults) == {"filter[sink]"}
    for ident in (theirs_id, "nobody"):
        path = f"/processing/dispatches/{ident}"
        assert (await limited.get(path)).status == 404
        for action in ("retry", "cancel"):
            assert (await limited.post(f"{path}/{action}")).status == 404
    for action in ("retry", "cancel"):
        denied = await reader.post(f"/processing/dispatches/{ours_id}/{action}")
        assert denied.status == 403
    assert len(receiver.got) == 2
