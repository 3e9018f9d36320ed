"""One delivery, all the way: verified, normalized, committed, answered, delivered, looked up."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from tests.e2e.deliveries import SECRET, ids, kiwify, shopify
from tests.e2e.program import Program
from tests.sinks.receiver import Receiver, until


async def settled(program: Program, event_id: str) -> Any:
    """The event, once every delivery of it is final."""
    async with asyncio.timeout(20):
        while True:
            event = await program.data("GET", f"/processing/events/{event_id}")
            if event["status"] == "dispatched":
                return event
            await asyncio.sleep(0.02)


async def test_a_delivery_goes_all_the_way(comporta: Program, receiver: Receiver) -> None:
    sink = await comporta.webhook("loja-1", receiver.url, events=["order.paid"])
    shop = await comporta.install("shopify", "loja-1", SECRET)

    answer = await shopify().post(comporta, shop["ingest_url"])

    assert answer.status == 200
    (told,) = answer.json["events"]
    assert told == {"id": told["id"], "event": "order.paid", "duplicate": False}
    await until(lambda: bool(receiver.got))
    (got,) = receiver.got
    assert got.headers["webhook-id"] == told["id"]
    Webhook(sink["secret"]).verify(got.body, dict(got.headers))
    body = json.loads(got.body)
    assert (body["event"], body["instance"], body["driver"]) == ("order.paid", "loja-1", "shopify")
    assert body["data"]["order"]["total"] == 30623
    event = await settled(comporta, told["id"])
    assert event["inbound_id"] == answer.json["inbound_id"]
    assert event["data"] == body["data"]
    (dispatch,) = event["dispatches"]
    assert dispatch["status"] == "succeeded"
    inbound = await comporta.data("GET", f"/processing/webhooks/{answer.json['inbound_id']}")
    assert inbound["outcome"] == "accepted"
    attempts = (await comporta.data("GET", f"/processing/dispatches/{dispatch['id']}"))["attempts"]
    assert len(attempts) == 1


async def test_a_redelivery_is_told_and_not_sent_again(
    comporta: Program, receiver: Receiver
) -> None:
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("shopify", "loja-1", SECRET)

    first = await shopify().post(comporta, shop["ingest_url"])
    second = await shopify().post(comporta, shop["ingest_url"])

    assert second.status == 200
    assert second.json["inbound_id"] == first.json["inbound_id"]
    assert [e["duplicate"] for e in second.json["events"]] == [True]
    await settled(comporta, first.json["events"][0]["id"])
    assert ids(receiver) == [first.json["events"][0]["id"]]


async def test_a_hundred_copies_at_once_are_one_event(
    comporta: Program, receiver: Receiver
) -> None:
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("shopify", "loja-1", SECRET)

    copies = (shopify().post(comporta, shop["ingest_url"]) for _ in range(100))
    answers = await asyncio.gather(*copies)

    assert {a.status for a in answers} == {200}
    told = {a.json["events"][0]["id"] for a in answers}
    assert len(told) == 1
    assert sum(not a.json["events"][0]["duplicate"] for a in answers) == 1
    await settled(comporta, told.pop())
    assert len(receiver.got) == 1


async def test_a_failed_delivery_is_tried_again_with_the_same_id(
    comporta: Program, receiver: Receiver
) -> None:
    receiver.answer = lambda _: web.Response(status=500 if len(receiver.got) < 3 else 204)
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("shopify", "loja-1", SECRET)

    answer = await shopify().post(comporta, shop["ingest_url"])
    event = await settled(comporta, answer.json["events"][0]["id"])

    assert set(ids(receiver)) == {event["id"]}
    assert [got.headers["X-Attempt"] for got in receiver.got] == ["1", "2", "3"]
    dispatch = await comporta.data("GET", f"/processing/dispatches/{event['dispatches'][0]['id']}")
    assert dispatch["status"] == "succeeded"
    assert len(dispatch["attempts"]) == 3


async def test_what_is_given_up_is_a_dead_letter_and_can_be_retried(
    embedded: Program, receiver: Receiver
) -> None:
    receiver.answer = lambda _: web.Response(status=500)
    await embedded.start(RETRY_SCHEDULE="0.05,0.05")
    await embedded.webhook("loja-1", receiver.url)
    shop = await embedded.install("shopify", "loja-1", SECRET)

    answer = await shopify().post(embedded, shop["ingest_url"])
    event = await settled(embedded, answer.json["events"][0]["id"])
    (dispatch,) = event["dispatches"]
    assert (dispatch["status"], len(receiver.got)) == ("dead", 3)

    receiver.answer = lambda _: web.Response(status=200)
    await embedded.call("POST", f"/processing/dispatches/{dispatch['id']}/retry")
    await until(lambda: len(receiver.got) == 4)
    event = await settled(embedded, event["id"])
    assert event["dispatches"][0]["status"] == "succeeded"
    assert set(ids(receiver)) == {event["id"]}


async def test_an_event_can_be_replayed(comporta: Program, receiver: Receiver) -> None:
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("shopify", "loja-1", SECRET)
    answer = await shopify().post(comporta, shop["ingest_url"])
    event = await settled(comporta, answer.json["events"][0]["id"])

    told = await comporta.call("POST", f"/processing/events/{event['id']}/replay", {})

    assert told.status < 300
    await until(lambda: len(receiver.got) == 2)
    assert ids(receiver) == [event["id"]] * 2


async def test_a_dead_sink_costs_the_others_nothing(
    comporta: Program, receiver: Receiver, other: Receiver
) -> None:
    await comporta.webhook("loja-1", receiver.url)
    await comporta.webhook("loja-1", other.url, name="second")
    shop = await comporta.install("kiwify", "loja-1", SECRET)
    await receiver.stop()

    for number in range(30):
        answer = await kiwify(number).post(comporta, shop["ingest_url"])
        assert answer.status == 200
    await until(lambda: len(set(ids(other))) == 30)
    assert receiver.got == []

    await receiver.start()
    await until(lambda: len(set(ids(receiver))) == 30, patience=60)
    assert set(ids(receiver)) == set(ids(other))


async def test_gone_switches_the_sink_off_and_keeps_its_deliveries(
    comporta: Program, receiver: Receiver
) -> None:
    receiver.answer = lambda _: web.Response(status=410)
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("kiwify", "loja-1", SECRET)
    await kiwify(1).post(comporta, shop["ingest_url"])
    await _switched_off(comporta)
    status = (await comporta.call("GET", "/webhook/status/loja-1")).json
    assert status["state"] == "disabled"
    assert "410" in status["reason"]
    await kiwify(2).post(comporta, shop["ingest_url"])

    receiver.got.clear()
    receiver.answer = lambda _: web.Response(status=200)
    await comporta.webhook("loja-1", receiver.url, enabled=True)
    await until(lambda: len(set(ids(receiver))) == 2)


async def _switched_off(program: Program) -> None:
    async with asyncio.timeout(20):
        for _ in range(1000):
            if not (await program.call("GET", "/webhook/find/loja-1")).json["enabled"]:
                return
            await asyncio.sleep(0.02)


async def test_retry_after_holds_the_whole_sink(comporta: Program, receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(
        status=429 if len(receiver.got) == 1 else 200, headers={"Retry-After": "2"}
    )
    await comporta.webhook("loja-1", receiver.url)
    shop = await comporta.install("kiwify", "loja-1", SECRET)
    started = datetime.now(UTC)
    first = await kiwify(1).post(comporta, shop["ingest_url"])
    await until(lambda: len(receiver.got) == 1)
    second = await kiwify(2).post(comporta, shop["ingest_url"])

    wanted = {a.json["events"][0]["id"] for a in (first, second)}
    await until(lambda: set(ids(receiver)[1:]) == wanted)
    assert (datetime.now(UTC) - started).total_seconds() >= 1.9
