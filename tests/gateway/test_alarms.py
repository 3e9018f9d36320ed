"""The operator hears of everything, in few messages, signed, and again until it is taken."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from gateway import alarms as module
from gateway.alarms import MOST, MOST_TOLD, Address, Alarm, Alarms
from gateway.egress import Egress
from gateway.ids import Ulids
from gateway.lane import Clocks
from schemas.target import AllowList
from sinks.signing import new_secret, secret_key
from tests.sinks.receiver import Got, Receiver, receiving, until

SECRET = new_secret(b"k" * 32)


@pytest.fixture
async def operator() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


class Clock:
    """Monotonic time that a test may move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@asynccontextmanager
async def running(
    url: str, clock: Callable[[], float] = time.monotonic, interval: float = 0.05
) -> AsyncIterator[tuple[Alarms, list[str]]]:
    egress = Egress(allow=AllowList.parse(("127.0.0.0/8",)), require_https=True)
    told: list[str] = []
    address = Address(
        url=url,
        keys=(secret_key(SECRET),),
        interval=interval,
        server_url="https://hooks.example.com",
        user_agent="Comporta/test",
    )
    clocks = Clocks(lambda: time.time_ns() // 1000, clock)
    alarms = Alarms(address, egress, Ulids(clocks.wall, lambda n: b"\x07" * n), clocks, told.append)
    task = asyncio.create_task(alarms.run())
    try:
        yield alarms, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await egress.close()


def an_alarm(subject: str = "webhook/default", kind: str = "sink.circuit_opened") -> Alarm:
    return Alarm(
        kind=kind, tenant="default", instance="loja", subject=subject, reason="no", at=1000
    )


def _more(operator: Receiver, before: int) -> bool:
    return len(operator.got) > before


def messages(operator: Receiver) -> list[dict[str, Any]]:
    return [json.loads(got.body) for got in operator.got]


async def test_a_storm_is_one_message(operator: Receiver) -> None:
    async with running(operator.url, interval=0.3) as (alarms, told):
        for number in range(MOST + 50):
            for _ in range(3):
                alarms.hear(an_alarm(f"webhook/{number}"))
        await until(lambda: bool(told))

    [message] = messages(operator)
    assert message["type"] == "comporta.alert"
    assert len(message["alerts"]) == MOST_TOLD
    assert message["alerts"][0]["count"] == 3
    assert message["more"] == MOST - MOST_TOLD + 50 * 3
    first, *_, last = message["text"].splitlines()
    assert first == "sink.circuit_opened: webhook/0 of loja: no (3 times)"
    assert last == f"and {message['more']} more"
    assert told == ["sent"]


async def test_it_is_signed(operator: Receiver) -> None:
    async with running(operator.url) as (alarms, _):
        alarms.hear(an_alarm())
        await until(lambda: bool(operator.got))

    [got] = operator.got
    verified = Webhook(SECRET).verify(got.body, dict(got.headers))
    assert verified["id"] == got.headers["webhook-id"]


async def test_it_is_told_again_until_it_is_taken(
    operator: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELAYS", (0.01,))
    statuses = iter((500, 404, 429))

    def answer(_: Got) -> web.StreamResponse:
        return web.Response(status=next(statuses, 204))

    operator.answer = answer
    async with running(operator.url) as (alarms, told):
        alarms.hear(an_alarm())
        await until(lambda: "sent" in told)
        alarms.hear(an_alarm("nats/default"))
        await until(lambda: len(operator.got) == 5)

    assert told[:4] == ["failed", "failed", "failed", "sent"]
    assert len({got.headers["webhook-id"] for got in operator.got[:4]}) == 1
    assert [a["subject"] for a in messages(operator)[4]["alerts"]] == ["nats/default"]


async def test_the_same_is_only_counted_for_an_hour(operator: Receiver) -> None:
    clock = Clock()
    async with running(operator.url, clock) as (alarms, _):
        alarms.hear(an_alarm())
        await until(lambda: len(operator.got) == 1)
        alarms.hear(an_alarm())
        alarms.hear(an_alarm())
        alarms.hear(an_alarm("sqs/default"))
        await until(lambda: len(operator.got) == 2)
        clock.ahead = module.QUIET + 1
        alarms.hear(an_alarm("pusher/default"))
        await until(lambda: len(operator.got) == 3)

    told = [{a["subject"]: a["count"] for a in m["alerts"]} for m in messages(operator)]
    assert told == [
        {"webhook/default": 1},
        {"sqs/default": 1},
        {"webhook/default": 2, "pusher/default": 1},
    ]


async def test_what_was_well_in_between_is_told_anew(operator: Receiver) -> None:
    async with running(operator.url) as (alarms, _):
        for kind in ("opened", "closed", "opened"):
            before = len(operator.got)
            alarms.hear(an_alarm(kind=f"sink.circuit_{kind}"))
            await until(partial(_more, operator, before))

    kinds = [m["alerts"][0]["kind"] for m in messages(operator)]
    assert kinds == ["sink.circuit_opened", "sink.circuit_closed", "sink.circuit_opened"]


async def test_the_last_words_are_told_at_the_end(operator: Receiver) -> None:
    async with running(operator.url, interval=3600.0) as (alarms, _):
        alarms.hear(an_alarm())
        await alarms.close()

    assert messages(operator)[0]["alerts"][0]["subject"] == "webhook/default"


async def test_a_message_under_way_is_tried_once_more_at_the_end(operator: Receiver) -> None:
    operator.answer = lambda _: web.Response(status=500)
    async with running(operator.url) as (alarms, told):
        alarms.hear(an_alarm())
        await until(lambda: told == ["failed"])
        operator.answer = lambda _: web.Response()
        alarms.hear(an_alarm("nats/default"))
        await alarms.close()

    first, again, last = operator.got
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert json.loads(last.body)["alerts"][0]["subject"] == "nats/default"
    assert told == ["failed", "sent", "sent"]


async def test_a_forbidden_address_is_not_reached(operator: Receiver) -> None:
    async with running("http://169.254.169.254/latest") as (alarms, told):
        alarms.hear(an_alarm())
        await until(lambda: bool(told))

    assert told[0] == "failed"


async def test_nobody_is_told_without_an_address() -> None:
    egress = Egress(allow=AllowList.parse(()), require_https=True)
    clocks = Clocks(lambda: 0, time.monotonic)
    alarms = Alarms(None, egress, Ulids(clocks.wall, lambda n: b"\x07" * n), clocks, lambda _: None)
    alarms.hear(an_alarm())

    assert not alarms.is_on
    await alarms.run()
    await alarms.close()
    await egress.close()
