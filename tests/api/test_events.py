"""`/processing/events`: what was told, by which it was told, and sending it again."""

from typing import Any

import pytest

from schemas import codec
from tests.api.rig import Api, eventually
from tests.api.shop import Shop, opened
from tests.sinks.receiver import Receiver, until

ITEM_KEYS = set(
    "id seq name instance installation_id driver provider_event key status created_at occurred_at"
    " last_dispatch".split()
)


@pytest.fixture
async def shop(api: Api) -> Shop:
    """Without a sink."""
    return await opened(api)


async def test_an_event_has_the_documented_shape(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url)
    event_id = await shop.order(1)
    await shop.dispatch(event_id, "succeeded")
    (item,) = (await api.get("/processing/events")).body["data"]
    detail = (await api.get(f"/processing/events/{event_id}")).data

    assert set(item) >= ITEM_KEYS
    assert item["id"] == event_id
    assert item["name"] == "order.paid"
    assert item["instance"] == "loja"
    assert item["installation_id"] == shop.installation["id"]
    assert item["driver"] == "hotmart"
    assert item["provider_event"] == "PURCHASE_APPROVED"
    assert item["key"] == "HP00000001"
    assert item["status"] == "dispatched"
    assert item["created_at"].endswith("Z")
    last = item["last_dispatch"]
    assert set(last) == {"id", "sink", "status", "attempt_response_code", "attempted_at"}
    assert (last["sink"], last["status"], last["attempt_response_code"]) == (
        "webhook",
        "succeeded",
        200,
    )
    assert {k: detail[k] for k in item} == item
    assert detail["data"]["order"]["id"] == "HP00000001"
    assert detail["inbound_id"]
    assert [d["id"] for d in detail["dispatches"]] == [last["id"]]


async def test_an_event_without_sinks_is_dispatched(api: Api, shop: Shop) -> None:
    await shop.order(1)
    (item,) = (await api.get("/processing/events")).data

    assert item["status"] == "dispatched"
    assert item["last_dispatch"] is None


async def test_lists_go_on_by_cursor_newest_first(api: Api, shop: Shop) -> None:
    ids = [await shop.order(number) for number in range(5)]
    first = await api.get("/processing/events?limit=2")
    cursor = first.body["meta"]["next_cursor"]
    await shop.order(9)
    second = await api.get(f"/processing/events?limit=2&cursor={cursor}")
    third = await api.get(f"/processing/events?limit=2&cursor={second.body['meta']['next_cursor']}")

    told = [e["id"] for page in (first, second, third) for e in page.data]
    assert told == ids[::-1]
    assert third.body["meta"]["next_cursor"] is None


async def test_filters_choose(api: Api, shop: Shop) -> None:
    paid = await shop.order(1)
    await shop.sends("purchase_refunded")
    other = await opened(api, "outra")
    theirs = await other.order(1)

    async def chosen(**query: str) -> set[str]:
        return {e["id"] for e in (await api.get("/processing/events", params=query)).data}

    everything = await chosen()
    assert len(everything) == 3
    assert await chosen(**{"filter[name]": "ORDER_PAID"}) == {paid, theirs}
    assert await chosen(**{"filter[name]": "order.paid", "filter[instance]": "loja"}) == {paid}
    assert await chosen(**{"filter[installation_id]": other.installation["id"]}) == {theirs}
    assert await chosen(**{"filter[driver]": shop.installation["driver"]["id"]}) == everything
    assert await chosen(**{"filter[key]": "HP00000001"}) == {paid, theirs}
    assert await chosen(**{"filter[driver]": "kiwify"}) == set()
    assert await chosen(**{"filter[status]": "dispatched"}) == everything
    assert await chosen(**{"filter[status]": "pending"}) == set()
    at = (await api.get(f"/processing/events/{theirs}")).data["created_at"]
    assert await chosen(created_at_less_than=at) == everything - {theirs}
    assert await chosen(created_at_greater_than=at) == set()
    assert await chosen(**{"filter[created_at_greater_than]": "2020-01-01"}) == everything
    assert await chosen(created_at_less_than="2020-01-01T00:00:00 03:00") == set()


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=101", "limit"),
        ("cursor=abc", "cursor"),
        ("cursor=%C2%B2", "cursor"),
        ("filter[status]=lost", "filter[status]"),
        ("filter[color]=red", "filter[color]"),
        ("created_at_less_than=yesterday", "created_at_less_than"),
    ],
)
async def test_a_query_that_means_nothing_is_refused(api: Api, query: str, path: str) -> None:
    assert set((await api.get(f"/processing/events?{query}")).faults) == {path}


async def test_each_sees_its_own(api: Api, shop: Shop) -> None:
    ours = await shop.order(1)
    theirs = await (await opened(api, "outra")).order(1)
    limited = await api.limited("EVENTS_READ", "EVENTS_REPLAY", instance="loja")
    nobody = await api.limited("SINKS_MANAGE")

    assert [e["id"] for e in (await limited.get("/processing/events")).data] == [ours]
    hidden = await limited.get("/processing/events?filter[instance]=outra")
    assert hidden.data == []
    for path in (f"/processing/events/{theirs}", "/processing/events/nobody"):
        assert (await limited.get(path)).status == 404
        assert (await limited.post(path + "/replay")).status == 404
    for path in ("/processing/events", f"/processing/events/{ours}"):
        assert (await nobody.get(path)).status == 403
    reader = await api.limited("EVENTS_READ")
    assert (await reader.post(f"/processing/events/{ours}/replay")).status == 403


async def test_a_replay_sends_the_same_event_again(api: Api, receiver: Receiver) -> None:
    shop = await opened(api, url=receiver.url)
    event_id = await shop.order(1)
    first = await shop.dispatch(event_id, "succeeded")
    answer = await api.post(f"/processing/events/{event_id}/replay")

    assert answer.status == 202
    assert answer.data["event_id"] == event_id
    assert [d["id"] for d in answer.data["dispatches"]] == [first["id"]]
    await until(lambda: len(receiver.got) == 2)
    assert {got.headers["webhook-id"] for got in receiver.got} == {event_id}
    assert receiver.got[0].body == receiver.got[1].body
    again = await shop.dispatch(event_id, "succeeded")
    assert again["replay"] == 1


async def test_a_replay_may_name_its_sinks(api: Api, receiver: Receiver) -> None:
    """Also one that was configured after the event, and that would not want it."""
    shop = await opened(api, url=receiver.url)
    event_id = await shop.order(1)
    await shop.dispatch(event_id, "succeeded")
    late = {"url": receiver.url + "/late", "events": ["ORDER_REFUNDED"]}
    await api.post("/webhook/set/loja/late", late)

    path = f"/processing/events/{event_id}/replay"
    assert (await api.post(path, {"sinks": ["webhook/late"]})).status == 202
    await until(lambda: len(receiver.got) == 2)
    assert receiver.got[1].target == "/hook/late"
    await until(lambda: len(receiver.got) == 2)
    unknown = await api.post(path, {"sinks": ["webhook", "nats"]})
    assert set(unknown.faults) == {"sinks.1"}
    assert set((await api.post(path, {"sinks": "webhook"})).faults) == {"sinks"}
    assert len(receiver.got) == 2


async def test_a_replay_without_sinks_says_so(api: Api, shop: Shop) -> None:
    event_id = await shop.order(1)
    answer = await api.post(f"/processing/events/{event_id}/replay")

    assert answer.status == 409
    assert "no sink" in answer.body["message"]


async def test_filters_count_for_a_replay_too(api: Api, receiver: Receiver) -> None:
    shop = await opened(api)
    event_id = await shop.order(1)
    for name, wish in (("a", "`false`"), ("b", "data.order.id == 'HP00000001'")):
        body = {"url": f"{receiver.url}/{name}", "filter": wish}
        assert (await api.post(f"/webhook/set/loja/{name}", body)).status == 201

    answer = await api.post(f"/processing/events/{event_id}/replay")
    assert [d["sink"] for d in answer.data["dispatches"]] == ["webhook/b"]


async def test_data_goes_out_as_it_is_stored(api: Api, shop: Shop) -> None:
    """Whatever a provider writes: long numbers, text that is half a character."""
    event_id = await shop.order(1)
    data = b'{"n":123456789012345678901234567890,"d":1.10,"s":"\\ud83d"}'
    await api.services.store.database.write(
        "UPDATE events SET data = $1 WHERE id = $2", data, event_id
    )

    url, headers = f"{api.url}/processing/events/{event_id}", {"apikey": api.key or ""}
    async with api.session.get(url, headers=headers) as got:
        assert data in await got.read()
    assert (await api.get("/processing/events")).status == 200


async def test_everything_works_on_postgres(api_on_postgres: Api, receiver: Receiver) -> None:
    api = api_on_postgres
    shop = await opened(api, url=receiver.url)
    ids = [await shop.order(number) for number in range(3)]
    for event_id in ids:
        await shop.dispatch(event_id, "succeeded")

    page = await api.get("/processing/events?limit=2&filter[status]=dispatched")
    assert [e["id"] for e in page.data] == ids[:0:-1]
    await api.post(f"/processing/events/{ids[0]}/replay")
    await until(lambda: len(receiver.got) == 4)

    async def replayed() -> Any:
        found = (await api.get("/processing/dispatches?filter[status]=succeeded")).data
        return [d for d in found if d["replay"]]

    (again,) = await eventually(replayed)
    assert again["event_id"] == ids[0]
    inbounds = (await api.get("/processing/webhooks?filter[outcome]=accepted")).data
    assert len(inbounds) == 3
    assert codec.loads(inbounds[0]["body"].encode())["event"] == "PURCHASE_APPROVED"
