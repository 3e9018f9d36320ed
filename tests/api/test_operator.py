"""What goes wrong in a running gateway reaches its operator."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from sinks.signing import new_secret
from tests.api.delivered import faults
from tests.api.rig import Api, eventually, serving
from tests.api.shop import opened
from tests.sinks.receiver import Receiver, receiving


@pytest.fixture
async def operator() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def watched(tmp_path: Path, operator: Receiver) -> AsyncIterator[Api]:
    secret = SecretStr(new_secret(b"k" * 32))
    async with serving(
        tmp_path,
        alert_webhook_url=operator.url,
        alert_webhook_secret=secret,
        alert_interval=0.05,
        alert_backlog_age=0.2,
    ) as api:
        yield api


async def alarm(operator: Receiver, kind: str) -> dict[str, Any]:
    """The first alarm of a kind, once it is told."""

    async def told() -> dict[str, Any]:
        messages = [json.loads(got.body) for got in operator.got]
        assert [f for m in messages for f in faults("operator", "alerts", "payload", m)] == []
        found = [a for message in messages for a in message["alerts"]]
        return next((a for a in found if a["kind"] == kind), {})

    return await eventually(told)


async def test_a_sink_that_wants_nothing_any_more(
    watched: Api, operator: Receiver, receiver: Receiver
) -> None:
    receiver.answer = lambda _: web.Response(status=410)
    shop = await opened(watched, url=receiver.url)
    await shop.order(1)

    told = await alarm(operator, "sink.disabled")
    assert (told["instance"], told["subject"]) == ("loja", "webhook/default")
    assert "410" in told["reason"]


async def test_a_delivery_nobody_understands(watched: Api, operator: Receiver) -> None:
    shop = await opened(watched)
    assert (await shop.sends(id="strange", transaction={})).body["quarantined"]

    told = await alarm(operator, "driver.quarantine")
    assert told["subject"] == "hotmart"
    assert told["instance"] is None


async def test_a_delivery_that_waits_too_long(
    watched: Api, operator: Receiver, receiver: Receiver
) -> None:
    shop = await opened(watched, url=receiver.url, rate_limit=0.001)
    for number in range(80):  # more than its lane holds
        await shop.order(number)

    told = await alarm(operator, "sink.backlog")
    assert (told["instance"], told["subject"]) == ("loja", "webhook/default")


async def test_an_installation_that_fails_and_recovers(watched: Api, operator: Receiver) -> None:
    shop = await opened(watched)
    standing, ident = watched.services.standing, shop.installation["id"]

    await standing.move(
        ident, "api.unauthorized", lambda _: {"status": "error", "reason": "refused"}
    )
    told = await alarm(operator, "installation.error")
    assert told["subject"] == f"hotmart/{ident}"
    assert told["reason"] == "refused"

    await standing.move(ident, "oauth.authorized", lambda _: {"status": "active", "reason": None})
    assert await alarm(operator, "installation.recovered")
