"""Killed while a provider is being asked: nothing is lost, nothing is told twice."""

import asyncio
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.program import Program
from tests.provider_apis import bling, woocommerce
from tests.provider_apis.bling import Bling, thin_webhook
from tests.provider_apis.server import Asked, serving_api
from tests.provider_apis.woocommerce import WooCommerce
from tests.sinks.receiver import Receiver, until

SECRET = "client-secret"
PAIR = {"consumer_key": woocommerce.KEY, "consumer_secret": woocommerce.SECRET}


async def thin(program: Program, shop: Any, number: int) -> str:
    """A webhook of Bling that carries an id; gives the inbound's."""
    body = json.dumps(thin_webhook(number)).encode()
    proof = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Bling-Signature-256": f"sha256={proof}"}
    answer = await program.post(shop["ingest_url"], body, headers)
    assert (answer.status, answer.json["enriching"]) == (200, True), answer.body
    return str(answer.json["inbound_id"])


async def told(program: Program) -> list[Any]:
    """Every event there is."""
    found: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        answer = await program.call("GET", f"/processing/events?limit=100{more}")
        found += answer.json["data"]
        cursor = answer.json["meta"]["next_cursor"]
    return found


async def are_told_once(program: Program, receiver: Receiver, keys: set[str]) -> None:
    """Each of these orders is paid, by one event, which arrived."""

    def arrived() -> set[str]:
        bodies = [json.loads(got.body) for got in receiver.got]
        return {body["data"]["order"]["id"] for body in bodies}

    await until(lambda: arrived() >= keys, patience=40)
    events = await told(program)
    assert sorted(event["key"] for event in events) == sorted(keys)
    assert {event["name"] for event in events} == {"order.paid"}
    assert {got.headers["webhook-id"] for got in receiver.got} == {e["id"] for e in events}


@pytest.mark.parametrize(
    ("store", "point"),
    [("sqlite", ""), ("sqlite", "after_commit:5"), ("postgres", "")],
    indirect=["store"],
)
async def test_killed_in_the_middle_of_enrichment(
    comporta: Program, receiver: Receiver, point: str
) -> None:
    async with serving_api(Bling()) as api:
        numbers = range(1, 5)
        for number in numbers:
            api.put(number)
        await comporta.webhook("loja-1", receiver.url)
        shop = await comporta.install(
            "bling",
            "loja-1",
            credentials={"access_token": bling.TOKEN, "secret": SECRET},
            settings={"api_base_url": api.url, "reconcile_interval": 0},
        )
        await comporta.end()
        await comporta.start(**({"CRASH_AT": point} if point else {}))
        api.asked.clear()
        if not point:
            api.gate.clear()
        for number in numbers:
            await thin(comporta, shop, number)
        assert comporta.process
        if point:
            assert await asyncio.wait_for(comporta.process.wait(), 30) == 137
        else:
            await until(lambda: len(api.asked) >= 2)
            await comporta.kill()
            api.gate.set()

        await comporta.start()
        await are_told_once(comporta, receiver, {str(number) for number in numbers})
        mails = [json.loads(got.body)["data"]["customer"]["email"] for got in receiver.got]
        assert set(mails) == {f"c{number + 1}@example.com" for number in numbers}


async def test_killed_in_the_middle_of_a_sweep(comporta: Program, receiver: Receiver) -> None:
    async with serving_api(WooCommerce()) as woo:
        first = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=30)
        for number in range(250):
            at = (first + timedelta(seconds=number)).isoformat(timespec="seconds")
            woo.put(number + 1, at=at)
        lists: list[str] = []

        def hangs_at_the_second_page(asked: Asked) -> None:
            if "modified_after" in asked.query:
                lists.append(asked.query["modified_after"])
                if len(lists) == 2:
                    woo.gate.clear()

        woo.on_ask = hangs_at_the_second_page
        await comporta.webhook("loja-1", receiver.url)
        await comporta.install(
            "woocommerce",
            "loja-1",
            credentials={**PAIR, "secret": SECRET},
            settings={"api_base_url": woo.url, "poll_interval": 60},
        )
        await until(lambda: len(lists) == 2)
        await comporta.kill()
        woo.gate.set()

        await comporta.start()
        await are_told_once(comporta, receiver, {str(number + 1) for number in range(250)})
        assert lists[2] == lists[1], "it goes on where it was"
