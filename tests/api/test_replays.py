"""Bulk replay: what is wanted is sent again, slowly, and can be followed and steered."""

from typing import Any

import pytest
from aiohttp import web

from gateway import replay
from gateway.replay import SLICE
from tests.api.rig import Api, eventually
from tests.api.shop import Shop, opened
from tests.sinks.receiver import Receiver


async def ended(api: Api, ident: str, status: str = "done") -> Any:
    async def reached() -> Any:
        found = (await api.get(f"/processing/replays/{ident}")).data
        return found if found["status"] == status else None

    return await eventually(reached)


async def dead_letters(api: Api, receiver: Receiver, count: int, instance: str = "loja") -> Shop:
    """A shop whose first deliveries were all given up; its receiver is well again."""
    receiver.answer = lambda _: web.Response(status=500)
    shop = await opened(api, instance, url=receiver.url, retry=[])
    ids = [await shop.order(number) for number in range(count)]
    for event_id in ids:
        await shop.dispatch(event_id, "dead")
    receiver.answer = lambda _: web.Response()
    receiver.got.clear()
    return shop


async def hurry(api: Api, ident: str) -> None:
    """Let the next slice begin now, whatever the rate says."""

    async def free() -> bool:
        return bool(
            await api.services.store.database.write(
                "UPDATE jobs SET due_at = 0 WHERE ukey = $1 AND owner IS NULL RETURNING id",
                f"replay/{ident}",
            )
        )

    await eventually(free)
    api.services.jobs.wake()


async def all_in(api: Api, status: str, count: int) -> None:
    async def reached() -> bool:
        found = await api.get(f"/processing/dispatches?limit=100&filter[status]={status}")
        return len(found.data) == count

    await eventually(reached)


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SLICE, "dispatches", 2)


async def test_dead_letters_are_sent_again(
    api: Api, receiver: Receiver, small_slices: None
) -> None:
    await dead_letters(api, receiver, 5)
    answer = await api.post("/processing/replay", {"filter": {"status": "dead"}})

    assert answer.status == 202
    assert set(answer.data) >= {"id", "matched"}
    assert answer.data["matched"] == 5
    told = await ended(api, answer.data["id"])
    assert (told["type"], told["done"], told["failed"]) == ("dispatches", 5, 0)
    assert told["finished_at"] >= told["created_at"]
    await all_in(api, "succeeded", 5)
    sent = [got.headers["webhook-id"] for got in receiver.got]
    assert len(sent) == len(set(sent)) == 5
    assert [r["id"] for r in (await api.get("/processing/replays")).data] == [told["id"]]


async def test_it_works_on_postgres(
    api_on_postgres: Api, receiver: Receiver, small_slices: None
) -> None:
    await dead_letters(api_on_postgres, receiver, 5)
    wish = {"filter": {"name": "ORDER_PAID", "sink": "webhook"}}
    answer = await api_on_postgres.post("/processing/replay", wish)

    assert answer.data["matched"] == 5
    await ended(api_on_postgres, answer.data["id"])
    await all_in(api_on_postgres, "succeeded", 5)


async def test_the_filter_chooses(api: Api, receiver: Receiver) -> None:
    await dead_letters(api, receiver, 2)
    await dead_letters(api, receiver, 3, "outra")
    after = (await api.get("/processing/dispatches?limit=1")).data[0]["created_at"]

    async def matched(**wish: Any) -> int:
        answer = await api.post("/processing/replay", {"filter": wish, "rate": 0.001})
        await api.post(f"/processing/replays/{answer.data['id']}/cancel")
        return int(answer.data["matched"])

    assert await matched(instance="loja", name="order.refunded") == 0
    assert await matched(status="succeeded") == 0
    assert await matched(sink="webhook", to="2020-01-01T00:00:00Z") == 0
    assert await matched(sink="webhook", **{"from": after}, status="canceled") == 0


async def test_from_is_included_and_to_is_not(api: Api, receiver: Receiver) -> None:
    await dead_letters(api, receiver, 3)
    listed = (await api.get("/processing/dispatches")).data
    newest, middle, oldest = (d["created_at"] for d in listed)
    wish = {"from": oldest, "to": newest, "status": "dead", "instance": "loja"}
    answer = await api.post("/processing/replay", {"filter": wish})

    assert answer.data["matched"] == (2 if middle < newest else 1)
    await ended(api, answer.data["id"])
    await all_in(api, "dead", 3 - answer.data["matched"])


async def test_it_is_paused_resumed_and_canceled(
    api: Api, receiver: Receiver, small_slices: None
) -> None:
    await dead_letters(api, receiver, 6)
    wish = {"filter": {"status": "dead"}, "rate": 0.01}
    ident = (await api.post("/processing/replay", wish)).data["id"]
    path = f"/processing/replays/{ident}"

    async def begun() -> bool:
        return bool((await api.get(path)).data["done"] == 1)

    await eventually(begun)
    assert (await api.post(f"{path}/pause")).data["status"] == "paused"
    assert (await api.post(f"{path}/pause")).data["status"] == "paused"
    assert (await api.post(f"{path}/resume")).data["status"] == "running"

    async def went_on() -> bool:
        return bool((await api.get(path)).data["done"] == 2)

    await eventually(went_on)
    assert (await api.post(f"{path}/cancel")).data["status"] == "canceled"
    for action in ("resume", "pause"):
        answer = await api.post(f"{path}/{action}")
        assert answer.status == 409
        assert "canceled" in answer.body["message"]
    await all_in(api, "succeeded", 2)
    await all_in(api, "dead", 4)


async def test_what_began_later_is_left_alone(api: Api, receiver: Receiver) -> None:
    """Else a receiver that is still down would be replayed for ever."""
    shop = await dead_letters(api, receiver, 1)
    receiver.answer = lambda _: web.Response(status=500)
    ident = (await api.post("/processing/replay", {"filter": {}})).data["id"]
    told = await ended(api, ident)
    await all_in(api, "dead", 1)
    late = await shop.order(99)
    await shop.dispatch(late, "dead")

    assert told["done"] == 1
    assert (await api.get(f"/processing/replays/{ident}")).data == told


@pytest.mark.parametrize("ending", [{}, {"to": "2999-01-01T00:00:00Z"}])
async def test_each_is_sent_again_once(
    api: Api, receiver: Receiver, small_slices: None, ending: Any
) -> None:
    """Though each dies again at once, and new ones die meanwhile."""
    shop = await dead_letters(api, receiver, 4)
    receiver.answer = lambda _: web.Response(status=500)
    wish = {"filter": {"status": "dead"} | ending, "rate": 0.01}
    ident = (await api.post("/processing/replay", wish)).data["id"]
    path = f"/processing/replays/{ident}"

    async def begun() -> bool:
        return bool((await api.get(path)).data["done"] == 1 and len(receiver.got) == 1)

    await eventually(begun)
    await shop.dispatch(await shop.order(99), "dead")
    for _ in range(4):
        before = (await api.get(path)).data["updated_at"]
        await hurry(api, ident)

        async def went_on(before: str = before) -> bool:
            return bool((await api.get(path)).data["updated_at"] > before)

        await eventually(went_on)
    assert (await ended(api, ident))["done"] == 4
    await all_in(api, "dead", 5)
    assert len(receiver.got) == 5


async def test_what_is_paused_does_nothing(
    api: Api, receiver: Receiver, small_slices: None
) -> None:
    await dead_letters(api, receiver, 3)
    wish = {"filter": {"status": "dead"}, "rate": 0.01}
    ident = (await api.post("/processing/replay", wish)).data["id"]

    async def begun() -> bool:
        return bool((await api.get(f"/processing/replays/{ident}")).data["done"] == 1)

    await eventually(begun)
    paused = (await api.post(f"/processing/replays/{ident}/pause")).data
    await hurry(api, ident)

    async def job_is_gone() -> bool:
        sql = "SELECT id FROM jobs WHERE ukey = $1"
        return not await api.services.store.database.fetch(sql, f"replay/{ident}")

    await eventually(job_is_gone)
    assert (await api.get(f"/processing/replays/{ident}")).data == paused


async def test_only_what_is_named_is_sent_again(api: Api, receiver: Receiver) -> None:
    await dead_letters(api, receiver, 4)
    ids = [d["id"] for d in (await api.get("/processing/dispatches")).data][:2]

    answer = await api.post("/processing/replay", {"filter": {"ids": ids}})

    assert answer.data["matched"] == 2
    assert answer.data["by"] == "admin"
    await ended(api, answer.data["id"])
    await all_in(api, "succeeded", 2)
    await all_in(api, "dead", 2)
    for ident in ids:
        assert (await api.get(f"/processing/dispatches/{ident}")).data["status"] == "succeeded"


async def test_no_sink_gets_more_than_it_keeps_up_with(
    api: Api, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else live deliveries would wait behind all that is sent again."""
    monkeypatch.setattr(replay, "CROWD", 1)
    monkeypatch.setattr(replay, "CROWD_PAUSE", 0.01)
    shop = await dead_letters(api, receiver, 3)
    database = api.services.store.database
    live = await shop.order(99)
    await shop.dispatch(live, "succeeded")
    # Due, and taken by nobody: as if everything that may be sent at once were being sent.
    monkeypatch.setattr(api.services.dispatcher, "_claim_these", no_claims)
    await database.write("UPDATE deliveries SET state = 'pending' WHERE state = 'succeeded'")
    ident = (await api.post("/processing/replay", {"filter": {}})).data["id"]
    path = f"/processing/replays/{ident}"
    looks = [(await api.get(path)).data["updated_at"]]

    async def looked_again() -> bool:
        now = (await api.get(path)).data
        assert now["done"] == 0
        looks.append(now["updated_at"])
        return len(set(looks)) > 3

    await eventually(looked_again)
    await database.write("UPDATE deliveries SET state = 'succeeded' WHERE state = 'pending'")

    async def goes_on() -> bool:
        await database.write("UPDATE deliveries SET state = 'succeeded' WHERE state = 'pending'")
        return bool((await api.get(path)).data["status"] == "done")

    await eventually(goes_on)
    assert (await api.get(path)).data["done"] == 3


async def no_claims(_: dict[str, int]) -> None:
    """Claim nothing."""


async def test_a_slow_rate_is_kept_to_the_second(api: Api, receiver: Receiver) -> None:
    """A slice is what a second may send, not five hundred and then a long pause."""
    await dead_letters(api, receiver, 3)
    wish = {"filter": {}, "rate": 0.02}
    ident = (await api.post("/processing/replay", wish)).data["id"]

    async def begun() -> bool:
        return bool((await api.get(f"/processing/replays/{ident}")).data["done"])

    await eventually(begun)
    assert (await api.get(f"/processing/replays/{ident}")).data["done"] == 1


@pytest.fixture(params=["api", "api_on_postgres"])
def either(request: pytest.FixtureRequest) -> Api:
    made: Api = request.getfixturevalue(request.param)
    return made


async def test_dead_letters_are_purged_and_nothing_else(either: Api, receiver: Receiver) -> None:
    api = either
    shop = await dead_letters(api, receiver, 3)
    alive = await shop.order(99)
    await shop.dispatch(alive, "succeeded")

    answer = await api.post("/processing/purge", {"filter": {"sink": "webhook"}})

    assert answer.status == 202
    told = await ended(api, answer.data["id"])
    assert (told["type"], told["matched"], told["done"], told["by"]) == ("purge", 3, 3, "admin")
    await all_in(api, "dead", 0)
    await all_in(api, "succeeded", 1)
    rows = await api.services.store.database.fetch("SELECT DISTINCT delivery_id FROM attempts")
    assert len(rows) == 1
    assert len((await api.get("/processing/events")).data) == 4


async def test_one_dead_letter_is_purged(api: Api, receiver: Receiver) -> None:
    shop = await dead_letters(api, receiver, 1)
    (dead,) = (await api.get("/processing/dispatches")).data
    path = f"/processing/dispatches/{dead['id']}"
    stranger = await api.limited("EVENTS_READ", "EVENTS_REPLAY", instance="outra")
    assert (await stranger.delete(path)).status == 404

    assert (await api.delete(path)).status == 204

    assert (await api.get(path)).status == 404
    alive = await shop.dispatch(await shop.order(99), "succeeded")
    answer = await api.delete(f"/processing/dispatches/{alive['id']}")
    assert answer.status == 409
    assert "succeeded" in answer.body["message"]


async def test_only_what_was_given_up_may_be_purged(api: Api) -> None:
    wish = {"filter": {"status": "succeeded"}}
    assert "filter.status" in (await api.post("/processing/purge", wish)).faults
    assert "filter" in (await api.post("/processing/purge", {})).faults


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ({}, "filter"),
        ({"filter": {"status": "pending"}}, "filter.status"),
        ({"filter": {"name": "order.payed"}}, "filter.name"),
        ({"filter": {"sink": "nats"}}, "filter.sink"),
        ({"filter": {"since": "2024"}}, "filter.since"),
        ({"filter": {"from": "soon"}}, "filter.from"),
        ({"filter": {"instance": "a b"}}, "filter.instance"),
        ({"filter": {}, "rate": 0}, "rate"),
        ({"filter": {"ids": []}}, "filter.ids"),
        ({"filter": {"ids": ["../x"]}}, "filter.ids.0"),
    ],
)
async def test_a_wish_is_checked(api: Api, wish: Any, path: str) -> None:
    assert path in (await api.post("/processing/replay", wish)).faults
    assert (await api.get("/processing/replays")).data == []


async def test_each_sees_its_own(api: Api, receiver: Receiver) -> None:
    await dead_letters(api, receiver, 1)
    await dead_letters(api, receiver, 2, "outra")
    limited = await api.limited("EVENTS_READ", "EVENTS_REPLAY", instance="loja")
    reader = await api.limited("EVENTS_READ")
    wide = {"filter": {"status": "canceled"}}
    everybodys = (await api.post("/processing/replay", wide)).data["id"]
    ours = (await limited.post("/processing/replay", {"filter": {}})).data

    assert ours["matched"] == 1
    outside = {"filter": {"instance": "outra"}}
    assert (await limited.post("/processing/replay", outside)).status == 403
    assert [r["id"] for r in (await limited.get("/processing/replays")).data] == [ours["id"]]
    for ident in (everybodys, "nobody"):
        assert (await limited.get(f"/processing/replays/{ident}")).status == 404
        assert (await limited.post(f"/processing/replays/{ident}/cancel")).status == 404
    assert (await reader.get(f"/processing/replays/{everybodys}")).status == 200
    assert (await reader.post("/processing/replay", wide)).status == 403
    assert (await reader.post(f"/processing/replays/{everybodys}/pause")).status == 403
    page = await api.get("/processing/replays?limit=1")
    assert [r["id"] for r in page.data] == [ours["id"]]
    rest = await api.get(f"/processing/replays?cursor={page.body['meta']['next_cursor']}")
    assert [r["id"] for r in rest.data] == [everybodys]
    await all_in(limited, "succeeded", 1)
