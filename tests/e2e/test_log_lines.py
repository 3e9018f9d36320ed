"""The log has one line for each try at a sink: enough to follow a delivery, nothing to use."""

import json
from typing import Any

from aiohttp import web

from tests.e2e.deliveries import SECRET, shopify
from tests.e2e.program import Program
from tests.sinks.receiver import Receiver, until

HIDDEN = "the-token-of-the-receiver"


def tries(program: Program) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in program.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "delivery.attempted"]


async def test_each_try_is_one_line(comporta: Program, receiver: Receiver) -> None:
    statuses = iter((503, 200))
    receiver.answer = lambda _: web.Response(status=next(statuses))
    url = f"{receiver.url}?token={HIDDEN}"
    sink = await comporta.webhook("loja-1", url, events=["order.paid"], retry=[0])
    shop = await comporta.install("shopify", "loja-1", SECRET)

    answer = await shopify().post(comporta, shop["ingest_url"])

    await until(lambda: len(tries(comporta)) == 2, patience=20)
    first, second = tries(comporta)
    for line in (first, second):
        assert line["event_id"] == answer.json["events"][0]["id"]
        assert line["sink_id"] == sink["id"]
        assert (line["event_name"], line["instance"]) == ("order.paid", "loja-1")
        assert line["kind"] == "webhook"
        assert line["duration_ms"] > 0
    assert first["delivery_id"] == second["delivery_id"]
    assert (first["attempt"], first["status"], first["level"]) == (1, 503, "warning")
    assert (second["attempt"], second["status"], second["outcome"]) == (2, 200, "succeeded")
    assert second["level"] == "info"
    for secret in (HIDDEN, SECRET, sink["secret"], shop["ingest_url"].rpartition("/")[2]):
        assert secret not in comporta.log
